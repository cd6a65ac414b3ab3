"""Writes a store shard by shard; a killed writer picks up where it stopped."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import json
import os
from typing import Any

import numpy as np

from saejax.store import files
from saejax.store import manifest as manifest_lib
from saejax.store import splits

_JOURNAL = 'journal'
_SPEC = 'journal.spec.json'
_UNIT_TOLERANCE = 1e-3  # A row this close to unit norm counts as unit.

Shard = manifest_lib.Shard
StoreError = manifest_lib.StoreError


def _sums(x_ND: np.ndarray, split_N: np.ndarray) -> dict[str, Any]:
  """Sums from which the statistics of any union of shards follow."""
  sums = {}
  for code, name in enumerate(splits.SPLITS):
    rows_nD = x_ND[split_N == code].astype(np.float64)
    norm_n = np.sqrt((rows_nD**2).sum(1))
    sums[name] = {
      'rows': len(rows_nD),
      'sum': rows_nD.sum(0).tolist(),
      'square': float((norm_n**2).sum()),
      'norm': float(norm_n.sum()),
      'unit': bool((abs(norm_n - 1) <= _UNIT_TOLERANCE).all()),
    }
  return sums


def _merge(records: Sequence[dict[str, Any]], d: int, split: str):
  parts = [r['sums'][split] for r in records]
  rows = sum(p['rows'] for p in parts)
  mean_D = np.sum([p['sum'] for p in parts], axis=0) if parts else np.zeros(d)
  n = max(rows, 1)
  return manifest_lib.Stats(
    rows=rows,
    mean=tuple((mean_D / n).tolist()),
    mean_square_norm=sum(p['square'] for p in parts) / n,
    mean_norm=sum(p['norm'] for p in parts) / n,
  )


class StoreWriter:
  """Writes shards in any order, then the manifest.

  A store in the making holds finished shards and a journal with a line for
  each. Opening the writer again with the same streams and the same `about`
  reads the journal: `is_done` tells which shards need not be made again. With
  anything else the folder is refused, and left as it is. A store whose writer
  was killed after the manifest, before the journal was gone, is all done.

  Several processes may write one store: each has its own `process` number and
  its own shards; one of them calls `finish` when all are done, which `reload`
  finds out. Shards may be of any number of rows, none included.
  """

  def __init__(
    self,
    path: str,
    streams: Mapping[str, manifest_lib.StreamSpec],
    about: Mapping[str, Any],
    process: int = 0,
  ):
    self.path = path
    self.streams = dict(streams)
    self.about = dict(about)
    self._journal = os.path.join(path, f'{_JOURNAL}.{process}.jsonl')
    spec = {
      'streams': {k: dataclasses.asdict(v) for k, v in self.streams.items()},
      'about': self.about,
    }
    spec = json.loads(json.dumps(spec))  # As it will read back.
    check_vacant(path, spec)
    os.makedirs(path, exist_ok=True)
    if not os.path.exists(os.path.join(path, _SPEC)):
      manifest_lib.write_json(os.path.join(path, _SPEC), spec)
    self._mend_journal()
    self.reload()

  def _mend_journal(self) -> None:
    """Cuts off a line that a kill left half-written, so that none joins it."""
    if not os.path.exists(self._journal):
      return
    with open(self._journal, 'r+b') as f:
      f.truncate(f.read().rfind(b'\n') + 1)

  @property
  def is_finished(self) -> bool:
    """Whether the manifest is there."""
    return os.path.exists(os.path.join(self.path, manifest_lib.MANIFEST))

  def reload(self) -> None:
    """Reads what every process has finished so far."""
    self._lines: dict[tuple[str, int], dict[str, Any]] = {}
    for name in sorted(os.listdir(self.path)):
      if not (name.startswith(_JOURNAL) and name.endswith('.jsonl')):
        continue
      with open(os.path.join(self.path, name), encoding='utf-8') as f:
        for line in f:
          if line.endswith('\n'):  # A torn last line does not count.
            self._keep(json.loads(line))

  def _keep(self, line: dict[str, Any]) -> None:
    """Takes a line of the journal, unless a later one is there."""
    key = line['stream'], line['index']
    if line['turn'] >= self._lines.get(key, line)['turn']:
      self._lines[key] = line

  def is_done(self, stream: str, index: int) -> bool:
    return self.is_finished or (stream, index) in self._lines

  def notes(self, stream: str) -> dict[int, Any]:
    """What was noted with each finished shard of a stream, by its index."""
    return {i: r['notes'] for (s, i), r in self._lines.items() if s == stream}

  def write(
    self,
    stream: str,
    index: int,
    x_ND: np.ndarray,
    columns: Mapping[str, np.ndarray],
    sidecar: Sequence[Mapping[str, Any]] | None = None,
    notes: Any = None,
  ) -> None:
    """Writes shard `index` of a stream, and its line in the journal.

    Args:
      stream: one of the streams named at the start.
      index: the shard's place; rows follow the order of indices.
      x_ND: rows [N, D], cast to the stream's dtype.
      columns: int arrays [N] for each column, and `labels` [N, F] if any.
      sidecar: a JSON object for each row: what the caption or image was.
      notes: JSON that outlives a kill but not `finish`, see `notes`.
    """
    spec = self.streams[stream]
    self._check(stream, x_ND, columns, sidecar)
    stem = f'{stream}-{index:05d}'
    file, words = f'{stem}.safetensors', f'{stem}.jsonl'
    x_ND = np.asarray(x_ND).astype(manifest_lib.DTYPES[spec.dtype])
    files.write_arrays(
      os.path.join(self.path, file), {'x': x_ND} | dict(columns)
    )
    shard = Shard(
      index=index,
      file=file,
      rows=len(x_ND),
      sha256=files.sha256(os.path.join(self.path, file)),
    )
    if sidecar is not None:
      files.write_lines(os.path.join(self.path, words), sidecar)
      shard = dataclasses.replace(
        shard,
        sidecar=words,
        sidecar_sha256=files.sha256(os.path.join(self.path, words)),
      )
    split_N = columns.get('split', np.zeros(len(x_ND), np.int8))
    self._append(
      dataclasses.asdict(shard)
      | {'stream': stream, 'sums': _sums(x_ND, split_N), 'notes': notes}
    )

  def replace_columns(
    self, stream: str, index: int, columns: Mapping[str, np.ndarray]
  ) -> None:
    """Writes a finished shard anew with other values in some columns.

    For what is known only when all rows are, such as groups that merge. Rows,
    words and notes stay; so must the types of the columns.
    """
    line = self._lines[stream, index]
    file = os.path.join(self.path, line['file'])
    arrays = files.map_arrays(file) | dict(columns)
    files.write_arrays(file, arrays)
    sums = _sums(arrays['x'], arrays['split'])
    self._append(line | {'sha256': files.sha256(file), 'sums': sums})

  def _append(self, line: dict[str, Any]) -> None:
    """Adds a line to this process's journal; later turns count."""
    before = self._lines.get((line['stream'], line['index']), {'turn': -1})
    line = line | {'turn': before['turn'] + 1}
    with open(self._journal, 'a', encoding='utf-8') as f:
      f.write(json.dumps(line) + '\n')
      f.flush()
      os.fsync(f.fileno())
    self._keep(line)

  def _check(self, stream, x_ND, columns, sidecar):
    spec = self.streams[stream]
    if x_ND.ndim != 2 or x_ND.shape[1] != spec.d:
      raise StoreError(
        f'Rows of stream {stream} have shape {x_ND.shape}; expected '
        f'[rows, {spec.d}].'
      )
    expected = set(spec.columns) | ({'labels'} if spec.labels else set())
    if set(columns) != expected:
      raise StoreError(
        f'Columns of stream {stream} are {sorted(columns)}; expected '
        f'{sorted(expected)}.'
      )
    for name, column in columns.items():
      shape = (len(x_ND), len(spec.labels)) if name == 'labels' else (
          len(x_ND),
      )  # fmt: skip
      if column.shape != shape or column.dtype.kind not in 'iub':
        raise StoreError(
          f'Column {name} of stream {stream} has shape {column.shape} and '
          f'type {column.dtype}; expected integers of shape {shape}.'
        )
    if sidecar is not None and len(sidecar) != len(x_ND):
      raise StoreError(
        f'The sidecar of stream {stream} has {len(sidecar)} rows for '
        f'{len(x_ND)} vectors.'
      )

  def finish(
    self, found: Mapping[str, Any] | None = None
  ) -> manifest_lib.Manifest:
    """Writes the manifest over every process's shards; removes the journal.

    `found` is added to `about`: what was not known before all was done.
    """
    if self.is_finished:
      self._clear()
      return manifest_lib.read_manifest(self.path)
    self.reload()
    records = sorted(self._lines.values(), key=lambda r: r['index'])
    fields = {f.name for f in dataclasses.fields(Shard)}
    shards, stats = {}, {}
    for name, spec in self.streams.items():
      mine = [r for r in records if r['stream'] == name]
      indices = [r['index'] for r in mine]
      if indices != list(range(len(indices))):
        raise StoreError(
          f'Stream {name} of {self.path} has shards {indices}: some are '
          'missing. Run the writer again.'
        )
      shards[name] = tuple(
        Shard(**{k: v for k, v in r.items() if k in fields}) for r in mine
      )
      stats[name] = {s: _merge(mine, spec.d, s) for s in splits.SPLITS}
    manifest = manifest_lib.Manifest(
      streams=self.streams,
      shards=shards,
      stats=stats,
      normalised=all(s['unit'] for r in records for s in r['sums'].values()),
      about=self.about | dict(found or {}),
    )
    manifest_lib.write_json(
      os.path.join(self.path, manifest_lib.MANIFEST), manifest.to_json()
    )
    self._clear()
    return manifest

  def _clear(self) -> None:
    """Removes the journal; the spec last, by which a kill here is known."""
    names = [n for n in os.listdir(self.path) if n.startswith(_JOURNAL)]
    for name in sorted(names, key=_SPEC.__eq__):
      os.remove(os.path.join(self.path, name))


