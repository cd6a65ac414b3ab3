"""Batches of matched rows: an image with one of its texts, or more streams.

The `pair` column says which rows belong together. As in `batches`, a batch is
a function of (seed, step) alone.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools

import numpy as np

from saejax import errors
from saejax import store as store_lib
from saejax.data import batches
from saejax.store import hashing

_CHOICE, _HIDDEN = 0x43, 0x48  # Keep these draws apart from all others.
# The shape of one array of a batch, and what reads a slice of its rows.
Part = tuple[tuple[int, ...], Callable[[slice], np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Pairs:
  """Rows of M streams, sorted by the pair that they belong to.

  Attributes:
    pair_G: the number of each pair, rising.
    rows: of each stream, those with a partner in every other.
    starts: of each stream [G + 1]: pair g has rows[starts[g] : starts[g + 1]].
    left_out: rows of each stream that lack a partner.
  """

  pair_G: np.ndarray
  rows: tuple[np.ndarray, ...]
  starts: tuple[np.ndarray, ...]
  left_out: tuple[int, ...]

  def choose(self, at_n: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """One row of each stream for pairs `at_n`: int64 [n, M].

    Which of several captions is drawn for each (seed, epoch, pair).
    """
    m = len(self.rows)
    chosen = np.empty((len(at_n), m), np.int64)
    for i, (rows_N, start_G) in enumerate(
      zip(self.rows, self.starts, strict=True)
    ):
      count_n = (start_G[at_n + 1] - start_G[at_n]).astype(np.uint64)
      draw_n = hashing.hash64(
        self.pair_G[at_n], seed=seed, stream=(epoch * m + i << 8) | _CHOICE
      )
      place_n = (draw_n % count_n).astype(np.int64)
      chosen[:, i] = rows_N[start_G[at_n] + place_n]
    return chosen


def match(streams: Sequence[store_lib.Stream], split: str) -> Pairs:
  """Pairs of a split that have a row in every stream.

  Raises:
    UserError: fewer than two streams, one without pairs, or no pair is whole.
  """
  names = ', '.join(s.name for s in streams)
  if len(streams) < 2:
    raise errors.UserError(
      f'Pairs need two streams or more; got {names or "none"}.'
    )
  rows, pairs = [], []
  for stream in streams:
    rows_n = stream.rows(split)
    pair_n = stream.column('pair')[rows_n]
    order_n = np.argsort(pair_n, kind='stable')
    rows.append(rows_n[order_n])
    pairs.append(pair_n[order_n])
  pair_G = functools.reduce(np.intersect1d, pairs)
  if not len(pair_G):
    raise errors.UserError(
      f'Streams {names} have no pair in {split}: their pair columns share no '
      'number there.'
    )
  whole = [np.isin(pair_n, pair_G) for pair_n in pairs]
  kept = [pair_n[is_n] for pair_n, is_n in zip(pairs, whole, strict=True)]
  return Pairs(
    pair_G=pair_G,
    rows=tuple(r[is_n] for r, is_n in zip(rows, whole, strict=True)),
    starts=tuple(
      np.append(np.searchsorted(pair_n, pair_G), len(pair_n)) for pair_n in kept
    ),
    left_out=tuple(int((~is_n).sum()) for is_n in whole),
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedMixture:
  """Matched rows in an order of their own, every pair once an epoch.

  Attributes:
    streams: what to read.
    pairs: which rows belong together.
    batch: rows of a batch, over all processes.
    seed: of the order, of the captions chosen, of what is hidden.
    dropout: share of pairs of which one side is hidden from the encoder.
  """

  streams: tuple[store_lib.Stream, ...]
  pairs: Pairs
  batch: int
  seed: int
  dropout: float = 0.0

  @property
  def rows_a_pair(self) -> int:
    """Rows of a batch that a pair makes."""
    return 1

  @property
  def shares(self) -> tuple[float, ...]:
    return (1.0,) * len(self.streams)

  @property
  def total(self) -> int:
    """Rows of an epoch."""
    return len(self.pairs.pair_G) * self.rows_a_pair

  def rows_of(self, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows [G, M] of a batch's pairs, and the side hidden of each, or −1."""
    n, count = len(self.pairs.pair_G), self.batch // self.rows_a_pair
    at = step * count + np.arange(count)
    rows_GM = np.empty((count, len(self.streams)), np.int64)
    hidden_G = np.full(count, -1)
    for epoch in np.unique(at // n):
      here = at // n == epoch
      place = batches.shuffled(
        at[here] % n, n, seed=self.seed, epoch=int(epoch)
      )
      rows_GM[here] = self.pairs.choose(place, self.seed, int(epoch))
      u_n2 = hashing.uniform(
        self.pairs.pair_G[place], 2, seed=self.seed,
        stream=(int(epoch) << 8) | _HIDDEN,
      )  # fmt: skip
      side_n = (u_n2[:, 1] * len(self.streams)).astype(np.int64)
      hidden_G[here] = np.where(u_n2[:, 0] < self.dropout, side_n, -1)
    return rows_GM, hidden_G

  def parts(self, step: int) -> Mapping[str, Part]:
    """The arrays of a step's `types.Batch`, by name."""
    raise NotImplementedError

  def _modality_part(self, modality_B: np.ndarray) -> Part:
    return (len(modality_B),), lambda at: modality_B[at].astype(np.int32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SideBySide(PairedMixture):
  """The rows of a pair one after another: for losses that compare them.

  A hidden side is encoded from the next side's row and must still be
  reconstructed: the target is its own row, standardised as the row it is
  encoded from would be, which is what the decoder undoes.

  Attributes:
    modality_of: by stream, its row in `center_MD` and `scale_M`.
  """

  modality_of: tuple[int, ...]
  center_MD: np.ndarray
  scale_M: np.ndarray

  @property
  def rows_a_pair(self) -> int:
    return len(self.streams)

  def parts(self, step: int) -> Mapping[str, Part]:
    rows_GM, hidden_G = self.rows_of(step)
    g, m = rows_GM.shape
    own_B = np.tile(np.arange(m), g)
    is_hidden_B = own_B == np.repeat(hidden_G, m)
    seen_B = np.where(is_hidden_B, (own_B + 1) % m, own_B)
    pair_B = np.repeat(np.arange(g), m)
    modality_M = np.asarray(self.modality_of)

    def read(which_B):
      rows_B = rows_GM[pair_B, which_B]
      return lambda at: batches.take(self.streams, which_B[at], rows_B[at])

    def target(at: slice) -> np.ndarray:
      own_b, seen_b = modality_M[own_B[at]], modality_M[seen_B[at]]
      y_bD = read(own_B)(at)
      is_b = own_b != seen_b  # Else to the same bits.
      own_b, seen_b = own_b[is_b], seen_b[is_b]
      u_nD = (y_bD[is_b] - self.center_MD[own_b]) * self.scale_M[own_b, None]
      y_bD[is_b] = u_nD / self.scale_M[seen_b, None] + self.center_MD[seen_b]
      return y_bD

    shape = (g * m, self.streams[0].d)
    found = {
      'x_BD': (shape, read(seen_B)),
      'modality_B': self._modality_part(modality_M[seen_B]),
    }
    return found | ({'y_BD': (shape, target)} if self.dropout else {})


def join(
  streams: Sequence[store_lib.Stream],
  scales: Sequence[float],
  rows_gM: np.ndarray,
) -> np.ndarray:
  """Rows of several streams as one [g, ΣD], each times its scale."""
  return np.concatenate(
    [
      stream.take(rows_gM[:, i]).astype(np.float32) * np.float32(scale)
      for i, (stream, scale) in enumerate(zip(streams, scales, strict=True))
    ],
    axis=1,
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Joined(PairedMixture):
  """The rows of a pair as one row [ΣD], for crosscoders.

  A hidden side is at its centre, from where it says nothing; it is
  reconstructed all the same.

  Attributes:
    scales: by stream, what its rows are multiplied with.
    center_D: of joined rows.
  """

  scales: tuple[float, ...]
  center_D: np.ndarray

  def blocks(self, split: str, rows: int) -> Iterator[tuple[np.ndarray, int]]:
    """Every pair of a split, joined, a block at a time; and how many pairs."""
    pairs = match(self.streams, split)
    n = len(pairs.pair_G)
    for start in range(0, n, rows):
      at_n = np.arange(start, min(start + rows, n))
      rows_nM = pairs.choose(at_n, self.seed, 0)
      yield join(self.streams, self.scales, rows_nM), n

  def parts(self, step: int) -> Mapping[str, Part]:
    rows_GM, hidden_G = self.rows_of(step)
    side_D = np.repeat(
      np.arange(len(self.streams)), [s.d for s in self.streams]
    )
    whole = lambda at: join(self.streams, self.scales, rows_GM[at])

    def seen(at: slice) -> np.ndarray:
      return np.where(
        hidden_G[at, None] == side_D, self.center_D, whole(at)
      ).astype(np.float32)

    shape = (len(rows_GM), len(side_D))
    found = {
      'x_BD': (shape, seen),
      'modality_B': self._modality_part(np.zeros(len(rows_GM))),
    }
    return found | ({'y_BD': (shape, whole)} if self.dropout else {})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transcoded(PairedMixture):
  """Rows of the first stream to read, and of the second to reconstruct."""

  def parts(self, step: int) -> Mapping[str, Part]:
    rows_GM, _ = self.rows_of(step)

    def part(i: int) -> Part:
      stream = self.streams[i]
      read = lambda at: stream.take(rows_GM[at, i]).astype(np.float32)
      return (len(rows_GM), stream.d), read

    return {
      'x_BD': part(0),
      'modality_B': self._modality_part(np.zeros(len(rows_GM))),
      'y_BD': part(1),
    }
