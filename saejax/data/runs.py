"""Records that lie in runs one after another: files, row groups, folders."""

from collections.abc import Sequence

import numpy as np

from saejax.store import shards


class Runs:
  """Which run holds a record, where in it, and the split that it is of."""

  def __init__(self, lengths: Sequence[int], splits: Sequence[str | None]):
    """Takes the number of records of each run, and its split."""
    self.starts = shards.row_starts(lengths)
    self._splits = list(splits)

  def __len__(self) -> int:
    return int(self.starts[-1])

  def at(self, i: int) -> tuple[int, int]:
    """(run, place in it) of record i; IndexError where there is none."""
    if not 0 <= i < len(self):
      raise IndexError(f'Record {i} is outside 0…{len(self) - 1}.')
    run = int(np.searchsorted(self.starts, i, side='right')) - 1
    return run, i - int(self.starts[run])

  def split(self, i: int) -> str | None:
    return self._splits[self.at(i)[0]]

  def counts(self) -> dict[str, int]:
    """Records of each split, as `records.count_splits` gives them."""
    counts: dict[str, int] = {}
    for split, n in zip(self._splits, np.diff(self.starts), strict=True):
      if n:
        counts[split or 'none'] = counts.get(split or 'none', 0) + int(n)
    return dict(sorted(counts.items()))
