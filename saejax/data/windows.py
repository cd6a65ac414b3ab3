"""An order of rows that asks for few shards at a time.

Rows that a model computes come a shard at once, and cannot all be kept. Every
epoch shuffles the shards, cuts them into windows of W, and shuffles the rows of
each window, of all streams together. Like that of `batches` the order is a
function of (seed, step) alone; resuming finds one window, or two if the batch
lies across their border.

A row mixes with the W · `per_shard` examples of its window, and with others in
other epochs. Whoever keeps the shards of two windows computes each once an
epoch; they take 2 · W · `per_shard` · (rows of an example) · D · (bytes of a
number) of memory.
"""

from collections.abc import Callable
import dataclasses
import functools
import math

import numpy as np

from saejax import store as store_lib
from saejax.data import batches
from saejax.data import whitening as whitening_lib
from saejax.store import splits

_WITHIN = 7919  # Added to the seed of what is shuffled within windows.


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Layout:
  """Where the rows of examples lie in streams that hold them in order.

  Attributes:
    count_GM: rows of each example (G) in each stream.
    split_G: of each example, codes of `store.SPLITS`.
    per_shard: examples of a shard.
  """

  count_GM: np.ndarray
  split_G: np.ndarray
  per_shard: int

  @property
  def shards(self) -> int:
    return -(-len(self.count_GM) // self.per_shard)

  @functools.cached_property
  def start_GM(self) -> np.ndarray:
    """The first row of each example."""
    return np.cumsum(self.count_GM, 0, np.int64) - self.count_GM

  @functools.cached_property
  def train_GM(self) -> np.ndarray:
    """Rows of each example that may be trained on."""
    is_train_G = self.split_G == splits.SPLITS.index('train')
    return self.count_GM * is_train_G[:, None]

  @functools.cached_property
  def totals_M(self) -> np.ndarray:
    """Rows of each stream that may be trained on."""
    return self.train_GM.sum(0, dtype=np.int64)

  @functools.cached_property
  def of_shard_SM(self) -> np.ndarray:
    """Rows of each shard that may be trained on."""
    starts = np.arange(0, len(self.count_GM), self.per_shard)
    return np.add.reduceat(self.train_GM, starts, dtype=np.int64)

  @functools.cached_property
  def _before_GM(self) -> np.ndarray:
    """Rows to train on that lie before each example, of all shards."""
    return np.cumsum(self.train_GM, 0, np.int64) - self.train_GM

  def examples(self, shard: int) -> np.ndarray:
    """Numbers of a shard's examples."""
    start = shard * self.per_shard
    return np.arange(start, min(start + self.per_shard, len(self.count_GM)))

  def find(
    self, rows_n: np.ndarray, stream: int
  ) -> tuple[np.ndarray, np.ndarray]:
    """The shard of rows, and their places among its rows to train on.

    Raises:
      IndexError: a row is not in train.
    """
    start_G = self.start_GM[:, stream]
    # Examples without rows share their start with the next, which is meant.
    at_n = np.searchsorted(start_G, rows_n, side='right') - 1
    within_n = rows_n - start_G[at_n]
    is_wrong_n = (at_n < 0) | (within_n >= self.train_GM[at_n, stream])
    if is_wrong_n.any():
      raise IndexError(f'Row {rows_n[is_wrong_n][0]} is not in train.')
    shard_n = at_n // self.per_shard
    before_G = self._before_GM[:, stream]
    first_n = before_G[shard_n * self.per_shard]
    return shard_n, before_G[at_n] - first_n + within_n


@dataclasses.dataclass(frozen=True, eq=False)
class _Window:
  """Runs of rows: the stream and first row of each, and where they end."""

  which_n: np.ndarray
  row_n: np.ndarray
  end_n: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class WindowedMixture:
  """Batches of rows in windowed order: see above; the face of `Mixture`.

  A batch has the rows of each stream that fall into it, so that their shares
  are those of all rows, over a window exactly.

  Attributes:
    streams: what to read.
    layout: where their rows lie.
    window: shards of a window.
    batch: rows of a batch.
    seed: of the order.
    held: streams whose rows of other splits can be read.
    is_computed: whether reading runs a model on the devices.
    whitening: what is done to rows that are taken, if anything.
  """

  streams: tuple[store_lib.Stream, ...]
  layout: Layout
  window: int
  batch: int
  seed: int
  held: tuple[store_lib.Stream, ...]
  is_computed: bool = True
  whitening: whitening_lib.Whitening | None = None

  @property
  def shares(self) -> tuple[float, ...]:
    return tuple(self.layout.totals_M.astype(float).tolist())

  @property
  def total(self) -> int:
    """Rows of an epoch."""
    return int(self.layout.totals_M.sum())

  @property
  def windows(self) -> int:
    """Windows of an epoch."""
    return math.ceil(self.layout.shards / self.window)

  def shards_of(self, epoch: int, window: int) -> np.ndarray:
    """The shards of a window of an epoch."""
    n = self.layout.shards
    places = np.arange(window * self.window, min((window + 1) * self.window, n))
    return batches.permute(places, n, seed=self.seed, epoch=epoch)

  @functools.cached_property
  def _ends(self) -> Callable[[int], np.ndarray]:
    return functools.lru_cache(2)(self._ends_of)

  @functools.cached_property
  def _window(self) -> Callable[[int, int], _Window]:
    return functools.lru_cache(2)(self._window_of)

  def _ends_of(self, epoch: int) -> np.ndarray:
    """Where in an epoch's order each of its windows ends."""
    n = self.layout.shards
    order_S = batches.permute(np.arange(n), n, seed=self.seed, epoch=epoch)
    of_shard_S = self.layout.of_shard_SM.sum(1)
    starts = np.arange(0, n, self.window)
    return np.cumsum(np.add.reduceat(of_shard_S[order_S], starts))

  def _window_of(self, epoch: int, window: int) -> _Window:
    layout = self.layout
    at_g = np.concatenate(
      [layout.examples(shard) for shard in self.shards_of(epoch, window)]
    )
    count_gM = layout.train_GM[at_g]
    which_gM = np.broadcast_to(np.arange(count_gM.shape[1]), count_gM.shape)
    return _Window(
      which_n=which_gM.ravel(),
      row_n=layout.start_GM[at_g].ravel(),
      end_n=np.cumsum(count_gM.ravel(), dtype=np.int64),
    )

  def _rows_in(
    self, epoch: int, window: int, at_n: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray]:
    """(stream, row) of places of a window's order."""
    found = self._window(epoch, window)
    local_n = batches.permute(
      at_n,
      int(found.end_n[-1]),
      seed=self.seed + _WITHIN,
      epoch=epoch * self.windows + window,
    )
    run_n = np.searchsorted(found.end_n, local_n, side='right')
    before_n = np.concatenate([[0], found.end_n])[run_n]
    return found.which_n[run_n], found.row_n[run_n] + local_n - before_n

  def rows_of(self, step: int) -> tuple[np.ndarray, np.ndarray]:
    """The (stream, row) of each place of a batch: int64 [B] each."""
    at_B = step * self.batch + np.arange(self.batch)
    which_B, rows_B = np.empty((2, self.batch), np.int64)
    epoch_B, at_B = at_B // self.total, at_B % self.total
    for epoch in np.unique(epoch_B).tolist():
      end_W = self._ends(epoch)
      window_B = np.searchsorted(end_W, at_B, side='right')
      for window in np.unique(window_B[epoch_B == epoch]).tolist():
        here = (epoch_B == epoch) & (window_B == window)
        start = end_W[window - 1] if window else 0
        which_B[here], rows_B[here] = self._rows_in(
          epoch, window, at_B[here] - start
        )
    return which_B, rows_B

  def take(self, which_b: np.ndarray, rows_b: np.ndarray) -> np.ndarray:
    """Reads rows [b, D] of a part of a batch as float32."""
    x_bD = batches.take(self.streams, which_b, rows_b)
    if self.whitening is None:
      return x_bD
    return self.whitening.apply(x_bD, which_b)
