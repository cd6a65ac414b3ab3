"""Convex-NMF: X ≈ ZD with Z ≥ 0 and D = WA, W ≥ 0, of anchors A.

Ding, Li and Jordan, IEEE TPAMI 2010, where A is all of X: each atom is a
non-negative sum of rows. Here A are k-means centroids, so that W fits into
memory. Codes and W are found by projected descent, which reaches 0.
"""

import jax
import jax.numpy as jnp
import numpy as np

from saejax.baselines import alternation
from saejax.baselines import descent
from saejax.baselines import dictionary
from saejax.baselines import kmeans

MOST_ANCHORS = 20_000
_ITERATIONS = 20


def _atoms(mixture_Sa, anchors):
  return mixture_Sa @ anchors[0]


def _improve(gram_SS, cross_SD, mixture_Sa, x_BD, anchors):
  """Descends ½ tr(D ZᵀZ Dᵀ) − tr(D XᵀZ) in W ≥ 0, each atom at its own rate."""
  del x_BD  # An atom that no row uses waits.
  anchor_aD, most = anchors
  weight_S = jnp.maximum(jnp.diagonal(gram_SS), 1e-8)
  # In units of √diag, no eigenvalue of ZᵀZ exceeds its largest row sum.
  root_S = jnp.sqrt(weight_S)
  bound = (jnp.abs(gram_SS) / root_S[None] / root_S[:, None]).sum(1).max()
  rate_S1 = (1 / (weight_S * bound * most))[:, None]

  def step(mixture_Sa):
    slope_SD = gram_SS @ (mixture_Sa @ anchor_aD) - cross_SD
    return jax.nn.relu(mixture_Sa - rate_S1 * (slope_SD @ anchor_aD.T))

  # Momentum in units of √diag too, where restarts compare its parts.
  scaled = lambda v_Sa: step(v_Sa / root_S[:, None]) * root_S[:, None]
  found_Sa = descent.descend(
    mixture_Sa * root_S[:, None], scaled, _ITERATIONS, is_by_row=False
  )
  found_Sa = found_Sa / root_S[:, None]
  norm_S = jnp.linalg.norm(found_Sa @ anchor_aD, axis=1)
  is_there_S1 = (norm_S > 1e-6)[:, None]
  scaled_Sa = found_Sa / jnp.maximum(norm_S, 1e-6)[:, None]
  return jnp.where(is_there_S1, scaled_Sa, mixture_Sa)


def factorise(
  anchor_aD: np.ndarray,
  x_ND: np.ndarray,
  s: int,
  seed: int,
  plan: alternation.Plan,
) -> alternation.Fitted:
  """Atoms that are sums of anchors; each starts at an anchor of its own."""
  a = len(anchor_aD)
  anchor_aD, _ = dictionary.unit(anchor_aD)
  order_S = alternation.draw_rows(np.arange(a), s, seed)
  mixture_Sa = np.zeros((s, a), np.float32)
  mixture_Sa[np.arange(s), order_S] = 1
  most = float(descent.largest_eigenvalue(jnp.asarray(anchor_aD.T @ anchor_aD)))
  return alternation.alternate(
    x_ND, mixture_Sa, _atoms, _improve, plan, seed, (anchor_aD, most)
  )


def fit(
  x_ND: np.ndarray,
  s: int,
  seed: int,
  l0: int | None = None,
  steps: int = alternation.Plan.steps,
  anchors: int | None = None,
) -> dictionary.Dictionary:
  """Fits Convex-NMF.

  Args:
    x_ND: rows; no mean is taken away, as in the paper.
    s: atoms.
    seed: of the anchors, the first atoms and the order of rows.
    l0: active codes a row that an L1 weight is steered to; None for the paper's
      own objective, without one.
    steps: batches.
    anchors: how many [4 an atom, at most half the rows and 20,000].
  """
  if anchors is None:
    anchors = max(min(4 * s, len(x_ND) // 2, MOST_ANCHORS), s)
  anchor_aD = kmeans.centroids(x_ND, anchors, seed)
  plan = alternation.Plan(signed=False, l0=l0, steps=steps)
  found = factorise(anchor_aD, x_ND, s, seed, plan)
  return dictionary.Dictionary(
    w_SD=dictionary.unit(found.w_SD)[0],
    b_D=np.zeros(x_ND.shape[1], np.float32),
    code='nonnegative_lasso',
    signed=False,
  )
