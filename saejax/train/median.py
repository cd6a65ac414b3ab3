"""The geometric median of rows: their centre, whatever the outliers are."""

import numpy as np

_TINY = 1e-9  # Of a distance, in units of the rows' mean one: then it is none.
_TOLERANCE = 1e-8  # Of a move, in the same units.


def geometric_median(x_ND: np.ndarray, most: int = 500) -> np.ndarray:
  """The point [D] of least mean distance to rows, float64.

  Weiszfeld's iteration (1937) from the mean: an average of the rows, each
  weighted by the inverse of its distance. Where it falls on a row it goes on as
  Vardi and Zhang (PNAS 2000, equation 2.6) say. Up to half of the rows may lie
  anywhere, and the median stays near the others.

  Args:
    x_ND: rows.
    most: iterations.
  """
  x_ND = np.asarray(x_ND, np.float64)
  median_D = x_ND.mean(0)
  for _ in range(most):
    distance_N = np.linalg.norm(x_ND - median_D, axis=1)
    unit = distance_N.mean()
    is_here_N = distance_N <= _TINY * unit
    if is_here_N.all():
      break
    weight_N = np.where(is_here_N, 0, 1 / np.where(is_here_N, 1, distance_N))
    to_D = weight_N @ x_ND / weight_N.sum() - median_D
    # Rows that lie here hold it as strongly as they are many.
    pull = np.linalg.norm(weight_N.sum() * to_D)
    move_D = max(1 - is_here_N.sum() / max(pull, _TINY), 0) * to_D
    median_D = median_D + move_D
    if np.linalg.norm(move_D) <= _TOLERANCE * unit:
      break
  return median_D
