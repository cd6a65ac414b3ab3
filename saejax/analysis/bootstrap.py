"""Intervals by resampling groups: an image and all its captions together."""

import dataclasses
import warnings

import numpy as np
import scipy.sparse

DRAWS = 1000
_CHUNK = 1 << 24  # Weights held at once.


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A number, how many rows or groups it rests on, and its 95 % bounds."""

  value: float
  n: int
  low: float | None = None
  high: float | None = None


def sum_by(group_n: np.ndarray, values_nK) -> tuple[np.ndarray, np.ndarray]:
  """Sums rows of each group: (groups [G], sums [G, K]); sparse stays sparse."""
  groups_G, place_n = np.unique(group_n, return_inverse=True)
  ones_Gn = scipy.sparse.csr_matrix(
    (np.ones(len(group_n)), (place_n, np.arange(len(group_n)))),
    shape=(len(groups_G), len(group_n)),
  )
  return groups_G, ones_Gn @ values_nK


def resample(sums_GK, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
  """Totals of `draws` resamples of the groups, with replacement: [R, K]."""
  n = sums_GK.shape[0]
  rng = np.random.default_rng(seed)
  per_chunk = max(_CHUNK // max(n, 1), 1)
  totals = []
  for start in range(0, draws, per_chunk):
    r = min(per_chunk, draws - start)
    weights_RG = rng.multinomial(n, np.full(n, 1 / n), size=r)
    totals.append((sums_GK.T @ weights_RG.T.astype(np.float64)).T)
  return np.concatenate(totals)


def interval(draws_RK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """95 % percentile bounds over draws, [K] each; NaN where all are NaN."""
  with warnings.catch_warnings():
    warnings.filterwarnings('ignore', 'All-NaN slice', RuntimeWarning)
    low, high = np.nanpercentile(draws_RK, [2.5, 97.5], axis=0)
  return low, high


def estimate(statistic, sums_GK: np.ndarray, n: int, seed: int = 0) -> Estimate:
  """A function of column sums, with its bootstrap interval over groups.

  Args:
    statistic: maps sums [..., K] to values [...].
    sums_GK: what each group adds.
    n: how many rows the number rests on.
    seed: of the resampling.
  """
  value = float(statistic(sums_GK.sum(0)))
  low, high = interval(statistic(resample(sums_GK, seed=seed))[:, None])
  return Estimate(value, n, float(low[0]), float(high[0]))


def mean(values_n: np.ndarray, group_n: np.ndarray, seed: int = 0) -> Estimate:
  """The mean over rows, with its bootstrap interval over groups."""
  if not len(values_n):
    return Estimate(float('nan'), 0)
  both_n2 = np.stack([values_n, np.ones(len(values_n))], axis=1)
  _, sums_G2 = sum_by(group_n, both_n2.astype(np.float64))
  ratio = lambda sums: sums[..., 0] / sums[..., 1]
  return estimate(ratio, sums_G2, len(values_n), seed)
