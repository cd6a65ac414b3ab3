"""How much of a dictionary comes back when it is trained again.

Stability(D, D′) = max over permutations P of (1/S) Tr(Dᵀ P D′): the mean cosine
of the best one-to-one matching of live concepts (Fel et al., arXiv 2502.12892;
used in arXiv 2504.11695). Between models, whose bases are unrelated, concepts
are matched by the correlation of their codes on the same rows instead.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np
import scipy.optimize
import scipy.sparse
import scipy.stats

from saejax.analysis import geometry
from saejax.analysis import retrieval

_COLUMNS = 1024  # Codes that are dense at once.
_TINY = 1e-12


@dataclasses.dataclass(frozen=True)
class Matching:
  """The best one-to-one matching of two sets of concepts: M pairs."""

  i_M: np.ndarray
  j_M: np.ndarray
  similarity_M: np.ndarray


def match(similarity_SR: np.ndarray) -> Matching:
  """Maximises the summed similarity (Hungarian); rectangular is allowed."""
  i_M, j_M = scipy.optimize.linear_sum_assignment(similarity_SR, maximize=True)
  return Matching(i_M, j_M, similarity_SR[i_M, j_M])


def match_rows(a_SD: np.ndarray, b_RD: np.ndarray) -> Matching:
  """Matches directions by cosine; min(S, R) pairs."""
  a_SD, b_RD = (retrieval.unit_rows(d.astype(np.float32)) for d in (a_SD, b_RD))
  return match(a_SD @ b_RD.T)


def weighted_mean(value_M: np.ndarray, weight_M: np.ndarray) -> float:
  """Σ w v / Σ w; NaN where nothing weighs."""
  total = float(weight_M.sum())
  return float(weight_M @ value_M) / total if total > 0 else float('nan')


def top_means(
  value_M: np.ndarray, energy_M: np.ndarray, tops: Sequence[int]
) -> np.ndarray:
  """Mean value of the n pairs of most energy, for each n of `tops`."""
  order_M = np.argsort(-energy_M, kind='stable')
  mean_M = np.cumsum(value_M[order_M], dtype=np.float64)
  return np.array([mean_M[n - 1] / n for n in tops])


def rank_correlation(a_M: np.ndarray, b_M: np.ndarray) -> float:
  """Spearman's; NaN where one is constant."""
  if len(a_M) < 2 or np.ptp(a_M) == 0 or np.ptp(b_M) == 0:
    return float('nan')
  return float(scipy.stats.spearmanr(a_M, b_M).statistic)


def tenths(value_M: np.ndarray, by_M: np.ndarray) -> list[np.ndarray]:
  """Values of each tenth of the pairs, from the smallest `by` up; ≤ 10."""
  order_M = np.argsort(by_M, kind='stable')
  return np.array_split(value_M[order_M], min(10, len(value_M)))


def by_decile(value_M: np.ndarray, by_M: np.ndarray) -> np.ndarray:
  """Mean value of tenths of the pairs, from the smallest `by` up: [≤ 10]."""
  return np.array([part.mean() for part in tenths(value_M, by_M)])


def _moments(z_nS: scipy.sparse.csc_matrix) -> tuple[np.ndarray, np.ndarray]:
  n = z_nS.shape[0]
  mean_S = np.asarray(z_nS.mean(0)).ravel()
  square_S = np.asarray(z_nS.multiply(z_nS).sum(0)).ravel() / n
  return mean_S, np.sqrt(np.maximum(square_S - mean_S**2, 0))


def paired_correlations(
  a_nS, b_nR, i_M: np.ndarray, j_M: np.ndarray
) -> np.ndarray:
  """Pearson's r of column i of a and column j of b over rows: [M].

  NaN where a column is constant.
  """
  a_nM = scipy.sparse.csc_matrix(a_nS, dtype=np.float64)[:, i_M]
  b_nM = scipy.sparse.csc_matrix(b_nR, dtype=np.float64)[:, j_M]
  (mean_a, std_a), (mean_b, std_b) = _moments(a_nM), _moments(b_nM)
  joint_M = np.asarray(a_nM.multiply(b_nM).mean(0)).ravel()
  scale_M = std_a * std_b
  with np.errstate(invalid='ignore', divide='ignore'):
    r_M = (joint_M - mean_a * mean_b) / scale_M
  return np.where(scale_M > _TINY, r_M, np.nan)


def correlations(a_nS, b_nR) -> np.ndarray:
  """Pearson's r of every column of a with every column of b: float32 [S, R].

  0 where a column is constant.
  """
  a_nS = scipy.sparse.csc_matrix(a_nS, dtype=np.float64)
  b_nR = scipy.sparse.csc_matrix(b_nR, dtype=np.float64)
  n = a_nS.shape[0]
  (mean_S, std_S), (mean_R, std_R) = _moments(a_nS), _moments(b_nR)
  out_SR = np.zeros((a_nS.shape[1], b_nR.shape[1]), np.float32)
  for start in range(0, a_nS.shape[1], _COLUMNS):
    part = slice(start, start + _COLUMNS)
    joint_sR = (a_nS[:, part].T @ b_nR).toarray() / n
    scale_sR = std_S[part, None] * std_R[None]
    r_sR = (joint_sR - mean_S[part, None] * mean_R[None]) / np.maximum(
      scale_sR, _TINY
    )
    out_SR[part] = np.where(scale_sR > _TINY, r_sR, 0)
  return out_SR


def floors(x_ND: np.ndarray, s: int, r: int, seed: int = 0) -> dict[str, float]:
  """Mean matched cosine of two dictionaries that know nothing of each other.

  'isotropic': Gaussian rows; 'covariance': Gaussian rows with the covariance of
  the data; 'data': disjoint rows of the data themselves, as many as there are.

  Args:
    x_ND: training rows, the modalities in equal parts.
    s: concepts of the one dictionary.
    r: concepts of the other.
    seed: of the draws.
  """
  rng = np.random.default_rng(seed)
  d = x_ND.shape[1]
  mean = lambda a, b: float(match_rows(a, b).similarity_M.mean())
  order_N = rng.permutation(len(x_ND))
  half = len(x_ND) // 2
  covariance_DD = geometry.covariance(x_ND)
  return {
    'isotropic': mean(rng.normal(size=(s, d)), rng.normal(size=(r, d))),
    'covariance': mean(
      *(geometry.gaussian_rows(covariance_DD, n, rng) for n in (s, r))
    ),
    'data': mean(x_ND[order_N[:half][:s]], x_ND[order_N[half:][:r]]),
  }
