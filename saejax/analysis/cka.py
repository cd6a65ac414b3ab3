"""How alike two sets of rows arrange the same examples.

Rows of one image and of its caption lie in unrelated places; what can be alike
is who is near whom. Each modality is centred on its own mean first.

Letters as in `types`; N examples, in the same order on both sides.
"""

import numpy as np

from saejax.analysis import retrieval

DRAWS = 200
_LEAST = 4  # Examples: HSIC's estimator divides by n − 3.


def gram(x_ND: np.ndarray) -> np.ndarray:
  """Inner products of rows about their mean, without a row's with itself."""
  x_ND = np.asarray(x_ND, np.float64)
  x_ND = x_ND - x_ND.mean(0)
  k_NN = x_ND @ x_ND.T
  np.fill_diagonal(k_NN, 0)
  return k_NN


def hsic(k_NN: np.ndarray, l_NN: np.ndarray, weight_RN=None) -> np.ndarray:
  """The unbiased estimate of HSIC (Song et al., JMLR 2012, eq. 5): [R].

  Args:
    k_NN: of `gram`.
    l_NN: of `gram`.
    weight_RN: how often resamples take each example; None for once each, and
      R of 1. Copies of one example are not compared with each other.
  """
  n = len(k_NN)
  w_RN = np.ones((1, n)) if weight_RN is None else np.asarray(weight_RN, float)
  kw_RN, lw_RN = w_RN @ k_NN, w_RN @ l_NN
  both_R = ((w_RN @ (k_NN * l_NN)) * w_RN).sum(1)
  sums_R = (kw_RN * w_RN).sum(1) * (lw_RN * w_RN).sum(1)
  rows_R = (w_RN * kw_RN * lw_RN).sum(1)
  return (both_R + sums_R / ((n - 1) * (n - 2)) - 2 * rows_R / (n - 2)) / (
    n * (n - 3)
  )


def _ratio(cross_R, own_x_R, own_y_R) -> np.ndarray:
  with np.errstate(invalid='ignore', divide='ignore'):
    return np.where(
      (own_x_R > 0) & (own_y_R > 0),
      cross_R / np.sqrt(np.abs(own_x_R * own_y_R)),
      np.nan,
    )


def cka(k_NN: np.ndarray, l_NN: np.ndarray, weight_RN=None) -> np.ndarray:
  """Debiased linear CKA: about 0 of unrelated rows, 1 of rotated ones: [R].

  The ratio of unbiased estimates, since those of Kornblith et al. (arXiv
  1905.00414) grow with the width over the number of examples.

  Args:
    k_NN: of `gram`.
    l_NN: of `gram`.
    weight_RN: as in `hsic`.
  """
  return _ratio(*(hsic(a, b, weight_RN) for a, b in (
    (k_NN, l_NN), (k_NN, k_NN), (l_NN, l_NN),
  )))  # fmt: skip


def permuted_cka(
  k_NN: np.ndarray, l_NN: np.ndarray, draws: int, seed: int = 0
) -> np.ndarray:
  """CKA with the examples of one side shuffled: [R]."""
  rng = np.random.default_rng(seed)
  own = hsic(k_NN, k_NN) * hsic(l_NN, l_NN)
  found = []
  for _ in range(draws):
    order = rng.permutation(len(l_NN))
    found.append(hsic(k_NN, l_NN[np.ix_(order, order)])[0])
  return np.array(found) / np.sqrt(np.maximum(own, 1e-300))


def neighbours(x_ND: np.ndarray, k: int) -> np.ndarray:
  """The k examples of the highest cosine about the mean: bool [N, N]."""
  x_ND = np.asarray(x_ND, np.float64)
  unit_ND = retrieval.unit_rows(x_ND - x_ND.mean(0))
  cosine_NN = unit_ND @ unit_ND.T
  np.fill_diagonal(cosine_NN, -np.inf)
  n = len(x_ND)
  near_NK = np.argpartition(-cosine_NN, min(k, n - 1) - 1, axis=1)[:, :k]
  is_near_NN = np.zeros((n, n), bool)
  is_near_NN[np.arange(n)[:, None], near_NK] = True
  return is_near_NN


def overlap(near_x_NN: np.ndarray, near_y_NN: np.ndarray) -> np.ndarray:
  """Share of each example's neighbours that both sides have: [N].

  Its mean is mutual k-NN (Huh et al., arXiv 2405.07987, §A).
  """
  both_N = (near_x_NN & near_y_NN).sum(1)
  return both_N / np.maximum(near_x_NN.sum(1), 1)


def permuted_overlap(
  near_x_NN: np.ndarray, near_y_NN: np.ndarray, draws: int, seed: int = 0
) -> np.ndarray:
  """Mean overlap with the examples of one side shuffled: [R]."""
  rng = np.random.default_rng(seed)
  found = []
  for _ in range(draws):
    order = rng.permutation(len(near_y_NN))
    shuffled_NN = near_y_NN[np.ix_(order, order)]
    found.append(overlap(near_x_NN, shuffled_NN).mean())
  return np.array(found)


def _class_means(x_ND: np.ndarray, label_RNC: np.ndarray) -> np.ndarray:
  """Mean row of each class in each draw, in one matmul: [R, C, D]."""
  r, n, c = label_RNC.shape
  label_KN = label_RNC.transpose(0, 2, 1).reshape(r * c, n).astype(np.float64)
  with np.errstate(invalid='ignore', divide='ignore'):
    mean_KD = (label_KN @ x_ND) / label_KN.sum(1, keepdims=True)
  return mean_KD.reshape(r, c, -1)


def class_cosines(
  x_ND: np.ndarray,
  y_ND: np.ndarray,
  label_x_RNC: np.ndarray,
  label_y_RNC: np.ndarray,
) -> np.ndarray:
  """Cosine of each class's mean in both, about the modality's mean: [R, C].

  Args:
    x_ND: rows of one modality.
    y_ND: rows of the other.
    label_x_RNC: how often an example counts for a class in x, in each of R
      draws; 0 for not.
    label_y_RNC: likewise in y.

  Returns:
    NaN where a class is nowhere.
  """
  a_RCD, b_RCD = (
    _class_means(np.asarray(rows, np.float64) - rows.mean(0), label)
    for rows, label in ((x_ND, label_x_RNC), (y_ND, label_y_RNC))
  )
  norm_RC = np.linalg.norm(a_RCD, axis=-1) * np.linalg.norm(b_RCD, axis=-1)
  with np.errstate(invalid='ignore', divide='ignore'):
    return np.where(norm_RC > 0, (a_RCD * b_RCD).sum(-1) / norm_RC, np.nan)


def weights(n: int, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
  """How often resamples take each example: [R, N]."""
  rng = np.random.default_rng(seed)
  return rng.multinomial(n, np.full(n, 1 / n), size=draws)


def is_enough(n: int) -> bool:
  """Whether so many examples have a debiased CKA."""
  return n >= _LEAST
