"""Readers of embeddings that others made: .npy, .safetensors, clip-retrieval.

Arrays are memory-mapped and checked whole before anything is written.
"""

from collections.abc import Sequence
import json
import os
import re

import numpy as np
import pyarrow
import pyarrow.parquet

from saejax import errors
from saejax.store import files
from saejax.store import shards

_BLOCK = 65_536  # Rows looked at together.
_ZERO = 1e-12  # A row of smaller norm has no direction.


class Rows:
  """Rows [N, D] that lie in several arrays one after another."""

  def __init__(self, parts: Sequence[np.ndarray], name: str):
    self.name = name
    self._parts = list(parts)
    for part in self._parts:
      if part.ndim != 2:
        raise errors.UserError(
          f'{name} has shape {part.shape}; expected two axes, rows by width.'
        )
      if part.dtype.kind != 'f' and part.dtype.name != 'bfloat16':
        raise errors.UserError(
          f'{name} has type {part.dtype}; expected floating-point numbers.'
        )
    widths = {part.shape[1] for part in self._parts}
    if len(widths) != 1:
      raise errors.UserError(f'{name} has parts of different widths: {widths}.')
    self._starts = shards.row_starts([len(part) for part in self._parts])
    if not len(self) or not self.d:
      raise errors.UserError(
        f'{name} is empty: its shape is {len(self), self.d}.'
      )

  def __len__(self) -> int:
    return int(self._starts[-1])

  @property
  def d(self) -> int:
    return self._parts[0].shape[1]

  def take(self, start: int, stop: int) -> np.ndarray:
    """Rows start…stop as float32."""
    stop = min(stop, len(self))
    pieces = [
      part[max(start - first, 0) : max(stop - first, 0)]
      for part, first in zip(self._parts, self._starts[:-1], strict=True)
    ]
    with np.errstate(over='ignore'):  # `check` tells of what is infinite.
      return np.concatenate([np.asarray(p, np.float32) for p in pieces])

  def check(self, most: float = np.inf) -> None:
    """UserError unless rows are finite, up to ±`most`, and none is zero."""
    bad, zero, large = [], [], []
    for start in range(0, len(self), _BLOCK):
      x_nD = self.take(start, start + _BLOCK)
      bad_n = ~np.isfinite(x_nD).all(1)
      with np.errstate(over='ignore', invalid='ignore'):
        norm_n = np.linalg.norm(x_nD.astype(np.float64), axis=1)
      bad.append(start + np.flatnonzero(bad_n))
      zero.append(start + np.flatnonzero(~bad_n & (norm_n < _ZERO)))
      large.append(start + np.flatnonzero(~bad_n & (abs(x_nD).max(1) > most)))
    for found, what, remedy in (
      (np.concatenate(bad), 'NaN or infinite values', 'Remove them first'),
      (
        np.concatenate(zero),
        'zero rows',
        'Remove rows without an embedding first',
      ),
      (
        np.concatenate(large),
        f'values beyond ±{most:g}',
        'Choose a --dtype that holds them, or --normalise',
      ),
    ):
      if len(found):
        raise errors.UserError(
          f'{self.name} holds {what} in {len(found)} of {len(self)} rows, the '
          f'first at row {found[0]}. {remedy}.'
        )


def _load(path: str) -> np.ndarray:
  """Maps the array of a .npy file, or the only array of a .safetensors one."""
  if not os.path.exists(path):
    raise errors.UserError(f'There is no file {path}.')
  if os.path.isdir(path):
    raise errors.UserError(f'{path} is a folder; expected a file.')
  if not os.path.getsize(path):
    raise errors.UserError(f'{path} is empty: it has no bytes.')
  try:
    if path.endswith('.safetensors'):
      arrays = files.map_arrays(path)
      if len(arrays) != 1:
        raise errors.UserError(
          f'{path} holds {len(arrays)} arrays '
          f'({", ".join(sorted(arrays)[:5])}); expected one.'
        )
      return next(iter(arrays.values()))
    if path.endswith('.npy'):
      # Pickled objects are refused: reading them runs their code.
      return np.load(path, mmap_mode='r', allow_pickle=False)
  except (ValueError, EOFError, OSError) as e:
    if isinstance(e, errors.UserError):
      raise
    raise errors.UserError(f'{path} cannot be read as an array: {e}') from None
  raise errors.UserError(f'{path} is neither a .npy nor a .safetensors file.')


