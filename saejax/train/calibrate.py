"""The exact threshold at which BatchTopK keeps k concepts a row on average."""

from collections.abc import Callable
from collections.abc import Iterable

import numpy as np

_BINS = 1 << 16


def _high(bits: np.ndarray) -> np.ndarray:
  return bits >> 16


def exact_threshold(
  batches: Callable[[], Iterable[tuple[np.ndarray, float]]], k: float
) -> np.float32:
  """The smallest threshold with at most k entries above it a row, on average.

  A radix selection over the bits of positive floats: one pass finds the upper
  half of the answer's bits, a second the lower, whatever the number of rows.

  Args:
    batches: gives an iterator over (pre_BS, weight): pre-activations, and the
      weight of each of their rows; all rows' weights sum to 1. Called twice.
    k: the mean number of entries to keep.
  """

  def histogram(bins_of) -> np.ndarray:
    total = np.zeros(_BINS)
    for pre_BS, weight in batches():
      bits = np.ascontiguousarray(pre_BS, np.float32).view(np.int32)
      bits = bits[bits > 0]
      total += weight * np.bincount(bins_of(bits), minlength=_BINS)
    return total

  def crossing(count: np.ndarray, budget: float) -> tuple[int, float]:
    """The highest bin that overfills the budget, and what lies above it."""
    above = np.cumsum(count[::-1])[::-1]
    # Sums of weights round; half a row of slack would be a wrong answer, a
    # millionth of a concept is not.
    over = np.flatnonzero(above > budget + 1e-6)
    if not len(over):
      return -1, 0.0
    return int(over[-1]), float(above[over[-1]] - count[over[-1]])

  upper, above = crossing(histogram(_high), k)
  if upper < 0:
    return np.float32(0)  # Fewer than k are positive: keep them all.
  within = lambda bits: bits[_high(bits) == upper] & (_BINS - 1)
  lower, _ = crossing(histogram(within), k - above)
  return np.array((upper << 16) | lower, np.int32).view(np.float32)[()]
