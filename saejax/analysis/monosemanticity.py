"""How alike the images are that a concept fires for, to another encoder."""

import numpy as np
import scipy.sparse

from saejax.analysis import retrieval

PERMUTATIONS = 10
_LEVEL = 0.95  # Of random directions that are below a floor.


def centred(e_nD: np.ndarray) -> np.ndarray:
  """Embeddings about their mean: [n, D].

  Those of an encoder lie in a narrow cone, where any two images are alike:
  cosines then tell of the cone more than of the images.
  """
  e_nD = np.asarray(e_nD, np.float64)
  return e_nD - e_nD.mean(0)


def scores(a_nS, e_nD: np.ndarray) -> np.ndarray:
  """MonoSemanticity score of every concept: [S], within [-1, 1].

  The mean cosine of all pairs of images, weighted by the product of their
  activations after these are scaled to 0…1 over the images (arXiv 2504.02821,
  section 3.2). Computed from sums, without the pairs:
  Σ_{i≠j} a_i a_j ⟨e_i, e_j⟩ = ‖Σ a_i e_i‖² − Σ a_i² ‖e_i‖², for unit e, or 0.

  Args:
    a_nS: activations, sparse or dense.
    e_nD: the images by an encoder that the concepts are not made from; as they
      are, which is the paper's score, or `centred`.

  Returns:
    NaN where activations do not vary, or one image has all the weight.
  """
  n = len(e_nD)
  e_nD = retrieval.unit_rows(np.asarray(e_nD, np.float64))
  if scipy.sparse.issparse(a_nS):
    a_nS = scipy.sparse.csr_matrix(a_nS, dtype=np.float64)
    low_S, high_S = (f(axis=0).toarray().ravel() for f in (a_nS.min, a_nS.max))
    square_nS = a_nS.multiply(a_nS).tocsr()
  else:
    a_nS = np.asarray(a_nS, np.float64)
    low_S, high_S, square_nS = a_nS.min(0), a_nS.max(0), a_nS**2
  # Of each image, and of its embedding, which is 0 at the mean.
  each_n2 = np.stack([np.ones(n), (e_nD**2).sum(1)], axis=1)
  one_S2, low_S1 = a_nS.T @ each_n2, low_S[:, None]
  # Scaling is put into the sums: sparse stays sparse.
  pull_SD = a_nS.T @ e_nD - low_S1 * e_nD.sum(0)
  square_S2 = square_nS.T @ each_n2 - 2 * low_S1 * one_S2
  square_S2 += low_S1**2 * each_n2.sum(0)
  square_S = square_S2[:, 0]
  weight_S = (one_S2[:, 0] - n * low_S) ** 2 - square_S
  least_S = 1e-9 * np.maximum(square_S, 1e-300)
  with np.errstate(invalid='ignore', divide='ignore'):
    score_S = ((pull_SD**2).sum(1) - square_S2[:, 1]) / weight_S
  return np.where((high_S > low_S) & (weight_S > least_S), score_S, np.nan)


def permuted(
  a_nS, e_nD: np.ndarray, draws: int = PERMUTATIONS, seed: int = 0
) -> np.ndarray:
  """Scores of activations that are given to other images: [R, S].

  What as much weight on as many images gives where it knows nothing of them.
  """
  rng = np.random.default_rng(seed)
  order = lambda: rng.permutation(len(e_nD))
  return np.stack([scores(a_nS, e_nD[order()]) for _ in range(draws)])


def random_activations(
  x_nD: np.ndarray, count: int, firings: int, seed: int = 0
) -> scipy.sparse.csr_matrix:
  """Rows along random directions, each firing for so many of them: [n, count].

  What a concept that knows nothing would give: the excess over a threshold
  that as many rows pass as pass a concept's.
  """
  rng = np.random.default_rng(seed)
  along_nS = x_nD @ rng.normal(size=(x_nD.shape[1], count))
  n = len(x_nD)
  firings = min(max(firings, 1), n - 1)
  cut_S = np.partition(along_nS, n - firings - 1, axis=0)[n - firings - 1]
  return scipy.sparse.csr_matrix(np.maximum(along_nS - cut_S, 0))


def bins(firings_S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Concepts by how often they fire, a factor of two a bin.

  Returns:
    each concept's bin, from 0: [S]; and each bin's median firings: [B].
  """
  octave_S = np.floor(np.log2(np.maximum(firings_S, 1))).astype(int)
  used_B, bin_S = np.unique(octave_S, return_inverse=True)
  median_B = [np.median(firings_S[bin_S == b]) for b in range(len(used_B))]
  return bin_S, np.array(median_B, int)


def floors(random_BR: np.ndarray) -> np.ndarray:
  """What 95 % of random directions are below, of each bin: [B].

  NaN where none has a score.
  """
  found = [r[np.isfinite(r)] for r in random_BR]
  return np.array([np.quantile(r, _LEVEL) if len(r) else np.nan for r in found])


def above(score_S: np.ndarray, floor_S: np.ndarray) -> np.ndarray:
  """1 for what is above its floor, 0 for what is not; NaN if either is."""
  is_known_S = np.isfinite(score_S) & np.isfinite(floor_S)
  return np.where(is_known_S, score_S > floor_S, np.nan)
