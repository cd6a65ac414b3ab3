"""Directions of classes, directions that are like them by chance, and tests.

That adding a direction changes what a model says is no finding by itself: any
large enough push does. So a direction is held against random ones of the same
covariance, and against differences of means of shuffled labels, each at the
strength of its own choice within the same damage (arXiv 2506.04706 §4 has one
random unit vector).

Letters: n rows, D width, C classes, N directions, K strengths.
"""

import numpy as np


def unit(v_ND: np.ndarray) -> np.ndarray:
  """Rows of length 1; a row of zeros stays."""
  return v_ND / np.maximum(np.linalg.norm(v_ND, axis=-1, keepdims=True), 1e-20)


def mean_differences(
  x_nD: np.ndarray, label_n: np.ndarray, classes: int
) -> np.ndarray:
  """The mean of each class minus that of all others: [C, D].

  Rows of label −1 are of no class. NaN of a class without rows.
  """
  has_n = label_n >= 0
  is_nC = np.eye(classes)[label_n[has_n]]
  x_nD = x_nD[has_n].astype(np.float64)
  count_C1 = is_nC.sum(0)[:, None]
  sum_CD = is_nC.T @ x_nD
  with np.errstate(invalid='ignore', divide='ignore'):
    rest_CD = (x_nD.sum(0)[None] - sum_CD) / (len(x_nD) - count_C1)
    return sum_CD / count_C1 - rest_CD


def adjusted_differences(
  x_nD: np.ndarray, label_n: np.ndarray, classes: int, beside_nF: np.ndarray
) -> np.ndarray:
  """`mean_differences` with all else that is known of rows held equal: [C, D].

  Where hearts are often red, the mean of red rows holds something of hearts.
  Least squares of rows on classes and on what stands beside them leaves it out,
  and with it the scatter that it makes.

  Args:
    x_nD: rows.
    label_n: the class of each; none is below 0.
    classes: C.
    beside_nF: anything else that may matter; a constant is added.

  Returns:
    NaN of a class without rows; 0 of what cannot be told from the rest.
  """
  is_nC = np.eye(classes)[label_n]
  count_C = is_nC.sum(0)
  here_c = np.flatnonzero(count_C)
  beside_nF = np.concatenate([np.ones((len(x_nD), 1)), beside_nF], axis=1)
  u_nF, size_F, _ = np.linalg.svd(beside_nF, full_matrices=False)
  u_nF = u_nF[:, size_F > 1e-9 * size_F[0]]
  apart = lambda a: a - u_nF @ (u_nF.T @ a)
  # Of the least norm, as classes and the constant together are not unique.
  u_nc, size_c, v_cc = np.linalg.svd(apart(is_nC[:, here_c]), False)
  told = size_c > 1e-6 * np.sqrt(len(x_nD))
  inner_cD = u_nc[:, told].T @ apart(x_nD.astype(np.float64))
  b_cD = v_cc[told].T @ (inner_cD / size_c[told, None])
  share_c1 = (count_C[here_c] / count_C.sum())[:, None]
  away_cD = b_cD - (share_c1 * b_cD).sum(0)
  found_CD = np.full((classes, x_nD.shape[1]), np.nan)
  found_CD[here_c] = away_cD / np.maximum(1 - share_c1, 1e-9)
  return found_CD


def span(v_ND: np.ndarray, least: float = 1e-2) -> np.ndarray:
  """An orthonormal basis of what directions span: [n, D], n ≤ N.

  Args:
    v_ND: directions.
    least: of the largest singular value; what is smaller does not count.
  """
  if not len(v_ND):
    return v_ND
  _, size_n, basis_nD = np.linalg.svd(v_ND, full_matrices=False)
  return basis_nD[size_n > least * size_n[0]]


def without(v_ND: np.ndarray, basis_nD: np.ndarray) -> np.ndarray:
  """Directions less their part in the span of an orthonormal basis."""
  return v_ND - (v_ND @ basis_nD.T) @ basis_nD


def like_covariance(x_nD: np.ndarray, draws: int, seed: int = 0) -> np.ndarray:
  """Unit directions drawn from a normal law with the covariance of rows."""
  rng = np.random.default_rng(seed)
  away_nD = x_nD - x_nD.mean(0)
  return unit(rng.normal(size=(draws, len(x_nD))) @ away_nD)


def of_shuffled(
  x_nD: np.ndarray, label_n: np.ndarray, draws: int, seed: int = 0
) -> np.ndarray:
  """Unit differences of means of labels by chance, each of a class drawn."""
  x_nD, label_n = x_nD[label_n >= 0], label_n[label_n >= 0]
  rng = np.random.default_rng(seed)
  weight_Nn = np.empty((draws, len(x_nD)))
  for i in range(draws):
    mine_n = rng.permutation(label_n) == rng.choice(label_n)
    weight_Nn[i] = mine_n / mine_n.sum() - ~mine_n / max((~mine_n).sum(), 1)
  return unit(weight_Nn @ x_nD)


def best_strength(
  effect_NK: np.ndarray, damage_NK: np.ndarray, most: float
) -> np.ndarray:
  """Which strength has the largest effect of those that do little damage: [N].

  The first, if all do more than `most`.
  """
  return np.where(damage_NK <= most, effect_NK, -np.inf).argmax(-1)


def least_that_turns(turned_K: np.ndarray, share: float) -> int:
  """The first strength that turns so large a share of answers; −1 if none."""
  turns_K = turned_K >= share
  return int(turns_K.argmax()) if turns_K.any() else -1


def pursuit_cosines(
  v_ND: np.ndarray, w_SD: np.ndarray, atoms: int
) -> np.ndarray:
  """Cosine of each direction to its fit on 1, 2, … atoms: [N, atoms].

  Orthogonal matching pursuit: each step takes the atom of largest |⟨residual,
  w⟩| of either sign, and fits all so far by least squares. 1 once nothing is
  left.
  """
  w_SD = unit(np.asarray(w_SD, np.float64))
  left_ND = unit(np.asarray(v_ND, np.float64))
  basis: list[np.ndarray] = []
  seen_N, found_NK = np.zeros(len(left_ND)), np.empty((len(left_ND), atoms))
  for k in range(atoms):
    best_N = np.abs(left_ND @ w_SD.T).argmax(1)
    q_ND = w_SD[best_N]
    for _ in '12':  # Twice, for what rounding leaves.
      for b_ND in basis:
        q_ND = q_ND - (q_ND * b_ND).sum(1, keepdims=True) * b_ND
    # An atom within the span of those before adds nothing.
    is_new_N1 = np.linalg.norm(q_ND, axis=1, keepdims=True) > 1e-8
    q_ND = np.where(is_new_N1, unit(q_ND), 0)
    basis.append(q_ND)
    part_N = (left_ND * q_ND).sum(1)
    seen_N = seen_N + part_N**2
    left_ND = left_ND - part_N[:, None] * q_ND
    found_NK[:, k] = np.sqrt(np.minimum(seen_N, 1))
  return found_NK
