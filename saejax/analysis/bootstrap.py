"""Intervals by resampling groups: an image and all its captions together."""

from collections.abc import Iterator
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


def _weights(
  groups: int, draws: int, seed: int, width: int
) -> Iterator[np.ndarray]:
  """How often each resample takes each group: [r, G], a few at a time.

  `width` is what the caller holds of each resample.
  """
  rng = np.random.default_rng(seed)
  per_chunk = max(_CHUNK // max(width, 1), 1)
  for start in range(0, draws, per_chunk):
    r = min(per_chunk, draws - start)
    yield rng.multinomial(groups, np.full(groups, 1 / groups), size=r)


def resample(sums_GK, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
  """Totals of `draws` resamples of the groups, with replacement: [R, K]."""
  n = sums_GK.shape[0]
  totals = [
    (sums_GK.T @ weights_rG.T.astype(np.float64)).T
    for weights_rG in _weights(n, draws, seed, n)
  ]
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


def means(
  values_nK: np.ndarray, group_n: np.ndarray, seed: int = 0
) -> list[Estimate]:
  """Means of columns over rows, with their bootstrap intervals over groups."""
  n, k = values_nK.shape
  if not n:
    return [Estimate(float('nan'), 0)] * k
  beside = [values_nK.astype(np.float64), np.ones((n, 1))]
  _, sums_GK = sum_by(group_n, np.concatenate(beside, axis=1))
  ratio = lambda sums: sums[..., :-1] / sums[..., -1:]
  low_K, high_K = interval(ratio(resample(sums_GK, seed=seed)))
  bounds = zip(ratio(sums_GK.sum(0)), low_K, high_K, strict=True)
  return [Estimate(float(v), n, float(a), float(b)) for v, a, b in bounds]


def mean(values_n: np.ndarray, group_n: np.ndarray, seed: int = 0) -> Estimate:
  """The mean over rows, with its bootstrap interval over groups."""
  return means(np.asarray(values_n)[:, None], group_n, seed)[0]


def median(
  values_n: np.ndarray, group_n: np.ndarray, seed: int = 0
) -> Estimate:
  """The median over rows, with its bootstrap interval over groups."""
  n = len(values_n)
  if not n:
    return Estimate(float('nan'), 0)
  order_n = np.argsort(values_n, kind='stable')
  sorted_n = np.asarray(values_n, np.float64)[order_n]
  groups_G, place_n = np.unique(group_n[order_n], return_inverse=True)
  draws = []
  for weights_rG in _weights(len(groups_G), DRAWS, seed, n):
    upto_rn = np.cumsum(weights_rG[:, place_n], axis=1)
    half_r1 = upto_rn[:, -1:] / 2
    # Of an even number of rows, the two in the middle.
    first_r = np.count_nonzero(upto_rn < half_r1, axis=1)
    second_r = np.count_nonzero(upto_rn <= half_r1, axis=1)
    draws.append((sorted_n[first_r] + sorted_n[second_r]) / 2)
  low, high = interval(np.concatenate(draws)[:, None])
  return Estimate(float(np.median(sorted_n)), n, float(low[0]), float(high[0]))
