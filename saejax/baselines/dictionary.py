"""What every linear method comes to: x̂ = zD + b, rows of D of unit norm."""

import dataclasses

import numpy as np
import scipy.sparse

# How a method's own codes come about; `codes.encode` says it in full.
CODES = ('largest', 'lasso', 'nonnegative_lasso', 'nearest')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dictionary:
  """A dictionary that was fitted to rows.

  Attributes:
    w_SD: atoms, unit rows, float32.
    b_D: what x̂ adds to zD: the training mean, or 0.
    code: one of `CODES`.
    signed: whether codes of both signs are meant. L0 counts a code that is
      not 0 as one, whatever its sign: that favours signed methods, for which an
      atom serves as two directions.
    filter_SD: codes of 'largest' are chosen by |(x − b) · filter|; None for the
      atoms themselves.
    length_S: codes of 'nearest', the norms that the centroids had.
  """

  w_SD: np.ndarray
  b_D: np.ndarray
  code: str
  signed: bool
  filter_SD: np.ndarray | None = None
  length_S: np.ndarray | None = None

  @property
  def s(self) -> int:
    return len(self.w_SD)


def unit(w_SD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Rows of unit norm, float32, and the norms they had; rows of 0 stay so."""
  w_SD = np.asarray(w_SD, np.float64)
  length_S = np.linalg.norm(w_SD, axis=1)
  w_SD = w_SD / np.maximum(length_S, 1e-30)[:, None]
  return w_SD.astype(np.float32), length_S.astype(np.float32)


def decode(dictionary: Dictionary, z_nS: scipy.sparse.csr_matrix) -> np.ndarray:
  """x̂ [n, D] of codes."""
  return z_nS @ dictionary.w_SD + dictionary.b_D
