"""Shard arithmetic: which file holds a row, and where in it."""

from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np


def shard_bounds(n_items: int, per_shard: int) -> list[tuple[int, int]]:
  """Cuts items 0…n-1 into runs [start, stop) of at most `per_shard`."""
  if n_items < 0 or per_shard < 1:
    raise ValueError(f'Cannot cut {n_items} items into shards of {per_shard}.')
  return [
    (start, min(start + per_shard, n_items))
    for start in range(0, n_items, per_shard)
  ]


def row_starts(rows_per_shard: Sequence[int]) -> np.ndarray:
  """First row of each shard, and the total after them: int64 [shards + 1]."""
  return np.concatenate([[0], np.cumsum(rows_per_shard)]).astype(np.int64)


def group_by_shard(
  rows_n: np.ndarray, starts: np.ndarray
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
  """Yields (shard, places, local): `rows_n[places]` are `local` in `shard`.

  Local rows come in rising order, so that a memory-mapped file is read
  forwards whatever order the rows were asked in.
  """
  rows_n = np.asarray(rows_n, np.int64)
  if rows_n.size and (rows_n.min() < 0 or rows_n.max() >= starts[-1]):
    bad = rows_n[(rows_n < 0) | (rows_n >= starts[-1])][0]
    raise IndexError(f'Row {bad} is outside 0…{starts[-1] - 1}.')
  order_n = np.argsort(rows_n, kind='stable')
  sorted_n = rows_n[order_n]
  cuts = np.searchsorted(sorted_n, starts)
  for shard in np.flatnonzero(np.diff(cuts)):
    run = slice(cuts[shard], cuts[shard + 1])
    yield int(shard), order_n[run], sorted_n[run] - starts[shard]
