"""Records of images and captions as rows of a store.

Streams are `image` and `text`, in the data set's order; or, of a data set of
classes, `image` with the column `label` and `prompts`, one row for each class
and template.

Shard s of both streams holds the records of one run [a, b), whatever becomes
of them: those that cannot be used are skipped and counted, so that shards
differ in rows, any can be made alone, and no process needs another's. `pair`
is the record's number in the data set, not a row number: it rises, with a gap
for each record that was skipped.

Which groups near-duplicates merge, and so which split they are in, is known
only when all images have been seen. Decoding them twice would cost most of the
time again, so shards are written with the groups that the records have, while
hashes wait in the journal; at the end `finish` merges groups and writes anew,
with all else unchanged, those shards in which a group or split is another. It
starts from the journal alone, so that a kill there costs nothing either.
"""

import collections
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import functools
import itertools
import os
from typing import Any

import jax
import numpy as np
import tqdm

from saejax import errors
from saejax import processes
from saejax import store as store_lib
from saejax.data import duplicates
from saejax.data import loading
from saejax.data import prompts
from saejax.data import records
from saejax.data import sources
from saejax.models import preprocessing
from saejax.pipeline import embedders
from saejax.store import files
from saejax.store import shards

PER_SHARD = 2048  # Records of a shard: what a kill can cost.
SKIPPED = 'skipped.jsonl'
NOT_FINITE = 'row not finite'
_COLUMNS = ('group', 'split', 'pair')
_LISTED = 1000  # Skipped things that the manifest itself lists.
_IN_FLIGHT = 2  # Batches that the devices have before one is waited for.
_NONE = -1  # No label, or no split of the data set's own.

Notes = Mapping[int, Mapping[str, Any]]  # By shard, see `_write_shard`.


def _has_prompts(data: records.Dataset) -> bool:
  return 'templates' in data.about


def _has_labels(data: records.Dataset) -> bool:
  return 'classes' in data.about


def _prompts(data: records.Dataset) -> list[str]:
  """Prompts, class by class."""
  filled = (
    prompts.fill(data.about['templates'], name.replace('_', ' '))
    for name in data.about['classes']
  )
  return list(map(sources.printable, itertools.chain.from_iterable(filled)))


def streams(
  data: records.Dataset, d: int, dtype: str
) -> dict[str, store_lib.StreamSpec]:
  """Images, and texts or prompts."""
  labels = ('label',) if _has_labels(data) else ()
  spec = functools.partial(store_lib.StreamSpec, d=d, dtype=dtype)
  image = spec(columns=(*_COLUMNS, *labels))
  if _has_prompts(data):
    columns = ('label', 'template')
    return {'image': image, 'prompts': spec(modality='text', columns=columns)}
  return {'image': image, 'text': spec(modality='text', columns=_COLUMNS)}


def about(data: records.Dataset) -> dict[str, Any]:
  """What the manifest says of the data set."""
  told = dict(data.about)
  licence, citation = told.pop('licence'), told.pop('citation')
  return {'dataset': told, 'licence': licence, 'citation': citation}


def _bounds(data: records.Dataset) -> dict[str, list[tuple[int, int]]]:
  """The run of records, or of prompts, of each shard of each stream."""
  bounds = shards.shard_bounds(len(data), PER_SHARD)
  if not _has_prompts(data):
    return {'image': bounds, 'text': bounds}
  n = len(data.about['classes']) * len(data.about['templates'])
  return {'image': bounds, 'prompts': shards.shard_bounds(n, PER_SHARD)}


def n_shards(data: records.Dataset) -> dict[str, int]:
  """How many shards each stream has."""
  return {name: len(bounds) for name, bounds in _bounds(data).items()}


def _image_rows(
  tower: embedders.Tower, items: Iterable[loading.Loaded]
) -> tuple[list[loading.Loaded], np.ndarray]:
  """Those of which there is an image, without it, and their rows [N, D].

  No more images are held than a few batches.
  """
  kept, rows = [], [np.zeros((0, tower.d), np.float32)]
  running: collections.deque[tuple[jax.Array, int]] = collections.deque()

  def take():
    row_BD, n = running.popleft()
    rows.append(np.asarray(row_BD)[:n])

  usable = (item for item in items if item.image is not None)
  while batch := list(itertools.islice(usable, tower.batch)):
    images = preprocessing.stack([item.image for item in batch])
    running.append((tower.start(images), len(batch)))
    kept += [dataclasses.replace(item, image=None) for item in batch]
    if len(running) > _IN_FLIGHT:
      take()
  while running:
    take()
  return kept, np.concatenate(rows)


def _own_split(item: loading.Loaded) -> int:
  return _NONE if item.split is None else store_lib.SPLITS.index(item.split)


