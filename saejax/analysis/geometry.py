"""The modality gap, its direction, and how concepts lie to it."""

import dataclasses

import numpy as np

_RANDOM = 10_000  # Directions that make up a floor.
_ROWS = 65_536  # Rows in double precision at once.


@dataclasses.dataclass(frozen=True)
class Fit:
  """Means and covariance of the training rows of two modalities."""

  mean_image_D: np.ndarray
  mean_text_D: np.ndarray
  within_DD: np.ndarray  # Covariance about each modality's own mean, averaged.

  @property
  def gap(self) -> float:
    """‖μ_ι − μ_τ‖."""
    return float(np.linalg.norm(self.mean_image_D - self.mean_text_D))

  @property
  def direction_D(self) -> np.ndarray:
    """w = (μ_ι − μ_τ) / ‖μ_ι − μ_τ‖."""
    difference_D = self.mean_image_D - self.mean_text_D
    return difference_D / max(np.linalg.norm(difference_D), 1e-12)


def fit(image_nD: np.ndarray, text_nD: np.ndarray) -> Fit:
  """Fits means and the within-modality covariance."""
  return Fit(
    mean_image_D=image_nD.mean(0, dtype=np.float64),
    mean_text_D=text_nD.mean(0, dtype=np.float64),
    within_DD=(covariance(image_nD) + covariance(text_nD)) / 2,
  )


def covariance(x_nD: np.ndarray) -> np.ndarray:
  """Covariance [D, D] of rows, in double precision; NaN for a single row."""
  mean_D = x_nD.mean(0, dtype=np.float64)
  scatter_DD = np.zeros((len(mean_D), len(mean_D)))
  for start in range(0, len(x_nD), _ROWS):
    away_bD = x_nD[start : start + _ROWS] - mean_D
    scatter_DD += away_bD.T @ away_bD
  return scatter_DD / (len(x_nD) - 1 or np.nan)


def effective_rank(covariance_DD: np.ndarray) -> float:
  """exp of the entropy of the spectrum (Roy and Vetterli, 2007).

  NaN where nothing varies.
  """
  if not np.trace(covariance_DD) > 0:
    return float('nan')
  share_D = np.clip(np.linalg.eigvalsh(covariance_DD), 0, None)
  share_D = share_D / share_D.sum()
  share_D = share_D[share_D > 0]
  return float(np.exp(-(share_D * np.log(share_D)).sum()))


def cosines(rows_SD: np.ndarray, direction_D: np.ndarray) -> np.ndarray:
  """|cos| of rows to a unit direction; NaN for zero rows."""
  norm_S = np.linalg.norm(rows_SD, axis=1)
  with np.errstate(invalid='ignore', divide='ignore'):
    return abs(rows_SD @ direction_D) / norm_S


def gaussian_rows(covariance_DD: np.ndarray, n: int, rng) -> np.ndarray:
  """Rows [n, D] of a Gaussian with mean 0; the covariance may be singular."""
  values_D, vectors_DD = np.linalg.eigh(covariance_DD)
  root_D = np.sqrt(np.clip(values_D, 0, None))
  return (rng.normal(size=(n, len(root_D))) * root_D) @ vectors_DD.T


def random_directions(
  covariance_DD: np.ndarray, n: int, seed: int = 0
) -> dict[str, np.ndarray]:
  """Directions [n, D] that know nothing of concepts, of two kinds.

  'isotropic' ones know nothing at all; 'covariance' ones are drawn with the
  covariance of rows, the sterner floor.
  """
  rng = np.random.default_rng(seed)
  return {
    'isotropic': rng.normal(size=(n, len(covariance_DD))),
    'covariance': gaussian_rows(covariance_DD, n, rng),
  }


def chance_cosine(within_DD: np.ndarray, share: float = 0.95) -> float:
  """The cosine that this share of pairs of random directions stays below.

  They are drawn with the covariance of rows about their modality's mean.
  """
  x_ND = random_directions(within_DD, 2 * _RANDOM)['covariance']
  x_ND = x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)
  one_nD, other_nD = x_ND[::2], x_ND[1::2]
  return float(np.quantile((one_nD * other_nD).sum(1), share))


def floors(fit_: Fit, seed: int = 0) -> dict[str, float]:
  """Median |cos| to the gap direction of `random_directions`.

  Their covariance is that of rows about their modality's mean.
  """
  found = random_directions(fit_.within_DD, _RANDOM, seed)
  return {
    name: float(np.median(cosines(x_ND, fit_.direction_D)))
    for name, x_ND in found.items()
  }
