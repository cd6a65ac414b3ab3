"""How well single concepts read known factors, and whether bridges are true.

For data whose causes are labelled, such as the procedural world. A reader of a
factor is chosen on one split and scored once on another, and so is whatever it
is compared with.
"""

import dataclasses

import numpy as np
import scipy.stats

from saejax.analysis import bootstrap

_COLUMNS = 64  # Scores ranked at once.
_DRAWS = 200
_RIDGE = 1e-3  # Of the linear probe, relative to the mean eigenvalue.
LEAST_POSITIVES = 15  # In each split; below, a factor is not scored.


def auroc(score_nS: np.ndarray, label_nF: np.ndarray) -> np.ndarray:
  """Area under the ROC of every score for every label: [S, F].

  Ties count half. NaN where a label is constant.
  """
  n = len(label_nF)
  positives_F = label_nF.sum(0).astype(np.float64)
  pairs_F = positives_F * (n - positives_F)
  out_SF = np.empty((score_nS.shape[1], label_nF.shape[1]))
  label_nF = label_nF.astype(np.float64)
  for start in range(0, score_nS.shape[1], _COLUMNS):
    part = slice(start, start + _COLUMNS)
    block = score_nS[:, part]
    block = block.toarray() if hasattr(block, 'toarray') else block
    rank_nS = scipy.stats.rankdata(block, axis=0)
    above_SF = rank_nS.T @ label_nF - positives_F * (positives_F + 1) / 2
    with np.errstate(invalid='ignore', divide='ignore'):
      out_SF[part] = np.where(pairs_F > 0, above_SF / pairs_F, np.nan)
  return out_SF


def both_signs(score_nS: np.ndarray) -> np.ndarray:
  """Scores and their negatives, for directions that have no sign."""
  return np.concatenate([score_nS, -score_nS], axis=1)


@dataclasses.dataclass(frozen=True)
class Readers:
  """The best single reader of each factor: chosen on val, scored on test."""

  index_F: np.ndarray
  val_F: np.ndarray
  test_F: np.ndarray


def best_readers(val_nS, label_val_nF, test_nS, label_test_nF) -> Readers:
  """Chooses each factor's reader by AUROC on val; scores it once on test."""
  val_SF = np.nan_to_num(auroc(val_nS, label_val_nF), nan=0.0)
  index_F = val_SF.argmax(0)
  chosen, place_F = np.unique(index_F, return_inverse=True)
  test_CF = auroc(test_nS[:, chosen], label_test_nF)
  factors_F = np.arange(label_val_nF.shape[1])
  return Readers(
    index_F=index_F,
    val_F=val_SF[index_F, factors_F],
    test_F=test_CF[place_F, factors_F],
  )