def _splits(group_N: np.ndarray, own_N: np.ndarray) -> np.ndarray:
  """Split codes int8 [N]: the own ones; by the group where there are none.

  The rest of a group goes where the first in it has its own split, so that
  none is added to those that straddle; without any, a hash decides.
  """
  group_G, at_N = np.unique(group_N, return_inverse=True)
  none = len(store_lib.SPLITS)
  own_G = np.full(len(group_G), none, np.int8)
  np.minimum.at(own_G, at_N, np.where(own_N < 0, none, own_N).astype(np.int8))
  split_G = np.where(own_G < none, own_G, store_lib.assign_splits(group_G))
  return np.where(own_N < 0, split_G[at_N], own_N).astype(np.int8)


@dataclasses.dataclass(frozen=True)
class _Rows:
  """What became of the records of a shard: images N and their captions M."""

  kept: Sequence[loading.Loaded]
  image_ND: np.ndarray
  at_M: np.ndarray  # The image of each caption.
  text_MD: np.ndarray
  captions: Sequence[str]
  is_cut_M: np.ndarray
  skipped: Sequence[loading.Skipped]


def _rows(
  embed: embedders.Embedder, items: Iterable[loading.Loaded], has_texts: bool
) -> _Rows:
  skipped: list[loading.Skipped] = []

  def noted():
    for item in items:
      skipped.extend(item.skipped)
      yield item

  kept, image_ND = _image_rows(embed.image, noted())
  captions = [caption for item in kept for caption in item.captions]
  at_M = np.repeat(np.arange(len(kept)), [len(i.captions) for i in kept])
  text_MD, is_cut_M = embed.texts(captions)
  has_M = np.isfinite(text_MD).all(1)
  has_N = np.isfinite(image_ND).all(1)
  if has_texts:
    has_N &= np.isin(np.arange(len(kept)), at_M[has_M])
  if len(kept) and not has_N.any():
    raise errors.UserError(
      f'The model gives rows that are not finite for all of {len(kept)} '
      f'records, the first record {kept[0].index}: its weights are damaged, or '
      'it needs --dtype=float32.'
    )
  bad = {
    kept[n].index: 'image or all its captions' for n in np.where(~has_N)[0]
  }
  for m in np.flatnonzero(~has_M):
    bad.setdefault(kept[at_M[m]].index, 'caption')
  skipped += [
    loading.Skipped(i, NOT_FINITE, f'The model gives NaN for the {what}.')
    for i, what in bad.items()
  ]
  has_M &= has_N[at_M]
  return _Rows(
    kept=[kept[n] for n in np.flatnonzero(has_N)],
    image_ND=image_ND[has_N],
    at_M=(np.cumsum(has_N) - 1)[at_M[has_M]],
    text_MD=text_MD[has_M],
    captions=[captions[m] for m in np.flatnonzero(has_M)],
    is_cut_M=is_cut_M[has_M],
    skipped=sorted(skipped, key=lambda s: s.record),
  )


def _write_shard(
  writer: store_lib.StoreWriter, index: int, rows: _Rows
) -> None:
  """Writes images and texts of a run of records, and notes for `finish`."""
  ints = lambda values: np.array(list(values), np.int64)
  group_N = ints(item.group for item in rows.kept)
  own_N = ints(map(_own_split, rows.kept))
  columns = {
    'group': group_N,
    'split': _splits(group_N, own_N),
    'pair': ints(item.index for item in rows.kept),
  }
  if 'text' in writer.streams:
    writer.write(
      'text',
      index,
      rows.text_MD,
      {name: column_N[rows.at_M] for name, column_N in columns.items()},
      [{'caption': caption} for caption in rows.captions],
    )
  if 'label' in writer.streams['image'].columns:
    labels = (_NONE if i.label is None else i.label for i in rows.kept)
    columns['label'] = ints(labels)
  notes = {
    'hash': [item.hash for item in rows.kept],
    'group': group_N.tolist(),
    'own': own_N.tolist(),
    'written': columns['split'].tolist(),
    'image_of_text': rows.at_M.tolist(),
    'cut': int(rows.is_cut_M.sum()),
    'skipped': [dataclasses.asdict(s) for s in rows.skipped],
  }
  words = [item.words for item in rows.kept]
  writer.write('image', index, rows.image_ND, columns, words, notes)


