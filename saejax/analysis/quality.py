"""What a dictionary does to size and how near its directions lie."""

import numpy as np

_BLOCK = 2048  # Directions compared at once.
_BINS = 24
_RAREST = -5.0  # Of a histogram of log10 rates.


def shrinkage(x_nD: np.ndarray, xhat_nD: np.ndarray) -> np.ndarray:
  """⟨x, x̂⟩ / ‖x̂‖² of every row: what x̂ must be multiplied by to fit x best.

  1 where codes are as large as they should be, more where a penalty has shrunk
  them; NaN where x̂ is 0.
  """
  square_n = np.einsum('nd,nd->n', xhat_nD, xhat_nD, dtype=np.float64)
  dot_n = np.einsum('nd,nd->n', x_nD, xhat_nD, dtype=np.float64)
  with np.errstate(invalid='ignore', divide='ignore'):
    return np.where(square_n > 0, dot_n / square_n, np.nan)


def max_cosines(d_SD: np.ndarray) -> np.ndarray:
  """The largest cosine of each direction to another one: [S].

  NaN for a direction that is alone.
  """
  norm_S1 = np.linalg.norm(d_SD, axis=1, keepdims=True)
  unit_SD = d_SD / np.maximum(norm_S1, 1e-12)
  if len(unit_SD) < 2:
    return np.full(len(unit_SD), np.nan)
  parts = []
  for start in range(0, len(unit_SD), _BLOCK):
    cosine_bS = unit_SD[start : start + _BLOCK] @ unit_SD.T
    each = np.arange(len(cosine_bS))
    cosine_bS[each, start + each] = -np.inf
    parts.append(cosine_bS.max(1))
  return np.concatenate(parts)


def isotropic(count: int, d: int, seed: int = 0) -> np.ndarray:
  """As many directions that know nothing: [count, d]."""
  return np.random.default_rng(seed).normal(size=(count, d))


def density(rate_S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Shares of concepts by log10 of how often they fire: (shares, edges).

  The first bin holds all that fire more rarely, and those that never do.
  """
  with np.errstate(divide='ignore'):
    log_S = np.maximum(np.log10(rate_S), _RAREST)
  counts, edges = np.histogram(log_S, bins=_BINS, range=(_RAREST, 0))
  return counts / max(len(rate_S), 1), edges
