"""A structureless twin of paired embeddings: Gaussian, same first two moments.

What an analysis also finds in the twin is a matter of means and covariances,
not of concepts.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class PairMoments:
  """Per-modality means and the joint covariance of (image, text) pairs."""

  mean_image_D: np.ndarray
  mean_text_D: np.ndarray
  image_DD: np.ndarray
  text_DD: np.ndarray
  image_text_DD: np.ndarray


def fit(image_nD: np.ndarray, text_nD: np.ndarray) -> PairMoments:
  """Fits the moments of matched rows; rows may repeat where texts do."""
  image_nD, text_nD = image_nD.astype(np.float64), text_nD.astype(np.float64)
  mean_image_D, mean_text_D = image_nD.mean(0), text_nD.mean(0)
  a_nD, b_nD = image_nD - mean_image_D, text_nD - mean_text_D
  n = len(a_nD)
  return PairMoments(
    mean_image_D=mean_image_D,
    mean_text_D=mean_text_D,
    image_DD=a_nD.T @ a_nD / n,
    text_DD=b_nD.T @ b_nD / n,
    image_text_DD=a_nD.T @ b_nD / n,
  )


def _root(covariance_DD: np.ndarray) -> np.ndarray:
  """R with R Rᵀ = covariance, for one that may be singular."""
  values_D, vectors_DD = np.linalg.eigh(covariance_DD)
  return vectors_DD * np.sqrt(np.clip(values_D, 0, None))


def sample(
  m: PairMoments, texts_per_image_I: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
  """Draws images [I, D] and, for each in turn, its texts [ΣI, D].

  An image and each of its texts have the pair's means and joint covariance;
  texts of one image are independent given the image.
  """
  rng = np.random.default_rng(seed)
  n, d = len(texts_per_image_I), len(m.mean_image_D)
  image_ID = rng.normal(size=(n, d)) @ _root(m.image_DD).T
  # Conditional mean and covariance of a text given its image; the pseudo
  # inverse because embeddings may not fill their space.
  given_DD = np.linalg.pinv(m.image_DD, hermitian=True) @ m.image_text_DD
  rest_DD = m.text_DD - m.image_text_DD.T @ given_DD
  text_ND = np.repeat(image_ID @ given_DD, texts_per_image_I, axis=0)
  text_ND = text_ND + rng.normal(size=text_ND.shape) @ _root(rest_DD).T
  return (
    (image_ID + m.mean_image_D).astype(np.float32),
    (text_ND + m.mean_text_D).astype(np.float32),
  )
