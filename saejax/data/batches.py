"""Training batches: an order that is a function of (seed, step) alone.

Nothing is drawn one after another, so any step's batch can be made at any
time: resuming needs no iterator state, and processes need not talk.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import concurrent.futures
import dataclasses
import functools

import numpy as np

from saejax import store as store_lib
from saejax.data import whitening as whitening_lib
from saejax.store import hashing

_ROUNDS = 4
_KEPT = 1 << 18  # Items of which orders are kept, of 2 MiB each.


def permute(
  i_n: np.ndarray, n: int, *, seed: int, epoch: int = 0
) -> np.ndarray:
  """Places of items i after shuffling 0…n-1: a keyed bijection.

  A Feistel network over the next even power of two, walked until it lands
  inside (Black and Rogaway, 2002): O(1) memory whatever n.
  """
  half = max((int(n - 1).bit_length() + 1) // 2, 1)
  mask = np.uint64((1 << half) - 1)
  shift = np.uint64(half)
  out_n = np.asarray(i_n, np.uint64).copy()
  todo_n = np.arange(len(out_n))
  while len(todo_n):
    left_n, right_n = out_n[todo_n] >> shift, out_n[todo_n] & mask
    for r in range(_ROUNDS):
      key_n = hashing.hash64(right_n, seed=seed, stream=epoch * _ROUNDS + r)
      left_n, right_n = right_n, left_n ^ (key_n & mask)
    out_n[todo_n] = (left_n << shift) | right_n
    todo_n = todo_n[out_n[todo_n] >= n]
  return out_n.astype(np.int64)


@functools.lru_cache(maxsize=8)
def _order(n: int, seed: int, epoch: int) -> np.ndarray:
  order_n = permute(np.arange(n), n, seed=seed, epoch=epoch)
  order_n.flags.writeable = False
  return order_n


def shuffled(i_n: np.ndarray, n: int, *, seed: int, epoch: int) -> np.ndarray:
  """`permute`; of few items the whole order is kept, a lookup from then on."""
  if n > _KEPT:
    return permute(i_n, n, seed=seed, epoch=epoch)
  return _order(n, seed, epoch)[i_n]


def apportion(batch: int, shares: Sequence[float]) -> list[int]:
  """Rounds shares of a batch to whole rows that add up to it."""
  exact = batch * np.asarray(shares, np.float64) / np.sum(shares)
  rows = np.floor(exact).astype(int)
  for i in np.argsort(rows - exact, kind='stable')[: batch - rows.sum()]:
    rows[i] += 1
  return rows.tolist()


def take(
  streams: Sequence[store_lib.Stream], which_b: np.ndarray, rows_b: np.ndarray
) -> np.ndarray:
  """Reads rows [b, D] of several streams as float32."""
  x_bD = np.empty((len(rows_b), streams[0].d), np.float32)
  for m, stream in enumerate(streams):
    at = np.flatnonzero(which_b == m)
    if not len(at):
      continue
    if at[-1] - at[0] + 1 == len(at):  # Side by side: no copy in between.
      stream.take(rows_b[at], out=x_bD[at[0] : at[-1] + 1])
    else:
      x_bD[at] = stream.take(rows_b[at])
  return x_bD


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mixture:
  """Rows of several streams in fixed shares of every batch.

  Attributes:
    streams: what to read.
    rows: the rows of each that may be used, such as one split's.
    batch: rows of a batch, over all processes.
    shares: weight of each stream, in any unit.
    seed: of the order.
    whitening: what is done to rows that are taken, if anything.
  """

  streams: tuple[store_lib.Stream, ...]
  rows: tuple[np.ndarray, ...]
  batch: int
  shares: tuple[float, ...]
  seed: int
  whitening: whitening_lib.Whitening | None = None

  @property
  def held(self) -> tuple[store_lib.Stream, ...]:
    """Streams whose rows of other splits can be read."""
    return self.streams

  @property
  def counts(self) -> list[int]:
    """Rows that each stream gives to a batch."""
    return apportion(self.batch, self.shares)

  def rows_of(self, step: int) -> tuple[np.ndarray, np.ndarray]:
    """The (stream, row) of each place of a batch: int64 [B] each."""
    which, rows = [], []
    for m, (rows_N, count) in enumerate(
      zip(self.rows, self.counts, strict=True)
    ):
      n = len(rows_N)
      at = step * count + np.arange(count)
      picked = np.empty(count, np.int64)
      for epoch in np.unique(at // n):
        here = at // n == epoch
        picked[here] = rows_N[
          shuffled(at[here] % n, n, seed=self.seed + 7919 * m, epoch=int(epoch))
        ]
      which.append(np.full(count, m))
      rows.append(picked)
    return np.concatenate(which), np.concatenate(rows)

  def take(self, which_b: np.ndarray, rows_b: np.ndarray) -> np.ndarray:
    """Reads rows [b, D] of a part of a batch, stream by stream, as float32."""
    x_bD = take(self.streams, which_b, rows_b)
    if self.whitening is None:
      return x_bD
    return self.whitening.apply(x_bD, which_b)


def prefetch(make, steps: range, depth: int = 2, threads: int = 1) -> Iterator:
  """Yields make(step) for each step in turn, `depth` made ahead in threads."""
  with concurrent.futures.ThreadPoolExecutor(threads) as pool:
    ahead = [pool.submit(make, step) for step in steps[:depth]]
    try:
      for i in range(len(steps)):
        item = ahead.pop(0).result()
        if i + depth < len(steps):
          ahead.append(pool.submit(make, steps[i + depth]))
        yield item
    finally:
      for future in ahead:
        future.cancel()
