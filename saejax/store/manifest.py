"""The manifest: what a store holds, as one JSON file."""

import dataclasses
import hashlib
import json
import os
from typing import Any

import ml_dtypes
import numpy as np

from saejax.store import files
from saejax.store import splits

FORMAT = 'saejax-store'
VERSION = 1
MANIFEST = 'manifest.json'
DTYPES = {
  'float32': np.dtype(np.float32),
  'float16': np.dtype(np.float16),
  'bfloat16': np.dtype(ml_dtypes.bfloat16),
}
COLUMNS = ('group', 'split', 'pair')  # Beside `x`, of images and texts.


class StoreError(ValueError):
  """A store, or an attempt to write one, that is not as it must be."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamSpec:
  """One kind of row: its width, type, and the integer columns beside `x`.

  A stream without the column `split` is all train; one without `group` belongs
  to no image. `labels` names the columns of the optional `labels` array
  [rows, F].
  """

  d: int
  dtype: str = 'float32'
  modality: str = 'image'
  columns: tuple[str, ...] = COLUMNS
  labels: tuple[str, ...] = ()

  def __post_init__(self):
    if self.dtype not in DTYPES:
      raise StoreError(
        f'dtype {self.dtype!r} cannot be stored: choose {sorted(DTYPES)}.'
      )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
  """A finished file of rows, its sidecar, and sums over each split."""

  index: int
  file: str
  rows: int
  sha256: str
  sidecar: str | None = None
  sidecar_sha256: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stats:
  """Statistics of the rows of one split."""

  rows: int
  mean: tuple[float, ...]
  mean_square_norm: float
  mean_norm: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
  """All a reader needs to know of a store.

  `about` says where the rows come from: model, revision, dataset, licence,
  citation and what else the writer knows. `stats[stream][split]`.
  """

  streams: dict[str, StreamSpec]
  shards: dict[str, tuple[Shard, ...]]
  stats: dict[str, dict[str, Stats]]
  normalised: bool
  about: dict[str, Any]

  def rows(self, stream: str) -> int:
    return sum(s.rows for s in self.shards[stream])

  @property
  def hash(self) -> str:
    """Content hash: of every shard's checksum, in order."""
    digest = hashlib.sha256()
    for stream in sorted(self.shards):
      for shard in self.shards[stream]:
        digest.update(f'{stream}/{shard.index}/{shard.sha256}\n'.encode())
    return digest.hexdigest()[:16]

  def to_json(self) -> dict[str, Any]:
    return {
      'format': FORMAT,
      'version': VERSION,
      'hash': self.hash,
      'normalised': self.normalised,
      'about': self.about,
      'streams': {
        name: dataclasses.asdict(spec)
        | {
          'rows': self.rows(name),
          'shards': [dataclasses.asdict(s) for s in self.shards[name]],
          'stats': {
            split: dataclasses.asdict(stats)
            for split, stats in self.stats[name].items()
          },
        }
        for name, spec in self.streams.items()
      },
    }

  @classmethod
  def from_json(cls, data: dict[str, Any]) -> 'Manifest':
    streams, shards, stats = {}, {}, {}
    for name, entry in data['streams'].items():
      fields = {f.name for f in dataclasses.fields(StreamSpec)}
      spec = {k: v for k, v in entry.items() if k in fields}
      spec['columns'] = tuple(spec['columns'])
      spec['labels'] = tuple(spec['labels'])
      streams[name] = StreamSpec(**spec)
      shards[name] = tuple(Shard(**s) for s in entry['shards'])
      stats[name] = {
        split: Stats(**(s | {'mean': tuple(s['mean'])}))
        for split, s in entry['stats'].items()
      }
    return cls(
      streams=streams,
      shards=shards,
      stats=stats,
      normalised=data['normalised'],
      about=data['about'],
    )


def write_json(path: str, data: Any) -> None:
  """Writes JSON so that a reader sees the old file or the whole new one."""
  files.write_text(path, json.dumps(data, indent=1, allow_nan=False))


def read_json(path: str, error: type[ValueError] = StoreError) -> Any:
  """Reads a JSON object; `error` says that a file holds none."""
  try:
    with open(path, encoding='utf-8') as f:
      data = json.load(f)
  except ValueError as e:
    raise error(f'{path} is not valid JSON: {e}.') from e
  if not isinstance(data, dict):
    raise error(f'{path} is not valid JSON: it holds no object.')
  return data


def read_manifest(path: str) -> Manifest:
  """Reads `path/manifest.json`; StoreError says what is wrong with it."""
  file = os.path.join(path, MANIFEST)
  if not os.path.isdir(path):
    raise StoreError(f'There is no store at {path}: no such folder.')
  if not os.path.exists(file):
    unfinished = any(n.startswith('journal') for n in os.listdir(path))
    raise StoreError(
      f'{path} holds an unfinished store: run its writer again to finish it.'
      if unfinished
      else f'{path} is not a store: it has no {MANIFEST}.'
    )
  data = read_json(file)
  if data.get('format') != FORMAT:
    raise StoreError(
      f'{file} has format {data.get("format")!r}; expected {FORMAT!r}.'
    )
  if data.get('version') != VERSION:
    raise StoreError(
      f'{file} has version {data.get("version")}; this saejax reads version '
      f'{VERSION}. Write the store again, or use a matching saejax.'
    )
  try:
    manifest = Manifest.from_json(data)
  except (AttributeError, KeyError, TypeError) as e:
    raise StoreError(f'{file} lacks or misnames a field: {e}.') from e
  for name in manifest.streams:
    missing = set(splits.SPLITS) - set(manifest.stats[name])
    if missing:
      raise StoreError(f'{file}: stream {name} lacks stats of {missing}.')
  return manifest
