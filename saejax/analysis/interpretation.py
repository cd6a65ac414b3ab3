"""How well a concept's explanation tells when it fires, and where.

Letters as in `types`; N examples, C concepts that were drawn, n tokens.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np
import scipy.sparse
import scipy.stats

from saejax.analysis import exemplars
from saejax.analysis import factors
from saejax.analysis import naming
from saejax.analysis import retrieval

# Of examples in training, for a concept of any kind to be explained: below, it
# is a stray, and above there is little it could be told from.
LEAST_EXAMPLES, MOST_SHARE = 30, 0.9
LEVEL = 0.05  # Of a name's p value, corrected.
_FLOOR = 1e-4  # Of the largest variance: what less varies, counts as that.


def eligible(count_S: np.ndarray, n: int) -> np.ndarray:
  """Which concepts can be explained: [S] bool.

  Args:
    count_S: in how many examples each fires.
    n: how many examples there are.
  """
  return (count_S >= LEAST_EXAMPLES) & (count_S <= MOST_SHARE * n)


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


def strongest(
  z_nC: np.ndarray, example_n: np.ndarray, n: int, least: float = 0
) -> np.ndarray:
  """Each example's largest value over its tokens, at least `least`: [N, C]."""
  found_NC = np.full((n, z_nC.shape[1]), least, np.result_type(z_nC, 'f4'))
  np.maximum.at(found_NC, example_n, z_nC)
  return found_NC


def fire_alike(
  along_train_nC: np.ndarray,
  along_nC: np.ndarray,
  top_NC: np.ndarray,
  count_C: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
  """Directions made to fire in as many examples: what passes a threshold.

  Args:
    along_train_nC: rows along the directions.
    along_nC: other rows.
    top_NC: each example's largest value of the first.
    count_C: in how many of these examples each is to fire; fewer where
      examples are level.

  Returns:
    Activations of both: the excess over the threshold, else 0.
  """
  place_C = np.clip(len(top_NC) - 1 - count_C, 0, None)
  cut_C = np.take_along_axis(np.sort(top_NC, axis=0), place_C[None], 0)[0]
  return (
    np.maximum(along_train_nC - cut_C, 0), np.maximum(along_nC - cut_C, 0),
  )  # fmt: skip


def dimensions(d: int, count: int, seed: int | Sequence[int]) -> np.ndarray:
  """Single dimensions as directions, at random: [D, C].

  Each has a random sign; past D they come with the other one, and past 2 D
  columns are 0, since what comes twice says nothing new.
  """
  rng = np.random.default_rng(seed)
  order_D, sign_D = rng.permutation(d), rng.choice([-1, 1], d)
  picked_DC = np.zeros((d, count), np.float32)
  for j in range(min(count, 2 * d)):
    i = order_D[j % d]
    picked_DC[i, j] = sign_D[i] if j < d else -sign_D[i]
  return picked_DC


def whitened(
  x_nD: np.ndarray, count: int, seed: int | Sequence[int]
) -> np.ndarray:
  """Random directions along which rows vary alike: C^-1/2 g, [D, C].

  Isotropic ones follow the axes along which rows vary the most.

  Args:
    x_nD: rows, whose covariance is C, its eigenvalues no smaller than a ten
      thousandth of the largest.
    count: how many.
    seed: of g, which is normal.
  """
  mean_D = x_nD.mean(0, dtype=np.float64)
  square_DD = (x_nD.T @ x_nD).astype(np.float64) / len(x_nD)
  value_D, axis_DD = np.linalg.eigh(square_DD - np.outer(mean_D, mean_D))
  value_D = np.maximum(value_D, max(_FLOOR * value_D[-1], 1e-30))
  g_DC = np.random.default_rng(seed).normal(size=(len(value_D), count))
  return axis_DD @ (g_DC / np.sqrt(value_D)[:, None])


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
    balanced: accuracy of calls, both kinds weighing as much; of scores that
      are 0 or 1 it is `auroc`.
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
  fires_NP: np.ndarray, mask_NPF: np.ndarray, known_NP: np.ndarray
) -> np.ndarray:
  """IoU of where a concept fires and where each factor is: [F].

  Summed over all examples before it is divided, so that a concept which fires
  elsewhere as well, or a factor that is in few, gains nothing (Bau et al.,
  *Network dissection*, arXiv 1704.05796, §2.3).

  Args:
    fires_NP: whether it fires at each place of each example.
    mask_NPF: whether the factor is there.
    known_NP: of which places it is known whether it fires; others count in
      neither.

  Returns:
    NaN where both are nowhere.
  """
  fires_K = fires_NP[known_NP].astype(np.float64)
  mask_KF = mask_NPF[known_NP]
  both_F = fires_K @ mask_KF
  union_F = mask_KF.sum(0) + fires_K.sum() - both_F
  with np.errstate(invalid='ignore', divide='ignore'):
    return np.where(union_F > 0, both_F / union_F, np.nan)


def by_chance(a_NC: np.ndarray, has_NW, index_C: np.ndarray) -> np.ndarray:
  """How likely names are that common in the strongest examples by chance: [C].

  The hypergeometric tail, times the names that were tried (Bonferroni), so
  that it holds whatever of them was chosen.

  Args:
    a_NC: activations that are not negative.
    has_NW: which examples hold which names, sparse 0 and 1.
    index_C: each concept's name, which its `naming.TOP_ROWS` strongest examples
      chose; -1 for none, whose probability is 1.
  """
  n, w = has_NW.shape
  top_CK, _ = exemplars.top_rows(scipy.sparse.csr_matrix(a_NC), naming.TOP_ROWS)
  has_NW = scipy.sparse.csc_matrix(has_NW)
  found_C = np.ones(len(index_C))
  for j in np.flatnonzero(index_C >= 0):
    has_N = has_NW[:, [index_C[j]]].toarray().ravel() > 0
    rows_K = top_CK[j][top_CK[j] >= 0]
    inside = has_N[rows_K].sum()
    tail = scipy.stats.hypergeom.sf(inside - 1, n, has_N.sum(), len(rows_K))
    found_C[j] = min(tail * w, 1)
  return found_C


def shift(order: Sequence[int] | np.ndarray) -> np.ndarray:
  """Everyone gets another's: the order turned round by one."""
  return np.roll(np.asarray(order), 1)
