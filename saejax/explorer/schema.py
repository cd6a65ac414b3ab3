"""The format `saejax-explorer/1`: what is in its binary files, and checks.

docs/explorer.md describes the whole; here are the parts that both the writer
and the reader hold to. Integers are little-endian; each section of a binary
file starts at a multiple of four bytes.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import gzip
import hashlib
import json
from typing import Any

import numpy as np

from saejax import errors

FORMAT = 'saejax-explorer/1'
INDEX, META = 'data/index.json', 'meta.json'
CONCEPT_SHARD, BRIDGE_SHARD = 64, 64
TEXT_SHARD, PACK = 1000, 256
CELL, PER_SIDE = 32, 64  # Of a sheet of the map's pictures: pixels, cells.
SHOWN_BRIDGES = 2000  # Bridges that have examples.
CONCEPT_BRIDGES = 50  # Bridges that a concept's record lists.
NEAR, NEAR_SIDE = 8, 4  # Neighbours; those of the image side come first.
NONE = 0xFFFFFFFF
UNDEFINED, STEPS = 0xFFFF, 0xFFFE
GZIP = b'\x1f\x8b'

CLASSES = ('unclassified', 'image', 'text', 'shared')
SENSITIVE, HEAT, LABELLED, PICTURED = 4, 8, 16, 32  # Bits of a concept.
REPLICATED, CROSS, ALIGNED, SELF = 1, 2, 4, 8  # Bits of a bridge.
BANDS = ('top', 'q99', 'q90', 'q50', 'near', 'none')
CELLS = ('both', 'left', 'right', 'neither')  # Of a bridge's 2x2 table.
COLUMNS = (
  'energy', 'rate', 'rate_image', 'rate_text', 'modality', 'modality_low',
  'modality_high', 'axis', 'bridge', 'stability', 'label_score', 'faithful',
  'max_cosine',
)  # fmt: skip
EDGE_COLUMNS = ('excess', 'b', 'b0', 'cosine', 'joint', 'lift', 'p')
Json = dict[str, Any]

_INDEX_KEYS = {
  'format': str, 'title': str, 'saes': list, 'default': str, 'card': dict,
  'tour': list, 'matches': list, 'pictures': dict, 'texts': dict, 'tree': dict,
}  # fmt: skip
_META_KEYS = {
  'format': str, 'id': str, 'title': str, 'n': int, 'm': int, 'latents': int,
  'split': str, 'rows': dict, 'reads': str, 'files': dict, 'columns': list,
  'edge_columns': list, 'classes': list, 'cuts': dict, 'bands': list,
  'sampling': str, 'python': str, 'bibtex': str, 'provenance': dict,
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
  """A number of every concept or bridge; NaN where it is undefined.

  `log` columns are stored by their logarithm: what is not positive is taken for
  the least that is, and for undefined where nothing is.
  """

  name: str
  label: str
  definition: str
  values: np.ndarray
  unit: str = ''
  log: bool = False


def _range(values: np.ndarray, log: bool) -> tuple[float, float]:
  known = values[np.isfinite(values) & ((values > 0) | (not log))]
  if not len(known):
    return (1.0, 1.0) if log else (0.0, 0.0)
  return float(known.min()), float(known.max())


def quantise(
  values: np.ndarray, low: float, high: float, log: bool = False
) -> np.ndarray:
  """Values within [low, high] as uint16, 65535 where undefined."""
  known = np.isfinite(values)
  x = np.clip(np.where(known, values, low), low, high).astype(np.float64)
  if log:
    x, low, high = np.log10(x), np.log10(low), np.log10(high)
  share = (x - low) / (high - low) if high > low else np.zeros_like(x)
  q = np.round(np.clip(share, 0, 1) * STEPS).astype('<u2')
  return np.where(known, q, np.uint16(UNDEFINED)).astype('<u2')


def dequantise(
  q: np.ndarray, low: float, high: float, log: bool = False
) -> np.ndarray:
  """What `quantise` stored, to half a step; NaN where undefined."""
  if log:
    low, high = np.log10(low), np.log10(high)
  x = low + q.astype(np.float64) / STEPS * (high - low)
  return np.where(q == UNDEFINED, np.nan, 10**x if log else x)


def pack_columns(columns: Sequence[Column]) -> tuple[np.ndarray, list[Json]]:
  """Columns as uint16 [C, n], and what meta.json says of them."""
  packed, told = [], []
  for c in columns:
    values = np.asarray(c.values, np.float64)
    if c.log and not (values > 0).any():
      values = np.full(len(values), np.nan)
    low, high = _range(values, c.log)
    packed.append(quantise(values, low, high, c.log))
    fields = {'name': c.name, 'label': c.label, 'definition': c.definition}
    told.append(
      fields | {'unit': c.unit, 'min': low, 'max': high, 'log': c.log}
    )
  return np.stack(packed), told


def unpack_columns(
  packed: np.ndarray, told: Sequence[Json]
) -> dict[str, np.ndarray]:
  """Values by name of uint16 [C, n]."""
  return {
    c['name']: dequantise(q, c['min'], c['max'], c['log'])
    for q, c in zip(packed, told, strict=True)
  }


def join(*sections: np.ndarray, compress: bool = False) -> bytes:
  """Sections one after another, each from a multiple of four bytes."""
  parts = []
  for array in sections:
    raw = np.ascontiguousarray(array).tobytes()
    parts.append(raw + b'\0' * (-len(raw) % 4))
  data = b''.join(parts)
  # Without a time, so that the same site is the same bytes.
  return gzip.compress(data, 6, mtime=0) if compress else data


def split(
  data: bytes, *sections: tuple[str, tuple[int, ...]]
) -> list[np.ndarray]:
  """The sections of a binary file, given the type and shape of each.

  Raises:
    ValueError: it has another length.
  """
  data = gzip.decompress(data) if data[:2] == GZIP else data
  found, at = [], 0
  for dtype, shape in sections:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if at + size > len(data):
      raise ValueError(f'it has {len(data)} bytes; expected more')
    array = np.frombuffer(data[at : at + size], dtype)
    found.append(array.reshape(shape))
    at += size + -size % 4
  if at != len(data):
    raise ValueError(f'it has {len(data)} bytes; expected {at}')
  return found


def dump(data: Any) -> bytes:
  """JSON in ASCII, whatever the words in it; the same data, the same bytes."""
  text = json.dumps(
    data, ensure_ascii=True, allow_nan=False, separators=(',', ':')
  )
  return text.encode('ascii')


def seal(data: bytes) -> Json:
  """What vouches for a file."""
  return {'bytes': len(data), 'sha256': hashlib.sha256(data).hexdigest()}


def _check_keys(
  data: Any, keys: Mapping[str, type], where: str
) -> Mapping[str, Any]:
  if not isinstance(data, dict):
    raise errors.UserError(f'{where} holds no JSON object.')
  found = data.get('format')
  if found != FORMAT:
    raise errors.UserError(
      f'{where} has format {found!r}; this saejax reads {FORMAT!r}. Make the '
      'site again with explore.'
    )
  for name, kind in keys.items():
    if not isinstance(data.get(name), kind):
      raise errors.UserError(
        f'{where}: {name} is {type(data.get(name)).__name__}; expected '
        f'{kind.__name__}.'
      )
  return data


def check_index(data: Any, where: str) -> Mapping[str, Any]:
  """An index that has what it must have; UserError says what it lacks."""
  index = _check_keys(data, _INDEX_KEYS, where)
  ids = [sae.get('id') for sae in index['saes']]
  if not ids or len(set(ids)) < len(ids) or index['default'] not in ids:
    raise errors.UserError(
      f'{where}: the dictionaries {ids} must be one or more, each once, and '
      f'{index["default"]!r} one of them.'
    )
  return index


def check_meta(data: Any, where: str) -> Mapping[str, Any]:
  """A dictionary's meta.json, likewise."""
  meta = _check_keys(data, _META_KEYS, where)
  for key, least in (('columns', COLUMNS), ('edge_columns', EDGE_COLUMNS)):
    names = [c.get('name') for c in meta[key]]
    if lacks := [name for name in least if name not in names]:
      raise errors.UserError(f'{where}: {key} lack {", ".join(lacks)}.')
  if tuple(meta['classes']) != CLASSES:
    raise errors.UserError(
      f'{where}: classes are {meta["classes"]}; expected {list(CLASSES)}.'
    )
  if tuple(b.get('name') for b in meta['bands']) != BANDS:
    raise errors.UserError(f'{where}: bands must be {", ".join(BANDS)}.')
  return meta


def short(value: float) -> float | None:
  """Four digits of a number, as JSON holds it; None where undefined."""
  return float(f'{float(value):.4g}') if np.isfinite(value) else None
