"""How alike the images are that a concept fires for, to another encoder."""

import numpy as np
import scipy.sparse

from saejax.analysis import retrieval


def scores(a_nS, e_nD: np.ndarray) -> np.ndarray:
  """MonoSemanticity score of every concept: [S], within [-1, 1].

  The mean cosine of all pairs of images, weighted by the product of their
  activations after these are scaled to 0…1 over the images (arXiv 2504.02821,
  section 3.2). Computed from sums, without the pairs:
  Σ_{i≠j} a_i a_j ⟨e_i, e_j⟩ = ‖Σ a_i e_i‖² − Σ a_i², for unit e.

  Args:
    a_nS: activations, sparse or dense.
    e_nD: the images by an encoder that the concepts are not made from.

  Returns:
    NaN where activations do not vary, or one image has all the weight.
  """
  n = len(e_nD)
  e_nD = retrieval.unit_rows(np.asarray(e_nD, np.float64))
  if scipy.sparse.issparse(a_nS):
    a_nS = scipy.sparse.csr_matrix(a_nS, dtype=np.float64)
    low_S, high_S = (f(axis=0).toarray().ravel() for f in (a_nS.min, a_nS.max))
    one_S = np.asarray(a_nS.sum(0)).ravel()
    two_S = np.asarray(a_nS.multiply(a_nS).sum(0)).ravel()
  else:
    a_nS = np.asarray(a_nS, np.float64)
    low_S, high_S = a_nS.min(0), a_nS.max(0)
    one_S, two_S = a_nS.sum(0), (a_nS**2).sum(0)
  # Scaling is put into the sums: sparse stays sparse.
  pull_SD = a_nS.T @ e_nD - low_S[:, None] * e_nD.sum(0)
  square_S = two_S - 2 * low_S * one_S + n * low_S**2
  weight_S = (one_S - n * low_S) ** 2 - square_S
  range_S = high_S - low_S
  least_S = 1e-9 * np.maximum(square_S, 1e-300)
  with np.errstate(invalid='ignore', divide='ignore'):
    score_S = ((pull_SD**2).sum(1) - square_S) / weight_S
  return np.where((range_S > 0) & (weight_S > least_S), score_S, np.nan)


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
