"""Rows of a LLaVA-NeXT's residual stream, computed when they are asked for.

They are those that `caching` would keep, by the same numbers: what counts them
reads captions and the sizes of images, and runs no model.
"""

import collections
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import threading

import numpy as np
import tqdm

from saejax import errors
from saejax import store as store_lib
from saejax.data import windows
from saejax.models import llava_folder
from saejax.pipeline import caching
from saejax.pipeline import caching_places as places_lib
from saejax.pipeline import examples as examples_lib
from saejax.store import shards as shards_lib

_TRAIN = store_lib.SPLITS.index('train')
Rows = Mapping[str, np.ndarray]


def _positions(
  config: caching.CacheConfig,
  model: llava_folder.LLaVA,
  example: examples_lib.Example,
) -> dict[str, int]:
  """Rows that each context of an example has."""
  said = places_lib.letters(model.tokenizer, example.caption)
  shown = config.prompt.format(
    image=llava_folder.IMAGE, caption=example.caption
  )
  counts = {}
  for text, images, held in (
    (shown, [example.image], ('image', 'caption')),
    (example.caption, [], ('text',)),
  ):
    asked = [context for context in held if context in config.contexts]
    if not asked:
      continue
    ids = [model.tokenizer(text)['input_ids']]
    tokens, _, _ = llava_folder.lay_out(model.module.config, ids, [images])
    for context in asked:
      n = int(places_lib.mask(tokens, 0, context, said).sum())
      most = 1 if config.pool else config.per_example
      counts[context] = n if most is None else min(n, most)
  return counts


def count(
  config: caching.CacheConfig,
  data: examples_lib.Data,
  model: llava_folder.LLaVA,
  contexts: Sequence[str],
) -> windows.Layout:
  """Counts the rows of every example, in the streams of the given contexts.

  Reads every image once, as what cannot be read has no rows.
  """
  chosen_G = caching.chosen(config, data)
  count_GM = np.zeros((len(chosen_G), len(contexts)), np.int32)
  split_G = np.zeros(len(chosen_G), np.int8)
  side = model.module.config.vision.image_size
  with tqdm.tqdm(
    desc='Counting rows', total=len(chosen_G), unit='example', disable=None
  ) as bar:
    for start, stop in shards_lib.shard_bounds(
      len(chosen_G), caching.PER_SHARD
    ):
      found, _ = examples_lib.read_at(
        data, chosen_G[start:stop], side, config.has_texts
      )
      for example in found:
        g = np.searchsorted(chosen_G, example.index)
        counts = _positions(config, model, example)
        count_GM[g] = [counts[context] for context in contexts]
        split_G[g] = example.split
      bar.update(stop - start)
  return windows.Layout(
    count_GM=count_GM, split_G=split_G, per_shard=caching.PER_SHARD
  )


def make_compute(
  config: caching.CacheConfig,
  data: examples_lib.Data,
  source: caching.Source,
  streams: Sequence[store_lib.Stream],
) -> Callable[[int], Rows]:
  """compute(shard) -> rows [n, D] of each stream that may be trained on.

  Args:
    config: its `layers` are those of the streams.
    data: the data set.
    source: the model.
    streams: that hold some of the rows, whose names and types these have.
  """
  chosen_G = caching.chosen(config, data)
  bounds = shards_lib.shard_bounds(len(chosen_G), caching.PER_SHARD)
  names = {stream.name for stream in streams}
  contexts = [c for c in caching.CONTEXTS if any(n.endswith(c) for n in names)]
  side = source.model.module.config.vision.image_size

  def compute(shard: int) -> Rows:
    start, stop = bounds[shard]
    found, _ = examples_lib.read_at(
      data, chosen_G[start:stop], side, config.has_texts
    )
    found = [example for example in found if example.split == _TRAIN]
    rows = caching.gather(config, source, found, config.layers, contexts)
    computed = {}
    for stream in streams:
      x_nD = np.zeros((0, stream.d), np.float32)
      dtype = store_lib.DTYPES[stream.spec.dtype]
      x_nD = np.concatenate([x_nD, *rows[stream.name].x])
      computed[stream.name] = x_nD.astype(dtype)
    return computed

  return compute


class Shards:
  """Shards by their number: computed when asked for, the last `most` kept.

  While one is computed its rows are in float32 as well.
  """

  def __init__(self, compute: Callable[[int], Rows], most: int):
    self._compute = compute
    self._most = most
    self._held: collections.OrderedDict[int, Rows] = collections.OrderedDict()
    self._lock = threading.Lock()

  def __len__(self) -> int:
    """How many are in memory."""
    return len(self._held)

  def __getitem__(self, shard: int) -> Rows:
    with self._lock:
      if shard not in self._held:
        # Room first: at no time are there more, the new one included.
        while len(self._held) >= self._most:
          self._held.popitem(last=False)
        self._held[shard] = self._compute(shard)
      self._held.move_to_end(shard)
      return self._held[shard]


class LiveStream:
  """A stream whose rows of train are computed: what of `store.Stream` a
  `windows.WindowedMixture` reads. Rows have the numbers that they would have in
  a store."""

  def __init__(
    self,
    sample: store_lib.Stream,
    stream: int,
    layout: windows.Layout,
    shards: Shards,
  ):
    """Args:
    sample: a stream of the same name that holds some of the rows.
    stream: which of the layout's it is.
    layout: where rows lie.
    shards: what computes them.
    """
    self.name, self.d = sample.name, sample.d
    self.spec, self.modality = sample.spec, sample.modality
    self._stream, self._layout, self._shards = stream, layout, shards

  def __len__(self) -> int:
    return int(self._layout.count_GM[:, self._stream].sum())

  def take(
    self, rows_n: np.ndarray, out: np.ndarray | None = None
  ) -> np.ndarray:
    """Rows [n, D] of train in the order asked, as of `store.Stream`.

    Raises:
      UserError: the data set is not what it was when its rows were counted.
    """
    x_nD = out
    if x_nD is None:
      x_nD = np.empty((len(rows_n), self.d), store_lib.DTYPES[self.spec.dtype])
    shard_n, place_n = self._layout.find(rows_n, self._stream)
    for shard in np.unique(shard_n).tolist():
      found_nD = self._shards[shard][self.name]
      expected = self._layout.of_shard_SM[shard, self._stream]
      if len(found_nD) != expected:
        raise errors.UserError(
          f'Shard {shard} of {self.name} has {len(found_nD)} rows; there were '
          f'{expected} when rows were counted: the data set has changed. Begin '
          'another run.'
        )
      at = np.flatnonzero(shard_n == shard)
      x_nD[at] = found_nD[place_n[at]]
    return x_nD


def streams(
  config: caching.CacheConfig,
  data: examples_lib.Data,
  source: caching.Source,
  samples: Sequence[store_lib.Stream],
  layout: windows.Layout,
  most: int,
) -> list[LiveStream]:
  """Streams like the samples that share at most so many shards in memory."""
  compute = make_compute(config, data, source, samples)
  shards = Shards(compute, most)
  return [LiveStream(s, m, layout, shards) for m, s in enumerate(samples)]
