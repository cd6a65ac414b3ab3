"""How well scores of classes tell the right one, with intervals over groups.

Letters: n rows, C classes, G groups, R resamples.
"""

import numpy as np

from saejax.analysis import bootstrap

DRAWS = 200  # Of intervals whose statistic needs all rows.
_NUMBERS = 1 << 22  # Held at once.


def ranks(score_nC: np.ndarray, label_n: np.ndarray) -> np.ndarray:
  """How many wrong classes score at least as high as the right one: [n]."""
  right_n1 = np.take_along_axis(score_nC, label_n[:, None], axis=1)
  return (score_nC >= right_n1).sum(1) - 1


def accuracy(score_nC: np.ndarray, label_n: np.ndarray) -> float:
  """The share of rows whose right class scores highest."""
  return float((ranks(score_nC, label_n) == 0).mean())


def top(
  score_nC: np.ndarray, label_n: np.ndarray, group_n: np.ndarray, k: int
) -> bootstrap.Estimate:
  """The share of rows whose right class is among the k highest."""
  return bootstrap.mean(ranks(score_nC, label_n) < k, group_n)


def _recalls(sums_K: np.ndarray) -> np.ndarray:
  hits, rows = np.split(sums_K, 2, axis=-1)
  with np.errstate(invalid='ignore', divide='ignore'):
    return np.nanmean(np.where(rows > 0, hits / rows, np.nan), axis=-1)


def balanced(
  score_nC: np.ndarray, label_n: np.ndarray, group_n: np.ndarray
) -> bootstrap.Estimate:
  """Accuracy of each class, averaged: by chance, 1 / C."""
  is_nC = np.eye(score_nC.shape[1])[label_n]
  hit_n1 = (ranks(score_nC, label_n) == 0)[:, None]
  _, sums_GK = bootstrap.sum_by(
    group_n, np.concatenate([is_nC * hit_n1, is_nC], axis=1)
  )
  return bootstrap.estimate(_recalls, sums_GK, len(label_n))


def weighted_auroc(
  score_n: np.ndarray, is_n: np.ndarray, weight_Rn: np.ndarray
) -> np.ndarray:
  """Area under the ROC of rows with weights, ties counting half: [R].

  NaN where all weight is on one side.
  """
  order = np.argsort(score_n, kind='stable')
  score_n, is_n = score_n[order], is_n[order].astype(np.float64)
  weight_Rn = weight_Rn[:, order].astype(np.float64)
  starts_t = np.flatnonzero(np.r_[True, score_n[1:] != score_n[:-1]])
  up_Rt = np.add.reduceat(weight_Rn * is_n, starts_t, axis=1)
  down_Rt = np.add.reduceat(weight_Rn * (1 - is_n), starts_t, axis=1)
  below_Rt = np.cumsum(down_Rt, axis=1) - down_Rt / 2
  pairs_R = up_Rt.sum(1) * down_Rt.sum(1)
  with np.errstate(invalid='ignore', divide='ignore'):
    return np.where(pairs_R > 0, (up_Rt * below_Rt).sum(1) / pairs_R, np.nan)


def aurocs(
  score_nC: np.ndarray, label_n: np.ndarray, weight_Rn: np.ndarray
) -> np.ndarray:
  """Area under the ROC of each class against the rest: [R, C]."""
  columns = [
    weighted_auroc(score_nC[:, c], label_n == c, weight_Rn)
    for c in range(score_nC.shape[1])
  ]
  return np.stack(columns, axis=1)


def _mean_over_classes(area_RC: np.ndarray) -> np.ndarray:
  return np.array(
    [
      np.mean(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan
      for row in area_RC
    ]
  )


def mean_auroc(score_nC: np.ndarray, label_n: np.ndarray) -> float:
  """AUROC of each class against the rest, averaged over those there are."""
  ones_1n = np.ones((1, len(label_n)))
  return float(_mean_over_classes(aurocs(score_nC, label_n, ones_1n))[0])


def auroc(
  score_nC: np.ndarray, label_n: np.ndarray, group_n: np.ndarray, seed: int = 0
) -> bootstrap.Estimate:
  """`mean_auroc` with its interval over groups."""
  value = mean_auroc(score_nC, label_n)
  groups_G, place_n = np.unique(group_n, return_inverse=True)
  rng = np.random.default_rng(seed)
  each = max(_NUMBERS // max(len(label_n), 1), 1)
  found = []
  for start in range(0, DRAWS, each):
    r = min(each, DRAWS - start)
    even_G = np.full(len(groups_G), 1 / len(groups_G))
    weight_RG = rng.multinomial(len(groups_G), even_G, size=r)
    area_RC = aurocs(score_nC, label_n, weight_RG[:, place_n])
    found.append(_mean_over_classes(area_RC))
  low, high = bootstrap.interval(np.concatenate(found)[:, None])
  return bootstrap.Estimate(value, len(label_n), float(low[0]), float(high[0]))
