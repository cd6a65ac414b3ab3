"""Holds a store to its manifest."""

from collections.abc import Iterator
import os

import numpy as np

from saejax.store import files
from saejax.store import reader
from saejax.store import splits


def _shard_problems(stream: reader.Stream, path: str, i: int, shard, checksums):
  """Yields what is wrong with one shard, each as a sentence."""
  try:
    arrays = stream._map(i)
  except reader.StoreError as e:
    yield str(e)
    return
  file = os.path.join(path, shard.file)
  if checksums and files.sha256(file) != shard.sha256:
    yield f'{file} has a wrong checksum: it was changed or damaged.'
  if not np.isfinite(arrays['x'].astype(np.float32)).all():
    yield f'{file} holds values that are not finite.'
  if not np.isin(arrays.get('split', 0), range(len(splits.SPLITS))).all():
    yield f'{file} has split codes outside 0…{len(splits.SPLITS) - 1}.'
  if shard.sidecar is None:
    return
  words = os.path.join(path, shard.sidecar)
  if not os.path.exists(words):
    yield f'{words} is missing from its store.'
    return
  if checksums and files.sha256(words) != shard.sidecar_sha256:
    yield f'{words} has a wrong checksum: it was changed or damaged.'
  lines = len(files.map_lines(words)[1]) - 1
  if lines != shard.rows:
    yield f'{words} has {lines} lines for {shard.rows} rows.'


def validate(path: str, checksums: bool = True) -> Iterator[str]:
  """Yields every problem of a store, one sentence each; nothing if sound.

  Groups in two splits are a problem but for those that the manifest owns up
  to as `groups_across_splits`: a data set's own splits may share a picture.

  Args:
    path: the store's folder.
    checksums: also read every byte and compare SHA-256 sums.
  """
  try:
    store = reader.Store(path)
  except reader.StoreError as e:
    yield str(e)
    return
  split_of_group: dict[int, int] = {}
  straddling: dict[int, str] = {}
  for name in store.streams:
    stream = store[name]
    sound = True
    for i, shard in enumerate(store.manifest.shards[name]):
      for problem in _shard_problems(stream, path, i, shard, checksums):
        sound = False
        yield problem
    if not sound or not {'group', 'split'} <= set(stream.spec.columns):
      continue
    group_N, split_N = stream.column('group'), stream.column('split')
    for group, split in np.unique(
      np.stack([group_N, split_N.astype(np.int64)]), axis=1
    ).T.tolist():
      first = split_of_group.setdefault(group, split)
      if first != split:
        both = f'{splits.SPLITS[first]} and {splits.SPLITS[split]}'
        straddling[group] = f'group {group} is in both {both} (stream {name})'
  known = store.about.get('groups_across_splits', 0)
  if len(straddling) > known:
    yield (
      f'{path}: {next(iter(straddling.values()))}; the manifest knows of '
      f'{known} such groups, and {len(straddling)} are there.'
    )
