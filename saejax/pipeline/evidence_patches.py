"""Of which patches of an image a store has every token.

A patch is seen by one position of the image as a whole and by those of its
tiles. A store that keeps some positions may have one of them and not the one
that fires, so that silence says nothing. How many there should be follows from
the rows and columns that the image was cut to; the kept positions tell these.
"""

import numpy as np

from saejax.models import tiles

_TILES = 8  # An image is cut to so many a side at most.
_CANDIDATES = 64  # Ways to cut it; of more, too little is known.


def _columns(at_n: np.ndarray, patch_n: np.ndarray, p: int) -> np.ndarray:
  """How many columns the cut image may have, by its kept positions."""
  width_W1 = np.arange(1, _TILES * p + 1)[:, None]
  column_Wn = at_n[None] % (width_W1 + 1)
  seen_Wn = (2 * column_Wn + 1) * p // (2 * width_W1)
  seen_Wn = np.where(column_Wn == width_W1, -1, seen_Wn)
  told_n = np.where(patch_n < 0, -1, patch_n % p)
  return width_W1[(seen_Wn == told_n[None]).all(1), 0]


def _rows(row_n: np.ndarray, patch_n: np.ndarray, p: int) -> np.ndarray:
  """How many rows, given the row of each kept position."""
  least = int(row_n.max(initial=0)) + 1
  height_H1 = np.arange(least, _TILES * p + 1)[:, None]
  seen_Hn = (2 * row_n[None] + 1) * p // (2 * height_H1)
  good_Hn = (seen_Hn == patch_n[None] // p) | (patch_n[None] < 0)
  return height_H1[good_Hn.all(1), 0]


def shapes(
  at_n: np.ndarray, patch_n: np.ndarray, p: int
) -> list[tuple[int, int]]:
  """Every (rows, columns) that an image may have been cut to.

  Args:
    at_n: kept positions, counted from the image's first.
    patch_n: which patch each sees; −1 is the end of a row.
    p: patches a side.
  """
  cut = at_n >= p * p
  at_n, patch_n = at_n[cut] - p * p, patch_n[cut]
  return [
    (int(rows), int(columns))
    for columns in _columns(at_n, patch_n, p)
    for rows in _rows(at_n // (columns + 1), patch_n, p)
  ]


def whole(at_n: np.ndarray, patch_n: np.ndarray, p: int) -> np.ndarray:
  """Which patches have all their positions among those kept: bool [p²].

  Where several cuts fit, those that have them by every one; none where too
  many do.

  Args:
    at_n: kept positions, counted from the image's first, rising.
    patch_n: which patch each sees; −1 is the end of a row.
    p: patches a side.
  """
  ends = np.flatnonzero(patch_n < 0)
  if len(ends) and ends[0] > p * p:  # As a rule, everything was kept.
    pattern = tiles.pattern(len(ends), int(ends[0]) - p * p, p)
    every = np.arange(len(pattern))
    if np.array_equal(at_n, every) and np.array_equal(patch_n, pattern):
      return np.ones(p * p, bool)
  found = shapes(at_n, patch_n, p)
  if not 0 < len(found) <= _CANDIDATES:
    return np.zeros(p * p, bool)
  count = lambda patch_n: np.bincount(patch_n[patch_n >= 0], minlength=p * p)
  kept = count(patch_n)
  return np.all(
    [kept == count(tiles.pattern(*shape, p)) for shape in found], axis=0
  )
