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
