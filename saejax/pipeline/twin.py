"""The structureless twin of a store: Gaussian, with its first two moments."""

import os
from typing import Any

import numpy as np

from saejax import store as store_lib
from saejax.analysis import surrogate
from saejax.store import shards

_PER_SHARD = 65_536
_FIT_PAIRS = 100_000


def _fit(store: store_lib.Store) -> surrogate.PairMoments:
  """Moments of up to 100,000 training pairs, evenly spread."""
  image, text = store['image'], store['text']
  text_rows = text.rows('train')
  picked = np.linspace(0, len(text_rows) - 1, min(len(text_rows), _FIT_PAIRS))
  text_rows = text_rows[picked.astype(int)]
  pair_image = image.column('pair')
  order = np.argsort(pair_image, kind='stable')
  pair_text = text.column('pair')[text_rows]
  at = np.searchsorted(pair_image[order], pair_text)
  at = np.minimum(at, len(order) - 1)
  image_rows = order[at]
  kept = pair_image[image_rows] == pair_text
  return surrogate.fit(image.take(image_rows[kept]), text.take(text_rows[kept]))


def _text_rows(image: store_lib.Stream, text: store_lib.Stream):
  """Rows of texts in the order of their images, and how many each image has."""
  pair_image, pair_text = image.column('pair'), text.column('pair')
  order = np.argsort(pair_text, kind='stable')
  first = np.searchsorted(pair_text[order], pair_image, side='left')
  last = np.searchsorted(pair_text[order], pair_image, side='right')
  rows = np.concatenate(
    [order[a:b] for a, b in zip(first, last, strict=True)]
    or [np.zeros(0, np.int64)]
  )
  return rows, last - first


def write_twin(store: store_lib.Store, out: str, seed: int = 0) -> None:
  """Writes the twin: same rows, groups, splits and pairs; drawn vectors.

  A twin that is there already is kept.
  """
  if os.path.exists(os.path.join(out, store_lib.MANIFEST)):
    return
  image, text = store['image'], store['text']
  rows, per_image = _text_rows(image, text)
  image_ID, text_ND = surrogate.sample(_fit(store), per_image, seed)
  placed_ND = np.empty((len(text), text.d), np.float32)
  placed_ND[rows] = text_ND
  vectors = {'image': image_ID, 'text': placed_ND}
  about: dict[str, Any] = {
    **store.about,
    'dataset': {'name': 'gaussian twin', 'of': store.hash, 'seed': seed},
  }
  columns = ('group', 'split', 'pair')
  streams = {
    name: store_lib.StreamSpec(d=s.d, modality=s.modality, columns=columns)
    for name, s in (('image', image), ('text', text))
  }
  writer = store_lib.StoreWriter(out, streams, about)
  for name, stream in (('image', image), ('text', text)):
    found = {c: stream.column(c) for c in columns}
    bounds = shards.shard_bounds(len(stream), _PER_SHARD)
    for index, (start, stop) in enumerate(bounds):
      if not writer.is_done(name, index):
        run = slice(start, stop)
        writer.write(
          name, index, vectors[name][run], {c: v[run] for c, v in found.items()}
        )
  writer.finish()
