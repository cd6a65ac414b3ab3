"""How much and how often each concept is used."""

import dataclasses

import numpy as np
import scipy.sparse


@dataclasses.dataclass(frozen=True)
class Usage:
  """Per concept over some rows; energy is E[|z|] on the stored scale."""

  rows: int
  energy_S: np.ndarray
  count_S: np.ndarray  # Rows in which it is active.

  @property
  def rate_S(self) -> np.ndarray:
    return self.count_S / max(self.rows, 1)


def usage(z_nS: scipy.sparse.csr_matrix) -> Usage:
  """Energy (arXiv 2504.11695) and firing counts of codes."""
  n = z_nS.shape[0]
  # SciPy would add float32 up in float32, and lose what many rows add.
  total_S = np.asarray(abs(z_nS).astype(np.float64).sum(0)).ravel()
  return Usage(
    rows=n,
    energy_S=total_S / max(n, 1),
    count_S=np.asarray((z_nS != 0).sum(0)).ravel(),
  )


def concepts_carrying(energy_S: np.ndarray, share: float) -> int:
  """The fewest concepts that together carry a share of the energy."""
  # Entry k is what the k strongest carry; the last is all, without rounding.
  carried = np.cumsum(np.concatenate([[0.0], np.sort(energy_S)[::-1]]))
  return int(np.searchsorted(carried, share * carried[-1]))
