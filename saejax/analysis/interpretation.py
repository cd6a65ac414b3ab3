"""How well a concept's explanation tells when it fires, and where.

Letters as in `types`; N examples, C concepts that were drawn, n tokens.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np

from saejax.analysis import factors
from saejax.analysis import retrieval


def draw_by_energy(
  energy_S: np.ndarray,
  live_S: np.ndarray,
  count: int,
  strata: int,
  seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
  """Concepts drawn alike from all strengths, not the strongest alone.

  Args:
    energy_S: by which live concepts are ranked, and cut into equal parts.
    live_S: those to draw from.
    count: how many, over all strata.
    strata: how many parts.
    seed: of the draw.

  Returns:
    Concepts, and the stratum of each; 0 has the weakest.
  """
  order = np.flatnonzero(live_S)
  order = order[np.argsort(energy_S[order], kind='stable')]
  rng = np.random.default_rng(seed)
  concepts, of = [], []
  for i, part in enumerate(np.array_split(order, strata)):
    most = -(-count * (i + 1) // strata) - -(-count * i // strata)
    chosen = rng.permutation(part)[:most]
    concepts += sorted(chosen.tolist())
    of += [i] * len(chosen)
  return np.array(concepts, int), np.array(of, int)


def strongest(z_nC: np.ndarray, example_n: np.ndarray, n: int) -> np.ndarray:
  """Each example's largest activation over its tokens: [N, C]."""
  found_NC = np.zeros((n, z_nC.shape[1]), np.float32)
  np.maximum.at(found_NC, example_n, z_nC)
  return found_NC


def fire_alike(
  along_train_nC: np.ndarray, along_nC: np.ndarray, rate_C: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Directions made to fire as often as concepts do: what passes a threshold.

  Args:
    along_train_nC: rows along the directions, by which thresholds are set.
    along_nC: other rows.
    rate_C: share of the first that fire.

  Returns:
    Activations of both: the excess over the threshold, else 0.
  """
  cut_C = np.array([
    np.quantile(along_train_nC[:, c], np.clip(1 - r, 0, 1))
    for c, r in enumerate(rate_C)
  ])  # fmt: skip
  return (
    np.maximum(along_train_nC - cut_C, 0), np.maximum(along_nC - cut_C, 0),
  )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Shown:
  """Examples that a concept is explained from.

  Attributes:
    fires: the strongest, then some over all strengths.
    silent: some for which it does not fire.
  """

  fires: np.ndarray
  silent: np.ndarray


def by_quantile(a_N: np.ndarray, count: int) -> np.ndarray:
  """Firing examples spread evenly over strengths, strongest first."""
  fires = np.flatnonzero(a_N > 0)
  fires = fires[np.argsort(-a_N[fires], kind='stable')]
  if len(fires) <= count:
    return fires
  return fires[np.linspace(0, len(fires) - 1, count).round().astype(int)]


def shown(
  a_N: np.ndarray, top: int, spread: int, silent: int, seed: int = 0
) -> Shown:
  """Examples to explain a concept from: strongest, spread and silent ones."""
  order = np.argsort(-a_N, kind='stable')
  first = order[:top][a_N[order[:top]] > 0]
  rest = a_N.copy()
  rest[first] = 0
  none = np.flatnonzero(a_N == 0)
  chosen = np.random.default_rng(seed).permutation(none)[:silent]
  return Shown(np.concatenate([first, by_quantile(rest, spread)]), chosen)


@dataclasses.dataclass(frozen=True)
class Trial:
  """Held-out examples that an explanation is tried on.

  Attributes:
    fires: over all strengths.
    random: of those for which the concept is silent.
    hard: of those, the ones most like firing examples.
  """

  fires: np.ndarray
  random: np.ndarray
  hard: np.ndarray

  @property
  def examples(self) -> np.ndarray:
    return np.concatenate([self.fires, self.random, self.hard])

  @property
  def label(self) -> np.ndarray:
    return np.arange(len(self.examples)) < len(self.fires)


def trial(
  a_N: np.ndarray,
  x_ND: np.ndarray,
  like_D: np.ndarray,
  positives: int,
  negatives: int,
  seed: int = 0,
) -> Trial:
  """Draws what an explanation is tried on.

  Args:
    a_N: the concept's activations for held-out examples.
    x_ND: their rows, about the mean.
    like_D: the mean row of examples for which it fires, elsewhere.
    positives: firing examples, at most.
    negatives: silent ones, at most: half hard, half random.
    seed: of the random ones.
  """
  silent = np.flatnonzero(a_N == 0)
  cosine_n = retrieval.unit_rows(x_ND[silent]) @ (
    like_D / max(np.linalg.norm(like_D), 1e-12)
  )
  hard = silent[np.argsort(-cosine_n, kind='stable')][: negatives // 2]
  rest = np.setdiff1d(silent, hard)
  random = np.random.default_rng(seed).permutation(rest)
  return Trial(
    by_quantile(a_N, positives), random[: negatives - negatives // 2], hard
  )


def area(score_n: np.ndarray, label_n: np.ndarray) -> float:
  """Area under the ROC; ties count half, NaN where labels are constant."""
  return float(factors.auroc(score_n[:, None], label_n[:, None])[0, 0])


def balanced_accuracy(called_n: np.ndarray, label_n: np.ndarray) -> float:
  """Mean of the shares of both kinds that are called rightly."""
  if label_n.all() or not label_n.any():
    return float('nan')
  return float((called_n[label_n].mean() + (~called_n[~label_n]).mean()) / 2)


@dataclasses.dataclass(frozen=True)
class Detection:
  """How well scores tell firing examples from silent ones.

  Attributes:
    auroc: from all silent ones.
    hard: from those that are like firing ones.
    easy: from the others.
    balanced: accuracy of calls, both kinds weighing as much.
  """

  auroc: float
  hard: float
  easy: float
  balanced: float


def detect(t: Trial, score_n: np.ndarray, cut: float) -> Detection:
  """Scores of `t.examples`, of which those of at least `cut` are called."""
  label_n = t.label
  at = np.arange(len(label_n))
  end = len(t.fires) + len(t.random)
  is_random, is_hard = at < end, label_n | (at >= end)
  part = lambda keep: area(score_n[keep], label_n[keep])
  return Detection(
    area(score_n, label_n),
    part(is_hard),
    part(is_random),
    balanced_accuracy(score_n >= cut, label_n),
  )


def intersection_over_union(
  fires_NP: np.ndarray, mask_NPF: np.ndarray
) -> np.ndarray:
  """IoU of where a concept fires and where each factor is: [F].

  Summed over all examples before it is divided, so that a concept which fires
  elsewhere as well, or a factor that is in few, gains nothing (Bau et al.,
  *Network dissection*, arXiv 1704.05796, §2.3).

  Args:
    fires_NP: whether it fires at each place of each example.
    mask_NPF: whether the factor is there.

  Returns:
    NaN where both are nowhere.
  """
  fires_K = fires_NP.astype(np.float64).ravel()
  mask_KF = mask_NPF.reshape(len(fires_K), -1)
  both_F = fires_K @ mask_KF
  union_F = mask_KF.sum(0) + fires_K.sum() - both_F
  with np.errstate(invalid='ignore', divide='ignore'):
    return np.where(union_F > 0, both_F / union_F, np.nan)


def shift(order: Sequence[int] | np.ndarray) -> np.ndarray:
  """Everyone gets another's: the order turned round by one."""
  return np.roll(np.asarray(order), 1)