def linear_weights(
  train_nD: np.ndarray, label_nF: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """The mean of rows [D], and a ridge classifier of each factor [D, F]."""
  mean_D = train_nD.mean(0)
  x_nD = (train_nD - mean_D).astype(np.float64)
  gram_DD = x_nD.T @ x_nD
  gram_DD += _RIDGE * np.trace(gram_DD) / len(gram_DD) * np.eye(len(gram_DD))
  y_nF = label_nF - label_nF.mean(0)
  return mean_D, np.linalg.solve(gram_DD, x_nD.T @ y_nF)


def linear_probes(
  train_nD: np.ndarray, label_train_nF: np.ndarray, test_nD: np.ndarray
) -> np.ndarray:
  """Scores [n, F] on test of one ridge classifier a factor, fit on train."""
  mean_D, w_DF = linear_weights(train_nD, label_train_nF)
  return (test_nD - mean_D) @ w_DF


def paired_auroc(score_nF: np.ndarray, label_nF: np.ndarray) -> np.ndarray:
  """AUROC of each column of scores for its own label: [F]."""
  n, positives_F = len(label_nF), label_nF.sum(0).astype(np.float64)
  pairs_F = positives_F * (n - positives_F)
  rank_nF = scipy.stats.rankdata(score_nF, axis=0)
  above_F = (rank_nF * label_nF).sum(0) - positives_F * (positives_F + 1) / 2
  with np.errstate(invalid='ignore', divide='ignore'):
    return np.where(pairs_F > 0, above_F / pairs_F, np.nan)


def share_reading(
  score_nF: np.ndarray,
  label_nF: np.ndarray,
  group_n: np.ndarray,
  least: float,
  seed: int = 0,
) -> bootstrap.Estimate:
  """The share of factors whose reader reaches an AUROC, over groups."""

  def share(rows) -> float:
    area_F = paired_auroc(score_nF[rows], label_nF[rows])
    return float((area_F[np.isfinite(area_F)] >= least).mean())

  value = share(slice(None))
  rng = np.random.default_rng(seed)
  groups, place_n = np.unique(group_n, return_inverse=True)
  members = np.split(
    np.argsort(place_n, kind='stable'), np.cumsum(np.bincount(place_n))[:-1]
  )
  draws = [
    share(np.concatenate([members[g] for g in picked]))
    for picked in rng.integers(0, len(groups), size=(_DRAWS, len(groups)))
  ]
  low, high = np.percentile(draws, [2.5, 97.5])
  return bootstrap.Estimate(value, score_nF.shape[1], float(low), float(high))


def enough(label_nF: np.ndarray) -> np.ndarray:
  """Which factors have both enough positives and enough negatives."""
  positives_F = label_nF.sum(0)
  return (positives_F >= LEAST_POSITIVES) & (
    len(label_nF) - positives_F >= LEAST_POSITIVES
  )


@dataclasses.dataclass(frozen=True)
class Readings:
  """What each concept reads in one modality: AUROC of every factor.

  A concept reads a factor if its AUROC is at least `least`. It may read
  several: who reads "red circle" perfectly reads some of "red". AUROC is 0
  for factors too rare to tell.
  """

  auroc_SF: np.ndarray
  least: float

  @property
  def reads_SF(self) -> np.ndarray:
    return self.auroc_SF >= self.least

  @property
  def factor_S(self) -> np.ndarray:
    """The factor that each concept reads best, -1 if it reads none."""
    return np.where(self.reads_SF.any(1), self.auroc_SF.argmax(1), -1)

  @property
  def auroc_S(self) -> np.ndarray:
    return self.auroc_SF.max(1)


def readings(z_nS, label_nF: np.ndarray, least: float) -> Readings:
  """How well every concept tells every factor that is common enough."""
  area_SF = np.nan_to_num(auroc(z_nS, label_nF))
  return Readings(np.where(enough(label_nF)[None], area_SF, 0), least)


def bridge_kinds(
  image: Readings, text: Readings, i_P, j_P, related: np.ndarray
) -> np.ndarray:
  """What joins each bridge's two concepts: an array of strings [P].

  'true': some factor that i reads from images is one whose mention j reads
  from texts; 'related': some factor of i goes together with one of j in the
  world (one implies the other, or they are associated); 'other': neither;
  'unread': one of them reads nothing.

  Args:
    image: what concepts read from images.
    text: what concepts read from texts.
    i_P: the bridges' image concepts.
    j_P: their text concepts.
    related: bool [F, F].
  """
  i_PF, j_PF = image.reads_SF[i_P], text.reads_SF[j_P]
  near_PF = i_PF.astype(np.float32) @ related.astype(np.float32) > 0
  kind_P = np.full(len(i_PF), 'unread', dtype='U8')
  kind_P[i_PF.any(1) & j_PF.any(1)] = 'other'
  kind_P[(near_PF & j_PF).any(1)] = 'related'
  kind_P[(i_PF & j_PF).any(1)] = 'true'
  return kind_P


def common_factors(image: Readings, text: Readings, i_P, j_P) -> np.ndarray:
  """The factor that both ends of each bridge tell best; int64 [P]."""
  both_PF = np.minimum(image.auroc_SF[i_P], text.auroc_SF[j_P])
  return both_PF.argmax(1)