def read_rows(path: str) -> Rows:
  """Rows [N, D] of a .npy or .safetensors file."""
  return Rows([_load(path)], path)


def read_stacked(path: str) -> tuple[Rows, Rows]:
  """Images and texts of one array [2, N, D]."""
  both = _load(path)
  if both.ndim != 3 or both.shape[0] != 2:
    raise errors.UserError(
      f'{path} has shape {both.shape}; expected (2, N, D): images, then texts.'
    )
  return Rows([both[0]], f'{path}[0]'), Rows([both[1]], f'{path}[1]')


def read_integers(path: str, n: int, what: str) -> np.ndarray:
  """An integer array [n]."""
  array = _load(path)
  if array.shape != (n,) or array.dtype.kind not in 'iu':
    raise errors.UserError(
      f'{path} has shape {array.shape} and type {array.dtype}; expected {n} '
      f'integers, {what}.'
    )
  return np.asarray(array, np.int64)


def read_lines(path: str, n: int, what: str) -> list[str]:
  """n strings of a .txt (one a line), .json (a list) or .jsonl file."""
  if not os.path.isfile(path):
    raise errors.UserError(f'There is no file {path}.')
  with open(path, encoding='utf-8') as f:
    try:
      if path.endswith('.json'):
        lines = json.load(f)
      elif path.endswith('.jsonl'):
        lines = [json.loads(line) for line in f if line.strip()]
      else:
        # Captions may hold what else `splitlines` takes for an end of line.
        lines = [line.removesuffix('\n') for line in f]
    except ValueError as e:
      raise errors.UserError(f'{path} cannot be read: {e}') from None
  if not isinstance(lines, list) or not all(isinstance(s, str) for s in lines):
    raise errors.UserError(f'{path} must hold strings, one for each row.')
  if len(lines) != n:
    raise errors.UserError(
      f'{path} has {len(lines)} lines; expected {n}, {what}.'
    )
  return lines


def _parts(folder: str, name: str, ending: str) -> list[str]:
  """Files `name_0`, `name_1`, … of a folder, by number."""
  found = []
  if os.path.isdir(folder):
    for file in os.listdir(folder):
      match = re.fullmatch(rf'{name}_(\d+){re.escape(ending)}', file)
      if match:
        found.append((int(match[1]), os.path.join(folder, file)))
  return [path for _, path in sorted(found)]


def read_clip_retrieval(path: str):
  """A clip-retrieval folder: img_emb/*.npy, text_emb/*.npy, metadata/*.parquet.

  Returns:
    images, texts (Rows), captions and image paths (lists, or None where the
    metadata has none). Rows are aligned.
  """
  if not os.path.isdir(path):
    raise errors.UserError(f'There is no folder {path}.')
  sides = []
  for part in ('img_emb', 'text_emb'):
    found = _parts(os.path.join(path, part), part, '.npy')
    if not found:
      raise errors.UserError(f'{path} has no {part}/{part}_0.npy.')
    sides.append(Rows([_load(f) for f in found], os.path.join(path, part)))
  metadata = _parts(os.path.join(path, 'metadata'), 'metadata', '.parquet')
  columns: dict[str, list[str]] = {}
  for file in metadata:
    try:
      table = pyarrow.parquet.read_table(file)
    except (pyarrow.ArrowException, OSError) as e:
      raise errors.UserError(f'{file} cannot be read: {e}') from None
    for wanted, names in (
      ('captions', ('caption', 'text')),
      ('paths', ('image_path', 'url', 'key')),
    ):
      name = next((c for c in names if c in table.column_names), None)
      if name:
        found = table.column(name).to_pylist()
        values = ['' if v is None else str(v) for v in found]
        columns.setdefault(wanted, []).extend(values)
  for wanted, values in columns.items():
    if len(values) != len(sides[0]):
      raise errors.UserError(
        f'{path}/metadata has {len(values)} {wanted} for {len(sides[0])} rows.'
      )
  return *sides, columns.get('captions'), columns.get('paths')
