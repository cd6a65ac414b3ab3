"""Rows whose covariance is the identity, and the way back.

  u = (x − c) W,  W = V (Λ + ε)^(−1/2) Vᵀ of the covariance V Λ Vᵀ about c

ZCA, the whitening nearest to the rows themselves; Saraswatula and Klindt, *Data
whitening improves sparse autoencoder learning* (arXiv 2511.13981). ε keeps
directions in which rows hardly vary from being blown up.
"""

import dataclasses

import numpy as np

_RIDGE = 1e-3  # ε, in units of the mean eigenvalue.
_BLOCK = 65_536  # Rows in double precision at once.


@dataclasses.dataclass(frozen=True)
class Whitening:
  """Centres by stream [M, D], W [D, D] and its inverse."""

  center_MD: np.ndarray
  w_DD: np.ndarray
  inverse_DD: np.ndarray

  def apply(self, x_bD: np.ndarray, which_b: np.ndarray) -> np.ndarray:
    """Whitens rows of the streams that `which_b` numbers."""
    return (x_bD - self.center_MD[which_b]) @ self.w_DD


def fit(
  x_ND: np.ndarray, which_N: np.ndarray, center_MD: np.ndarray
) -> Whitening:
  """Whitening of rows about the centres of their streams.

  Args:
    x_ND: rows, in the shares of training.
    which_N: the stream of each.
    center_MD: centre of each stream.
  """
  d = x_ND.shape[1]
  covariance_DD = np.zeros((d, d))
  for start in range(0, len(x_ND), _BLOCK):
    part = slice(start, start + _BLOCK)
    away_bD = x_ND[part].astype(np.float64) - center_MD[which_N[part]]
    covariance_DD += away_bD.T @ away_bD / len(x_ND)
  values_D, vectors_DD = np.linalg.eigh(covariance_DD)
  values_D = np.clip(values_D, 0, None)
  values_D = values_D + max(_RIDGE * values_D.mean(), 1e-30)
  of = lambda power: (vectors_DD * values_D**power) @ vectors_DD.T
  single = lambda x: x.astype(np.float32)
  return Whitening(single(center_MD), single(of(-0.5)), single(of(0.5)))
