"""Semi-NMF: X ≈ ZD with Z ≥ 0 and D of any sign.

Ding, Li and Jordan, *Convex and semi-nonnegative matrix factorizations*, IEEE
TPAMI 2010. Codes are found by projected descent in place of the paper's
multiplicative updates, which never reach 0; atoms by least squares. With more
atoms than dimensions least squares alone leave D all but undetermined and codes
dense, hence the L1 weight that `l0` sets.
"""

import numpy as np

from saejax.baselines import alternation
from saejax.baselines import dictionary


def _atoms(w_SD, _):
  return w_SD


def _improve(gram_SS, cross_SD, w_SD, x_BD, _):
  return alternation.free_atoms(
    gram_SS, cross_SD, w_SD, alternation.fresh(x_BD, len(w_SD))
  )


def factorise(
  x_ND: np.ndarray, s: int, seed: int, plan: alternation.Plan
) -> alternation.Fitted:
  """Atoms that are free, from random rows; codes as the plan says."""
  w_SD, _ = dictionary.unit(alternation.draw_rows(x_ND, s, seed))
  return alternation.alternate(x_ND, w_SD, _atoms, _improve, plan, seed)


def fit(
  x_ND: np.ndarray,
  s: int,
  seed: int,
  l0: int | None = None,
  steps: int = alternation.Plan.steps,
) -> dictionary.Dictionary:
  """Fits Semi-NMF.

  Args:
    x_ND: rows; no mean is taken away, as in the paper.
    s: atoms.
    seed: of the first atoms and the order of rows.
    l0: active codes a row that an L1 weight is steered to; None for the paper's
      own objective, without one.
    steps: batches.
  """
  plan = alternation.Plan(signed=False, l0=l0, steps=steps)
  found = factorise(x_ND, s, seed, plan)
  return dictionary.Dictionary(
    w_SD=dictionary.unit(found.w_SD)[0],
    b_D=np.zeros(x_ND.shape[1], np.float32),
    code='nonnegative_lasso',
    signed=False,
  )
