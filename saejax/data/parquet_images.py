"""Parquet files of images and captions, as Hugging Face dumps data sets."""

from collections.abc import Mapping
import os
import threading
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from saejax import errors
from saejax.data import records
from saejax.data import runs
from saejax.data import sources

_IMAGE = ('image', 'img', 'jpg', 'png')
_CAPTION = ('caption', 'captions', 'text', 'texts', 'sentences')
_CACHED = 2  # Row groups: neighbours are asked for one after another.
_LARGEST = 4 << 30  # Bytes of a row group that is held in memory.


def _is_text(kind: pa.DataType) -> bool:
  if pa.types.is_dictionary(kind):
    kind = kind.value_type
  return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_caption(kind: pa.DataType) -> bool:
  if pa.types.is_list(kind) or pa.types.is_large_list(kind):
    kind = kind.value_type
  return _is_text(kind)


def _is_binary(kind: pa.DataType) -> bool:
  return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _is_image(kind: pa.DataType) -> bool:
  if pa.types.is_struct(kind):
    at = kind.get_field_index('bytes')
    return at >= 0 and _is_binary(kind.field(at).type)
  return _is_binary(kind)


def _open(path: str) -> pq.ParquetFile:
  try:
    return pq.ParquetFile(path)
  except (pa.ArrowException, OSError) as e:
    raise errors.UserError(
      f'{path} cannot be read as Parquet: {e}. It may be cut short.'
    ) from None


def _column(
  path: str, schema: pa.Schema, asked: str | None, usual, fits, expected: str
) -> str:
  """The column asked for, or the first usual one that is in the file."""
  columns = ', '.join(f'{f.name} ({f.type})' for f in schema)
  name = asked or next((n for n in usual if n in schema.names), None)
  if name is None or name not in schema.names:
    raise errors.UserError(
      f'{path} has no column {name or " or ".join(usual)}; it has {columns}.'
    )
  if not fits(schema.field(name).type):
    raise errors.UserError(
      f'{path}: the column {name} is of type {schema.field(name).type}; '
      f'expected {expected}. The file has {columns}.'
    )
  return name


class ParquetImages:
  """Rows of Parquet files, in their order.

  Images are a column of encoded bytes, or of {bytes, path}; captions a column
  of texts or of lists of them. A whole row group is read at a time.
  """

  def __init__(
    self, path: str, image: str | None = None, caption: str | None = None
  ):
    """Reads the footers.

    Args:
      path: files as `sources.matching` takes them: `data/*.parquet`.
      image: the column of images, when it has no usual name.
      caption: the column of captions, likewise.

    Raises:
      errors.UserError: a file is absent, cannot be read, or lacks a column.
    """
    self._paths = sources.matching(path, '.parquet')
    self._names = sources.names(self._paths)
    self._files = [_open(p) for p in self._paths]
    self._columns = [
      (
        _column(p, f.schema_arrow, image, _IMAGE, _is_image,
                'binary, or a struct with bytes'),
        _column(p, f.schema_arrow, caption, _CAPTION, _is_caption,
                'string, or a list of string'),
      )
      for p, f in zip(self._paths, self._files, strict=True)
    ]  # fmt: skip
    self._groups = [
      (n, g)
      for n, file in enumerate(self._files)
      for g in range(file.num_row_groups)
    ]
    sizes = [self._group(n, g).num_rows for n, g in self._groups]
    splits = [sources.split_named(p) for p in self._paths]
    self._runs = runs.Runs(sizes, [splits[n] for n, _ in self._groups])
    if not len(self):
      raise errors.UserError(f'{path} has no rows.')
    self._cache: dict[int, pa.Table | records.RecordError] = {}
    self._lock = threading.Lock()
    self.about: Mapping[str, Any] = {
      'name': 'parquet',
      'sources': self._names,
      'splits': self._runs.counts(),
      'licence': 'unknown',
      'citation': 'unknown',
      'columns': sorted({c for both in self._columns for c in both}),
    }

  def _group(self, n: int, g: int) -> pq.RowGroupMetaData:
    group = self._files[n].metadata.row_group(g)
    if group.total_byte_size > _LARGEST:
      raise errors.UserError(
        f'{self._paths[n]} has a row group of {group.total_byte_size >> 30} '
        f'GiB, which is read as one; write it anew with fewer rows a group.'
      )
    return group

  def __len__(self) -> int:
    return len(self._runs)

  def split(self, i: int) -> str | None:
    return self._runs.split(i)

  def _rows(self, group: int) -> pa.Table:
    """Both columns of a row group; a failure is kept like a success."""
    with self._lock:
      found = self._cache.pop(group, None)
      if found is None:
        n, g = self._groups[group]
        try:
          found = self._files[n].read_row_group(g, columns=self._columns[n])
        except (pa.ArrowException, OSError) as e:
          found = records.RecordError(
            f'{self._names[n]}: row group {g} cannot be read: {e}'
          )
      self._cache[group] = found
      while len(self._cache) > _CACHED:
        del self._cache[next(iter(self._cache))]
    if isinstance(found, records.RecordError):
      raise records.RecordError(*found.args)
    return found

  def record(self, i: int) -> records.Record:
    group, row = self._runs.at(i)
    n, g = self._groups[group]
    image_column, caption_column = self._columns[n]
    table = self._rows(group)
    image = table.column(image_column)[row].as_py()
    first = int(self._runs.starts[group - g])  # Of the file.
    words = {'file': self._names[n], 'row': i - first}
    if isinstance(image, Mapping):
      if isinstance(image.get('path'), str):
        words['image'] = sources.printable(os.path.basename(image['path']))
      image = image['bytes']
    try:
      said = table.column(caption_column)[row].as_py()
    except UnicodeDecodeError as e:
      raise records.RecordError(f'The caption is not UTF-8: {e}.') from None
    said = said if isinstance(said, list) else [said]
    return records.Record(
      image=image or b'',
      captions=tuple('' if s is None else s for s in said),
      words=words,
      group=i,
      split=self._runs.split(i),
    )
