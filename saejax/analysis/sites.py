"""Where a crosscoder's concepts live: the part of each that every site gets."""

from collections.abc import Sequence

import numpy as np

OWN = 0.9  # Share of its norms above which a concept is one site's own.


def split(x_ND: np.ndarray, widths: Sequence[int]) -> list[np.ndarray]:
  """Joined rows [N, ΣD] as those of each site [N, D_j]."""
  return np.split(x_ND, np.cumsum(widths)[:-1], axis=1)


def norm_shares(w_SD: np.ndarray, widths: Sequence[int]) -> np.ndarray:
  """‖d_i[j]‖ / Σ_j ‖d_i[j]‖ of concepts i at sites j: [S, M].

  Of two sites, 0 or 1 is a concept of one alone and ½ one of both: the relative
  decoder norm of Lindsey et al., *Sparse crosscoders*, 2024. A concept that
  decodes to nothing has NaN.
  """
  norm_SM = np.stack(
    [np.linalg.norm(part, axis=1) for part in split(w_SD, widths)], axis=1
  )
  with np.errstate(invalid='ignore'):
    return norm_SM / norm_SM.sum(1, keepdims=True)
