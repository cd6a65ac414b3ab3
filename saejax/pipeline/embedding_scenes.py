"""The procedural world as rows: images and captions, with their factors."""

import dataclasses
import itertools
from typing import Any

import numpy as np
import tqdm

from saejax import processes
from saejax import store as store_lib
from saejax.data import captions
from saejax.data import render
from saejax.data import scenes
from saejax.data import specs
from saejax.pipeline import embedders
from saejax.store import shards

PER_SHARD = 4096  # Scenes of a shard: what a kill can cost.
_COLUMNS = ('group', 'split', 'pair')


def streams(
  data: specs.SceneSet, d: int, dtype: str
) -> dict[str, store_lib.StreamSpec]:
  """Images and texts, with the factors present and mentioned as labels."""
  del data  # All worlds have the same.
  image = store_lib.StreamSpec(
    d=d, dtype=dtype, columns=_COLUMNS, labels=scenes.FACTORS
  )
  text = dataclasses.replace(
    image, modality='text', columns=(*_COLUMNS, 'meaning')
  )
  return {'image': image, 'text': text}


def about(data: specs.SceneSet) -> dict[str, Any]:
  """What the manifest says of the data set."""
  return {
    'dataset': {'name': 'scenes', **dataclasses.asdict(data)},
    'licence': 'Apache-2.0',
    'citation': 'The procedural world of saejax.',
  }


def _scene_rows(data: specs.SceneSet, start: int, stop: int):
  """A run of scenes with the columns that both streams share."""
  sampled = scenes.sample(data.world, np.arange(start, stop))
  index_N = sampled.index_N
  split_N = store_lib.assign_splits(index_N, data.splits, seed=data.seed)
  return sampled, {'group': index_N, 'pair': index_N, 'split': split_N}


def _images(embed: embedders.Embedder, data: specs.SceneSet, start, stop):
  sampled, columns = _scene_rows(data, start, stop)
  labels_NF = scenes.present(sampled).astype(np.uint8)
  pixels = embed.vlm.pixels
  x_ND = embed.image(pixels.shape(render.render(sampled, pixels.side)))
  sidecar = [{'scene': int(i)} for i in sampled.index_N]
  return x_ND, columns | {'labels': labels_NF}, sidecar


def _texts(embed: embedders.Embedder, data: specs.SceneSet, start, stop):
  sampled, columns = _scene_rows(data, start, stop)
  said = [captions.caption(data.world, sampled, j) for j in range(data.texts)]
  # The captions of an image lie together.
  weave = lambda parts: np.stack(parts, 1).reshape(-1, *parts[0].shape[1:])
  text = [
    t for group in zip(*(s.text for s in said), strict=True) for t in group
  ]
  columns = {k: np.repeat(v, data.texts) for k, v in columns.items()}
  columns['meaning'] = weave([s.meaning_N for s in said])
  columns['labels'] = weave([s.mentioned_NF for s in said]).astype(np.uint8)
  x_ND, _ = embed.texts(text)
  return x_ND, columns, [{'caption': t} for t in text]


def write(
  writer: store_lib.StoreWriter,
  embed: embedders.Embedder,
  data: specs.SceneSet,
  workers: int,
) -> dict[str, int]:
  """Writes this process's shards that are not there; the rows of each stream.

  `workers` is ignored: scenes are drawn all at once.
  """
  del workers
  bounds = shards.shard_bounds(data.n, PER_SHARD)
  each = {'image': 1, 'text': data.texts}
  rows = {name: each[name] for name in writer.streams}
  written = dict.fromkeys(rows, 0)
  todo = [
    (stream, index)
    for stream, index in itertools.product(rows, range(len(bounds)))
    if processes.is_mine(index) and not writer.is_done(stream, index)
  ]
  count = lambda stream, index: (
    rows[stream] * (bounds[index][1] - bounds[index][0])
  )
  total = sum(count(*shard) for shard in todo)
  with tqdm.tqdm(total=total, unit='row', unit_scale=True, disable=None) as bar:
    for stream, index in todo:
      make = _images if stream == 'image' else _texts
      writer.write(stream, index, *make(embed, data, *bounds[index]))
      written[stream] += count(stream, index)
      bar.update(count(stream, index))
  return written


def n_shards(data: specs.SceneSet) -> dict[str, int]:
  """How many shards each stream has."""
  n = len(shards.shard_bounds(data.n, PER_SHARD))
  return {'image': n, 'text': n}


def finish(
  writer: store_lib.StoreWriter, data: specs.SceneSet, near_duplicates: int
) -> store_lib.Manifest:
  """Writes the manifest; no scene is near another."""
  del data, near_duplicates
  return writer.finish()
