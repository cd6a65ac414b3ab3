"""Which modality a concept fires for, and how sure that is.

ModalityScore_i = E_ι[z_i] / (E_ι[z_i] + E_τ[z_i]): 1 fires for images only, 0
for texts only; undefined (NaN) for a concept that never fires (arXiv
2504.11695).
"""

import dataclasses

import numpy as np
import scipy.sparse

from saejax.analysis import bootstrap

IMAGE_CUT, TEXT_CUT = 0.9, 0.1
LEAST_FIRINGS = 30
CLASSES = ('unclassified', 'image', 'shared', 'text')
_DRAWS = 200  # One interval a concept: thousands of them at once.


@dataclasses.dataclass(frozen=True)
class ModalityScores:
  """Scores with 95 % bounds over groups, and classes by CLASSES' index."""

  score_S: np.ndarray
  low_S: np.ndarray
  high_S: np.ndarray
  class_S: np.ndarray

  def count(self, name: str) -> int:
    return int((self.class_S == CLASSES.index(name)).sum())


def score(energy_image_S: np.ndarray, energy_text_S: np.ndarray) -> np.ndarray:
  """ModalityScore of energies; NaN where both are 0."""
  total_S = energy_image_S + energy_text_S
  with np.errstate(invalid='ignore', divide='ignore'):
    return np.where(total_S > 0, energy_image_S / total_S, np.nan)


def _draws(z_nS, group_n, seed: int) -> np.ndarray:
  """Resampled mean codes over groups: [R, S]."""
  ones_n1 = scipy.sparse.csr_matrix(np.ones((len(group_n), 1)))
  _, sums_GK = bootstrap.sum_by(
    group_n, scipy.sparse.hstack([z_nS, ones_n1], format='csr')
  )
  totals_RK = bootstrap.resample(sums_GK, draws=_DRAWS, seed=seed)
  return totals_RK[:, :-1] / totals_RK[:, -1:]


def _firings(
  z_nS: scipy.sparse.csr_matrix, group_n: np.ndarray | None
) -> np.ndarray:
  """Rows in which each concept fires, or groups that have such rows: [S]."""
  fires = z_nS != 0
  if group_n is not None:
    fires = bootstrap.sum_by(group_n, fires.astype(np.float64))[1] != 0
  return np.asarray(fires.sum(0)).ravel()


def classify(
  score_S: np.ndarray,
  low_S: np.ndarray,
  high_S: np.ndarray,
  firings_S: np.ndarray,
) -> np.ndarray:
  """Index into CLASSES, by where the whole interval lies.

  'image' above 0.9, 'text' below 0.1, 'shared' between the cuts; unclassified
  where the interval crosses a cut or the concept fired fewer than 30 times, by
  `firings_S`.
  """
  of = CLASSES.index
  sure_S = (firings_S >= LEAST_FIRINGS) & np.isfinite(score_S)
  class_S = np.full(len(score_S), of('unclassified'), np.int8)
  class_S[sure_S & (low_S > IMAGE_CUT)] = of('image')
  class_S[sure_S & (high_S < TEXT_CUT)] = of('text')
  between_S = (low_S > TEXT_CUT) & (high_S < IMAGE_CUT)
  class_S[sure_S & between_S] = of('shared')
  return class_S


def modality_scores(
  z_image_nS: scipy.sparse.csr_matrix,
  z_text_nS: scipy.sparse.csr_matrix,
  group_image_n: np.ndarray,
  group_text_n: np.ndarray,
  seed: int = 0,
  are_tokens: bool = False,
) -> ModalityScores:
  """Scores every concept on codes of images and of texts.

  The two modalities are resampled apart: their groups are the same images, and
  ignoring that widens the interval of a ratio rather than narrowing it.

  Args:
    z_image_nS, z_text_nS: codes.
    group_image_n, group_text_n: what is resampled together.
    seed: of the resampling.
    are_tokens: rows are tokens, many of one example: a concept has fired often
      enough where it fires in 30 groups of either side, for in the tokens of
      one group any concept looks sure of its modality.
  """
  # In float64, for SciPy would add float32 up in float32.
  mean_S = lambda z: np.asarray(abs(z).astype(np.float64).mean(0)).ravel()
  score_S = score(mean_S(z_image_nS), mean_S(z_text_nS))
  draws_RS = score(
    _draws(abs(z_image_nS), group_image_n, seed),
    _draws(abs(z_text_nS), group_text_n, seed + 1),
  )
  low_S, high_S = bootstrap.interval(draws_RS)
  firings_S = sum(
    _firings(z_nS, group_n if are_tokens else None)
    for z_nS, group_n in (
      (z_image_nS, group_image_n), (z_text_nS, group_text_n),
    )
  )  # fmt: skip
  return ModalityScores(
    score_S=score_S,
    low_S=low_S,
    high_S=high_S,
    class_S=classify(score_S, low_S, high_S, firings_S),
  )


def _numbered(group_n: np.ndarray) -> np.ndarray:
  """Groups as numbers from 0, in the order in which they come."""
  _, first_G, place_n = np.unique(
    group_n, return_index=True, return_inverse=True
  )
  rank_G = np.empty(len(first_G), np.int64)
  rank_G[np.argsort(first_G)] = np.arange(len(first_G))
  return rank_G[place_n]


def permuted_scores(
  z_image_nS: scipy.sparse.csr_matrix,
  z_text_nS: scipy.sparse.csr_matrix,
  seed: int = 0,
  examples: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
  """Scores under shuffled modality labels: what no preference looks like.

  Args:
    z_image_nS, z_text_nS: codes.
    seed: of the shuffling.
    examples: where rows are tokens, the example of each row of either side.
      Whole examples are shuffled, since their tokens are alike. By default
      every row is one.
  """
  z_nS = scipy.sparse.vstack([abs(z_image_nS), abs(z_text_nS)], format='csr')
  z_nS = z_nS.astype(np.float64)
  image_n, text_n = (
    map(_numbered, examples)
    if examples
    else (np.arange(z.shape[0]) for z in (z_image_nS, z_text_nS))
  )
  images = int(image_n.max(initial=-1)) + 1
  block_n = np.concatenate([image_n, images + text_n])
  order_E = np.random.default_rng(seed).permutation(
    int(block_n.max(initial=-1)) + 1
  )
  rank_n = np.argsort(order_E)[block_n]
  order = np.argsort(rank_n, kind='stable')
  cut = int((rank_n < images).sum())
  mean_S = lambda rows: np.asarray(z_nS[rows].mean(0)).ravel()
  return score(mean_S(order[:cut]), mean_S(order[cut:]))
