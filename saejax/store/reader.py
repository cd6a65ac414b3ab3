"""Reads a store: memory-mapped, whole batches of random rows at a time."""

from collections.abc import Sequence
import functools
import json
import os
from typing import Any

import numpy as np

from saejax.store import files
from saejax.store import manifest as manifest_lib
from saejax.store import shards as shards_lib
from saejax.store import splits

StoreError = manifest_lib.StoreError


class Stream:
  """One stream of a store: rows [N, D], columns beside them, words."""

  def __init__(
    self, path: str, name: str, manifest: manifest_lib.Manifest
  ) -> None:
    self.name = name
    self.spec = manifest.streams[name]
    self.stats = manifest.stats[name]
    self._path = path
    self._shards = manifest.shards[name]
    self._starts = shards_lib.row_starts([s.rows for s in self._shards])
    self._map = functools.lru_cache(maxsize=1024)(self._map_shard)
    self._lines = functools.lru_cache(maxsize=64)(self._map_sidecar)

  def __len__(self) -> int:
    return int(self._starts[-1])

  @property
  def d(self) -> int:
    return self.spec.d

  @property
  def modality(self) -> str:
    return self.spec.modality

  @property
  def labels(self) -> tuple[str, ...]:
    return self.spec.labels

  def _map_shard(self, i: int) -> dict[str, np.ndarray]:
    shard = self._shards[i]
    path = os.path.join(self._path, shard.file)
    try:
      arrays = files.map_arrays(path)
    except FileNotFoundError as e:
      raise StoreError(f'{path} is missing from its store.') from e
    except ValueError as e:
      raise StoreError(str(e)) from e
    expected = {'x': (shard.rows, self.d)}
    expected |= dict.fromkeys(self.spec.columns, (shard.rows,))
    if self.labels:
      expected['labels'] = (shard.rows, len(self.labels))
    for name, shape in expected.items():
      found = arrays[name].shape if name in arrays else None
      if found != shape:
        raise StoreError(
          f'{path}: {name} has shape {found}; the manifest says {shape}.'
        )
    return arrays

  def _map_sidecar(self, i: int):
    path = os.path.join(self._path, self._shards[i].sidecar)
    if not os.path.exists(path):
      raise StoreError(f'{path} is missing from its store.')
    return files.map_lines(path)

  def take(
    self, rows_n: np.ndarray, out: np.ndarray | None = None
  ) -> np.ndarray:
    """Rows [n, D] in the order asked, in the stored dtype or that of `out`."""
    x_nD = out
    if x_nD is None:
      dtype = manifest_lib.DTYPES[self.spec.dtype]
      x_nD = np.empty((len(rows_n), self.d), dtype)
    for shard, places, local in shards_lib.group_by_shard(rows_n, self._starts):
      x_nD[places] = self._map(shard)['x'][local]
    return x_nD

  def column(self, name: str) -> np.ndarray:
    """A whole column [N], or [N, F] for `labels`."""
    if name not in self.spec.columns and not (name == 'labels' and self.labels):
      raise StoreError(
        f'Stream {self.name} of {self._path} has no column {name!r}; it has '
        f'{list(self.spec.columns)}.'
      )
    return np.concatenate(
      [self._map(i)[name] for i in range(len(self._shards))]
    )

  def rows(self, split: str) -> np.ndarray:
    """Row numbers of a split, int64, rising; 'all' for every row."""
    if split == 'all':
      return np.arange(len(self))
    if split not in splits.SPLITS:
      raise StoreError(
        f'There is no split {split!r}: choose one of {splits.SPLITS} or all.'
      )
    code = splits.SPLITS.index(split)
    if 'split' not in self.spec.columns:  # Of no images: all train.
      return np.arange(0 if code else len(self))
    return np.flatnonzero(self.column('split') == code)

  def words(self, rows_n: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
    """What the caption or image of each row was; {} where nothing is known."""
    words: list[dict[str, Any]] = [{} for _ in rows_n]
    for shard, places, local in shards_lib.group_by_shard(rows_n, self._starts):
      if self._shards[shard].sidecar is None:
        continue
      raw, starts = self._lines(shard)
      for place, row in zip(places, local, strict=True):
        words[place] = json.loads(raw[starts[row] : starts[row + 1]].tobytes())
    return words


class Store:
  """A finished store. Opening it reads the manifest alone."""

  def __init__(self, path: str | os.PathLike[str]):
    self.path = os.fspath(path)
    self.manifest = manifest_lib.read_manifest(self.path)
    self._streams = {
      name: Stream(self.path, name, self.manifest)
      for name in self.manifest.streams
    }

  @property
  def streams(self) -> tuple[str, ...]:
    return tuple(self._streams)

  @property
  def hash(self) -> str:
    return self.manifest.hash

  @property
  def about(self) -> dict[str, Any]:
    return self.manifest.about

  def __getitem__(self, name: str) -> Stream:
    if name not in self._streams:
      raise StoreError(
        f'{self.path} has no stream {name!r}; it has {list(self._streams)}.'
      )
    return self._streams[name]