def check_vacant(path: str, spec: Mapping[str, Any] | None = None) -> None:
  """Raises StoreError unless a store can be written, or resumed, at `path`.

  `spec` is what the writer would write; without it any store in the making is
  taken to be the writer's own.
  """
  if not os.path.exists(path):
    return
  if not os.path.isdir(path):
    raise StoreError(f'Cannot write a store at {path}: it is a file.')
  # A kill can leave the spec half-written, and nothing else yet.
  names = [n for n in os.listdir(path) if n != f'{_SPEC}.tmp']
  if manifest_lib.MANIFEST in names and _SPEC not in names:
    raise StoreError(
      f'{path} already holds a finished store. Choose another folder, or '
      'delete this one.'
    )
  if not names:
    return
  if _SPEC not in names:
    raise StoreError(
      f'{path} holds other files (such as {sorted(names)[0]}). Choose an '
      'empty or new folder.'
    )
  with open(os.path.join(path, _SPEC), encoding='utf-8') as f:
    found = json.load(f)
  if spec is not None and found != spec:
    keys = sorted(
      k
      for k in {**found['about'], **spec['about']}
      if found['about'].get(k) != spec['about'].get(k)
    )
    raise StoreError(
      f'{path} holds an unfinished store made from other settings '
      f'({", ".join(keys) or "streams"} differ). Choose another folder, or '
      'delete this one.'
    )
