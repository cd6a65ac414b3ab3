"""The modality subspace, by three definitions, and what crosses it.

- 'means': the direction between the two means, δ.
- 'classifiers': the directions of linear classifiers found one after another,
  each in the null space of those before (Ravfogel et al., arXiv 2004.07667).
- 'leace': what least-squares erasure reads (Belrose et al., arXiv 2306.03819).
  For two classes it has rank 1: it reads along Σ⁻¹δ and takes away along δ.
"""

from collections.abc import Mapping
import dataclasses

import numpy as np
import scipy.sparse

from saejax.analysis import factors
from saejax.analysis import geometry

DEFINITIONS = ('means', 'classifiers', 'leace')
_RIDGE = 1e-3  # Relative to the mean eigenvalue.
_CHANCE = 0.55  # AUROC on held-out rows at which nothing is left to classify.
MOST = 32  # Classifiers one after another.
_TINY = 1e-12


def _lda(image_nD: np.ndarray, text_nD: np.ndarray) -> np.ndarray:
  """Unit Σ⁻¹δ, the best linear classifier of equal covariances, ridged."""
  delta_D = image_nD.mean(0, dtype=np.float64) - text_nD.mean(
    0, dtype=np.float64
  )
  within_DD = geometry.covariance(image_nD) + geometry.covariance(text_nD)
  within_DD /= 2
  mean = np.trace(within_DD) / len(within_DD)
  within_DD += max(_RIDGE * mean, _TINY) * np.eye(len(within_DD))
  w_D = np.linalg.solve(within_DD, delta_D)
  return w_D / max(np.linalg.norm(w_D), _TINY)


def modality_auroc(
  score_image_nS: np.ndarray, score_text_nS: np.ndarray
) -> np.ndarray:
  """AUROC of each column for "is an image": [S]; ties count half."""
  rows = score_image_nS.shape[0], score_text_nS.shape[0]
  label_n1 = np.repeat([True, False], rows)[:, None]
  both = (score_image_nS, score_text_nS)
  if scipy.sparse.issparse(score_image_nS):
    score_nS = scipy.sparse.vstack(both, format='csr')
  else:
    score_nS = np.concatenate(both)
  return factors.auroc(score_nS, label_n1)[:, 0]


def fold(auroc_S: np.ndarray) -> np.ndarray:
  """How well a score tells two classes whichever way it points, ≥ 0.5."""
  return np.maximum(auroc_S, 1 - auroc_S)


@dataclasses.dataclass(frozen=True)
class Subspaces:
  """Orthonormal bases [r, D] by definition, and the best classifier."""

  bases: Mapping[str, np.ndarray]
  classifier_D: np.ndarray


def fit(
  image_nD: np.ndarray,
  text_nD: np.ndarray,
  image_val_nD: np.ndarray,
  text_val_nD: np.ndarray,
) -> Subspaces:
  """Fits the three on training rows; `val` says how many classifiers.

  Classifiers are added while the next still tells the modalities of `val`
  apart (AUROC of 0.55 or more), up to 32.
  """
  delta_D = image_nD.mean(0, dtype=np.float64) - text_nD.mean(
    0, dtype=np.float64
  )
  first_D = _lda(image_nD, text_nD)
  basis_RD = np.zeros((0, len(delta_D)))
  rows = [image_nD, text_nD, image_val_nD, text_val_nD]
  left = [x_nD.astype(np.float64) for x_nD in rows]
  while len(basis_RD) < min(MOST, len(delta_D)):
    w_D = _lda(*left[:2])
    w_D -= basis_RD.T @ (basis_RD @ w_D)
    w_D /= max(np.linalg.norm(w_D), _TINY)
    scores = [(x_nD @ w_D)[:, None] for x_nD in left[2:]]
    if not fold(modality_auroc(*scores))[0] >= _CHANCE:
      break
    basis_RD = np.concatenate([basis_RD, w_D[None]])
    left = [x_nD - np.outer(x_nD @ w_D, w_D) for x_nD in left]
  unit = lambda w_D: (w_D / max(np.linalg.norm(w_D), _TINY))[None]
  return Subspaces(
    bases={
      'means': unit(delta_D), 'classifiers': basis_RD, 'leace': unit(first_D),
    },
    classifier_D=first_D,
  )  # fmt: skip


def projected_norm(d_SD: np.ndarray, basis_RD: np.ndarray) -> np.ndarray:
  """‖Proj d‖ / ‖d‖ of rows: [S]; for one direction it is |cos|."""
  norm_S = np.maximum(np.linalg.norm(d_SD, axis=1), _TINY)
  return np.linalg.norm(d_SD @ basis_RD.T, axis=1) / norm_S


@dataclasses.dataclass(frozen=True)
class GapSplit:
  """μ̂_ι − μ̂_τ = Σ_i (E_ι z_i − E_τ z_i) D_i, term by term.

  Attributes:
    part_S: what each concept adds to the length of the gap; sums to it.
    gap: ‖μ̂_ι − μ̂_τ‖ of reconstructions, b apart.
  """

  part_S: np.ndarray
  gap: float

  def carrying(self, share: float) -> int:
    """The fewest concepts whose parts add up to a share of the gap."""
    total = np.cumsum(np.sort(self.part_S)[::-1])
    return int(np.searchsorted(total, share * self.gap)) + 1


def gap_split(
  mean_image_S: np.ndarray, mean_text_S: np.ndarray, d_SD: np.ndarray
) -> GapSplit:
  """Splits the gap of reconstructions over concepts.

  Args:
    mean_image_S: E_ι[z_i].
    mean_text_S: E_τ[z_i].
    d_SD: the dictionary.
  """
  difference_S = mean_image_S - mean_text_S
  gap_D = difference_S @ d_SD
  gap = float(np.linalg.norm(gap_D))
  return GapSplit(difference_S * (d_SD @ gap_D) / max(gap, _TINY), gap)
