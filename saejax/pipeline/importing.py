"""Embeddings that others made become a store."""

from collections.abc import Sequence
import dataclasses
import os
from typing import Any

import ml_dtypes
import numpy as np

from saejax import errors
from saejax import store as store_lib
from saejax.data import embeddings
from saejax.store import shards
from saejax.store import splits as splits_lib
from saejax.store import writer as writer_lib

_PER_SHARD = 65_536


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImportConfig:
  """Flags of `import_embeddings`; exactly one source is given."""

  image: str | None = None
  text: str | None = None
  pairs: str | None = None
  clip_retrieval: str | None = None
  captions: str | None = None
  image_paths: str | None = None
  text_pair: str | None = None
  groups: str | None = None
  splits: tuple[float, ...] = splits_lib.DEFAULT_FRACTIONS
  normalise: bool = False
  dtype: str = 'float32'
  model: str = 'unknown'
  dataset: str = 'unknown'
  licence: str = 'unknown'


@dataclasses.dataclass(frozen=True)
class _Source:
  image: embeddings.Rows
  text: embeddings.Rows
  captions: Sequence[str] | None
  paths: Sequence[str] | None
  pair_text: np.ndarray  # The image row of each text.
  group_image: np.ndarray


def _sides(config: ImportConfig):
  """Images, texts, captions and paths of whichever source was given."""
  given = [
    name
    for name in ('image', 'pairs', 'clip_retrieval')
    if getattr(config, name)
  ]
  if len(given) != 1 or bool(config.image) != bool(config.text):
    raise errors.UserError(
      'Give --image with --text, or --pairs, or --clip_retrieval: one source.'
    )
  if config.clip_retrieval:
    return embeddings.read_clip_retrieval(config.clip_retrieval)
  if config.pairs:
    return *embeddings.read_stacked(config.pairs), None, None
  return (
    embeddings.read_rows(config.image),
    embeddings.read_rows(config.text),
    None,
    None,
  )


def _read(config: ImportConfig) -> _Source:
  """Reads and checks everything; UserError before anything is written."""
  image, text, captions, paths = _sides(config)
  if image.d != text.d:
    raise errors.UserError(
      f'{image.name} has width {image.d}, {text.name} width {text.d}; '
      'they must lie in one space.'
    )
  if config.text_pair:
    pair_text = embeddings.read_integers(
      config.text_pair, len(text), 'the image row of each text'
    )
    if pair_text.min() < 0 or pair_text.max() >= len(image):
      raise errors.UserError(
        f'{config.text_pair} names image rows outside 0…{len(image) - 1}.'
      )
  elif len(image) != len(text):
    raise errors.UserError(
      f'{image.name} has {len(image)} rows, {text.name} {len(text)}. Give '
      '--text_pair, the image row of each text, or arrays of one length.'
    )
  else:
    pair_text = np.arange(len(text))
  if config.captions:
    captions = embeddings.read_lines(
      config.captions, len(text), 'one for each text'
    )
  if config.image_paths:
    paths = embeddings.read_lines(
      config.image_paths, len(image), 'one for each image'
    )
  groups = np.arange(len(image))
  if config.groups:
    groups = embeddings.read_integers(
      config.groups, len(image), 'the group of each image'
    )
  dtype = store_lib.DTYPES[config.dtype]
  most = np.inf if config.normalise else float(ml_dtypes.finfo(dtype).max)
  image.check(most)
  text.check(most)
  return _Source(image, text, captions, paths, pair_text, groups)


def _about(config: ImportConfig) -> dict[str, Any]:
  """Where the rows come from; names of files, not their places."""
  sources = ('image', 'text', 'pairs', 'clip_retrieval', 'text_pair', 'groups')
  return {
    'model': config.model,
    'revision': None,
    'dataset': {'name': config.dataset},
    'licence': config.licence,
    'citation': None,
    'imported': {
      name: os.path.basename(os.path.normpath(getattr(config, name)))
      for name in sources
      if getattr(config, name)
    },
    'normalised_on_import': config.normalise,
    'splits': list(config.splits),
  }


def import_embeddings(config: ImportConfig, out: str) -> store_lib.Manifest:
  """Writes a store of paired embeddings.

  Raises:
    UserError, StoreError: an input or `out` cannot be used; nothing is left
      behind.
  """
  writer_lib.check_vacant(out)
  source = _read(config)
  try:
    split_image = store_lib.assign_splits(source.group_image, config.splits)
  except ValueError as e:
    raise errors.UserError(f'--splits: {e}') from None
  spec = store_lib.StreamSpec(d=source.image.d, dtype=config.dtype)
  streams = {
    'image': spec,
    'text': dataclasses.replace(spec, modality='text'),
  }
  writer = store_lib.StoreWriter(out, streams, _about(config))
  words = {
    'image': ('image', source.paths),
    'text': ('caption', source.captions),
  }
  pairs = {'image': np.arange(len(source.image)), 'text': source.pair_text}
  rows = {'image': source.image, 'text': source.text}
  for name in streams:
    bounds = shards.shard_bounds(len(rows[name]), _PER_SHARD)
    for index, (start, stop) in enumerate(bounds):
      if writer.is_done(name, index):
        continue
      x_ND = rows[name].take(start, stop)
      if config.normalise:
        x_ND = x_ND.astype(np.float64)  # Squares of large values overflow.
        x_ND /= np.linalg.norm(x_ND, axis=1, keepdims=True)
      pair_N = pairs[name][start:stop]
      key, values = words[name]
      writer.write(
        name,
        index,
        x_ND,
        {
          'group': source.group_image[pair_N],
          'split': split_image[pair_N],
          'pair': pair_N,
        },
        values and [{key: v} for v in values[start:stop]],
      )
  return writer.finish()
