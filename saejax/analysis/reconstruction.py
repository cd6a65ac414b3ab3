"""How much of the variance a dictionary explains: R², three ways.

*Within modality* (the headline) measures against each modality's own training
mean, *pooled* against one mean for all rows, and *library* against a single
number, as some SAE libraries print. The gap between modalities inflates the
last two: knowing only the two means already scores on them.
"""

import dataclasses

import numpy as np

from saejax.analysis import bootstrap


@dataclasses.dataclass(frozen=True)
class Moments:
  """What one modality's rows add up to, by group.

  Attributes:
    group_n: the group of each row.
    error_n: ‖x − x̂‖².
    within_n: ‖x − x̄_m‖², from the modality's training mean.
    pooled_n: ‖x − x̄‖², from the mean over all training rows.
    library_n: ‖x − c‖², from the training mean of all numbers.
  """

  group_n: np.ndarray
  error_n: np.ndarray
  within_n: np.ndarray
  pooled_n: np.ndarray
  library_n: np.ndarray

  def stack(self) -> np.ndarray:
    columns = (self.error_n, self.within_n, self.pooled_n, self.library_n)
    return np.stack(columns, axis=1).astype(np.float64)


def moments(x_nD, error_n, group_n, own_mean_D, pooled_mean_D) -> Moments:
  """Squared distances of rows from what the three baselines predict."""
  x_nD = x_nD.astype(np.float64)
  distance = lambda c: ((x_nD - c) ** 2).sum(1)
  return Moments(
    group_n=group_n,
    error_n=error_n,
    within_n=distance(np.asarray(own_mean_D)[None]),
    pooled_n=distance(np.asarray(pooled_mean_D)[None]),
    library_n=distance(np.mean(pooled_mean_D)),
  )


def r2(parts: list[Moments]) -> dict[str, bootstrap.Estimate]:
  """The three R² over all rows of the parts, and what two means would score.

  Returns:
    `r2`, `r2_pooled`, `r2_library`, and `two_means/r2_pooled` and
    `two_means/r2_library`: those of predicting each row by its modality's mean.
  """
  group_n = np.concatenate([p.group_n for p in parts])
  _, sums_G4 = bootstrap.sum_by(
    group_n, np.concatenate([p.stack() for p in parts])
  )
  n = len(group_n)

  def share(top: int, bottom: int) -> bootstrap.Estimate:
    explained = lambda sums: 1 - sums[..., top] / sums[..., bottom]
    return bootstrap.estimate(explained, sums_G4, n)

  return {
    'r2': share(0, 1),
    'r2_pooled': share(0, 2),
    'r2_library': share(0, 3),
    'two_means/r2_pooled': share(1, 2),
    'two_means/r2_library': share(1, 3),
  }