def _write_prompts(
  writer: store_lib.StoreWriter,
  embed: embedders.Embedder,
  data: records.Dataset,
) -> int:
  """Writes this process's shards of prompts that are not there; their rows."""
  texts, templates, n = _prompts(data), len(data.about['templates']), 0
  for index, (start, stop) in enumerate(_bounds(data)['prompts']):
    if not processes.is_mine(index) or writer.is_done('prompts', index):
      continue
    said, at_n = texts[start:stop], np.arange(start, stop)
    x_nD, is_cut_n = embed.texts(said)
    bad = np.flatnonzero(~np.isfinite(x_nD).all(1))
    if len(bad):
      raise errors.UserError(
        f'The model gives a row that is not finite for {said[bad[0]]!r}: its '
        'weights are damaged, or it needs --dtype=float32.'
      )
    writer.write(
      'prompts',
      index,
      x_nD,
      {'label': at_n // templates, 'template': at_n % templates},
      [{'caption': text} for text in said],
      {'cut': int(is_cut_n.sum())},
    )
    n += len(said)
  return n


def write(
  writer: store_lib.StoreWriter,
  embed: embedders.Embedder,
  data: records.Dataset,
  workers: int,
) -> dict[str, int]:
  """Writes this process's shards that are not there; the rows of each stream.

  Args:
    writer: with the `streams` of the data set.
    embed: the model.
    data: what to embed.
    workers: threads that read, decode and resize.
  """
  written = {}
  if 'prompts' in writer.streams:
    written['prompts'] = _write_prompts(writer, embed, data)
  by_record = [name for name in ('image', 'text') if name in writer.streams]
  bounds = _bounds(data)['image']
  todo = [
    index
    for index in range(len(bounds))
    if processes.is_mine(index)
    and not all(writer.is_done(name, index) for name in by_record)
  ]
  has_texts = 'text' in writer.streams
  load = functools.partial(
    loading.load, data, prepare=embed.vlm.pixels.prepare, has_texts=has_texts
  )
  order = [range(*bounds[index]) for index in todo]
  loaded = loading.in_order(
    load,
    itertools.chain.from_iterable(order),
    workers,
    ahead=2 * embed.image.batch + workers,
  )
  total = sum(map(len, order))
  bar = tqdm.tqdm(loaded, total=total, unit='image', disable=None)
  written |= dict.fromkeys(by_record, 0)
  with contextlib.closing(loaded), bar:
    items = iter(bar)
    for index, run in zip(todo, order, strict=True):
      rows = _rows(embed, itertools.islice(items, len(run)), has_texts)
      _write_shard(writer, index, rows)
      written['image'] += len(rows.kept)
      if has_texts:
        written['text'] += len(rows.captions)
  return written


def _settle(writer: store_lib.StoreWriter, notes: Notes, distance: int):
  """Gives every row the group and split that all images together ask for."""
  gather = lambda key, dtype: np.concatenate(
    [np.array(n[key], dtype) for n in notes.values()]
  )
  group_N, own_N = gather('group', np.int64), gather('own', np.int64)
  merged_N = group_N
  if distance >= 0:
    hash_N = gather('hash', np.uint64)
    merged_N = duplicates.merge_groups(hash_N, group_N, distance)
  split_N = _splits(merged_N, own_N)
  is_other_N = (merged_N != group_N) | (split_N != gather('written', np.int8))
  starts = shards.row_starts([len(n['group']) for n in notes.values()])
  for (index, note), start, stop in zip(
    notes.items(), starts[:-1], starts[1:], strict=True
  ):
    if not is_other_N[start:stop].any():
      continue
    columns = {'group': merged_N[start:stop], 'split': split_N[start:stop]}
    if 'text' in writer.streams:
      at_M = np.array(note['image_of_text'], np.int64)
      writer.replace_columns(
        'text', index, {name: c_n[at_M] for name, c_n in columns.items()}
      )
    writer.replace_columns('image', index, columns)
  ends = np.unique(np.stack([merged_N, split_N]), axis=1)[0]
  return {
    'near_duplicates_merged': int((merged_N != group_N).sum()),
    'groups_across_splits': len(ends) - len(np.unique(ends)),
  }


def finish(
  writer: store_lib.StoreWriter, data: records.Dataset, near_duplicates: int
) -> store_lib.Manifest:
  """Merges groups, lists what was skipped, and writes the manifest.

  Args:
    writer: with all shards done.
    data: what was embedded.
    near_duplicates: bits that hashes of images in one group may differ in; -1
      leaves groups as the data set has them.

  Raises:
    UserError: no record could be used.
  """
  if writer.is_finished:
    return writer.finish()
  notes = dict(sorted(writer.notes('image').items()))
  skipped = [s for n in notes.values() for s in n['skipped']]
  if not any(n['group'] for n in notes.values()):
    raise errors.UserError(
      f'None of {len(data)} records can be used. The first: {skipped[0]["why"]}'
    )
  found = _settle(writer, notes, near_duplicates)
  prompt_notes = writer.notes('prompts').values()
  counts = collections.Counter(s['what'] for s in skipped)
  found['cut_captions'] = sum(
    n['cut'] for n in (*notes.values(), *prompt_notes)
  )
  found['skipped'] = {
    'total': len(skipped),
    'by_reason': dict(sorted(counts.items())),
    'first': skipped[:_LISTED],
  }
  if len(skipped) > _LISTED:
    found['skipped']['list'] = SKIPPED
    files.write_lines(os.path.join(writer.path, SKIPPED), skipped)
  return writer.finish(found)
