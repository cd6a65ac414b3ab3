"""Sparse coding: argmin of ½‖X − ZD‖² + λ Σ|Z| over Z and unit atoms D.

Olshausen and Field, 1996; by batches as Mairal et al., 2010. Codes have both
signs. Made of the same parts as Semi-NMF, so that rows and concepts may be as
many as for a sparse autoencoder.
"""

import numpy as np

from saejax.baselines import alternation
from saejax.baselines import dictionary
from saejax.baselines import semi_nmf


def fit(
  x_ND: np.ndarray,
  s: int,
  seed: int,
  l0: int,
  steps: int = alternation.Plan.steps,
) -> dictionary.Dictionary:
  """Learns a dictionary for an L0.

  Args:
    x_ND: rows; no mean is taken away, as for an autoencoder.
    s: atoms.
    seed: of the first atoms and the order of rows.
    l0: active codes a row that λ is steered to.
    steps: batches.
  """
  plan = alternation.Plan(signed=True, l0=l0, steps=steps)
  found = semi_nmf.factorise(x_ND, s, seed, plan)
  return dictionary.Dictionary(
    w_SD=dictionary.unit(found.w_SD)[0],
    b_D=np.zeros(x_ND.shape[1], np.float32),
    code='lasso',
    signed=True,
  )
