"""Single shard files: safetensors of rows and columns, JSON lines of words."""

from collections.abc import Mapping
from collections.abc import Sequence
import hashlib
import json
import os
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

_TYPES = {
  'F32': np.dtype(np.float32),
  'F16': np.dtype(np.float16),
  'BF16': np.dtype(ml_dtypes.bfloat16),
  'F64': np.dtype(np.float64),
  'I64': np.dtype(np.int64),
  'I32': np.dtype(np.int32),
  'I16': np.dtype(np.int16),
  'I8': np.dtype(np.int8),
  'U8': np.dtype(np.uint8),
  'BOOL': np.dtype(np.bool_),
}
_CHUNK = 1 << 22


def sha256(path: str) -> str:
  """Checksum of a file, in hexadecimal."""
  digest = hashlib.sha256()
  with open(path, 'rb') as f:
    while block := f.read(_CHUNK):
      digest.update(block)
  return digest.hexdigest()


def _replace(partial: str, path: str) -> None:
  with open(partial, 'rb') as f:
    os.fsync(f.fileno())
  os.replace(partial, path)


def write_arrays(path: str, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes arrays as safetensors: the whole file, or none of it."""
  partial = f'{path}.tmp'
  try:
    # A strided array's bytes would be written in the wrong order.
    safetensors.numpy.save_file(
      {name: np.asarray(a, order='C') for name, a in arrays.items()}, partial
    )
    _replace(partial, path)
  except safetensors.SafetensorError as e:
    # The library hides errno; a full disk must still be told as one.
    raise OSError(f'Could not write {path}: {e}') from e
  finally:
    if os.path.exists(partial):
      os.remove(partial)


def write_text(path: str, *pieces: str) -> None:
  """Writes a text file: whole, or not at all."""
  partial = f'{path}.tmp'
  try:
    with open(partial, 'w', encoding='utf-8') as f:
      f.writelines(pieces)
    _replace(partial, path)
  finally:
    if os.path.exists(partial):
      os.remove(partial)


def write_lines(path: str, rows: Sequence[Mapping[str, Any]]) -> None:
  """Writes a sidecar, one JSON object a line: whole, or not at all."""
  write_text(path, *(json.dumps(r, ensure_ascii=False) + '\n' for r in rows))


def map_arrays(path: str) -> dict[str, np.ndarray]:
  """Memory-maps every array of a safetensors file, read-only."""
  size = os.path.getsize(path)
  with open(path, 'rb') as f:
    length = int.from_bytes(f.read(8), 'little')
    if length > size - 8:
      raise ValueError(f'{path} is cut short, or not a safetensors file.')
    try:
      header = json.loads(f.read(length))
      header.pop('__metadata__', None)
      entries = {
        name: (e['dtype'], tuple(e['shape']), *e['data_offsets'])
        for name, e in header.items()
      }
    except (AttributeError, KeyError, TypeError, ValueError) as e:
      raise ValueError(f'{path} is not a safetensors file.') from e
  arrays = {}
  for name, (type_name, shape, start, stop) in entries.items():
    if type_name not in _TYPES:
      raise ValueError(
        f'{path}: {name} has type {type_name}, which cannot be read; '
        f'known are {sorted(_TYPES)}.'
      )
    dtype = _TYPES[type_name]
    if 8 + length + stop > size:
      raise ValueError(f'{path} is cut short: {name} runs past its end.')
    if stop == start:  # An empty region cannot be mapped.
      arrays[name] = np.empty(shape, dtype)
      continue
    mapped = np.memmap(
      path, dtype, mode='r', offset=8 + length + start, shape=shape
    )
    arrays[name] = mapped.view(np.ndarray)
  return arrays


def map_lines(path: str) -> tuple[np.ndarray, np.ndarray]:
  """Maps a sidecar: its bytes uint8, and where lines start int64 [rows + 1]."""
  if not os.path.getsize(path):
    return np.empty(0, np.uint8), np.zeros(1, np.int64)
  raw = np.memmap(path, np.uint8, mode='r').view(np.ndarray)
  ends = np.flatnonzero(raw == ord('\n')) + 1
  return raw, np.concatenate([[0], ends])
