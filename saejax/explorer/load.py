"""Reads a site back: `load(folder)`, every file held to its checksum."""

from collections.abc import Mapping
import dataclasses
import functools
import io
import json
import os
from typing import Any

import numpy as np
from PIL import Image

from saejax import errors
from saejax.explorer import heat
from saejax.explorer import pictures as pictures_lib
from saejax.explorer import schema

Json = dict[str, Any]


def _read(folder: str, path: str, sealed: Mapping[str, Any] | None) -> bytes:
  """A file's bytes; UserError, with its name, if they are not those written."""
  file = os.path.join(folder, *path.split('/'))
  try:
    with open(file, 'rb') as f:
      data = f.read()
  except OSError as e:
    raise errors.UserError(f'{file} cannot be read: {e.strerror}.') from None
  if sealed is None:
    return data
  if path not in sealed:
    raise errors.UserError(f'{file} is not listed among the files of its site.')
  found = schema.seal(data)
  for key in ('bytes', 'sha256'):
    if found[key] != sealed[path][key]:
      raise errors.UserError(
        f'{file} is damaged: {key} is {found[key]}; the site was made with '
        f'{sealed[path][key]}. Copy it again, or make the site again.'
      )
  return data


def _json(data: bytes, where: str) -> Any:
  try:
    return json.loads(data)
  except ValueError as e:
    raise errors.UserError(f'{where} is not valid JSON: {e}.') from None


@dataclasses.dataclass(frozen=True, eq=False)
class Bridges:
  """Bridges, strongest excess first, by index of concept.

  Attributes:
    image_M, text_M: the two ends.
    columns: numbers by name, float64 [M], NaN where undefined.
    replicated_M, cross_M, aligned_M, self_M: what holds of each.
  """

  image_M: np.ndarray
  text_M: np.ndarray
  columns: Mapping[str, np.ndarray]
  replicated_M: np.ndarray
  cross_M: np.ndarray
  aligned_M: np.ndarray
  self_M: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Dictionary:
  """The live concepts of one dictionary; arrays have one entry for each.

  Attributes:
    path: its folder.
    meta: meta.json.
  """

  path: str
  meta: Mapping[str, Any]

  def _file(self, name: str) -> bytes:
    return _read(self.path, name, self.meta['files'])

  def _sections(self, name: str, *sections) -> list[np.ndarray]:
    try:
      return schema.split(self._file(name), *sections)
    except (EOFError, OSError, ValueError) as e:
      where = os.path.join(self.path, name)
      raise errors.UserError(f'{where} is damaged: {e}.') from e

  def _check_indices(self, name: str, index: np.ndarray) -> None:
    if (wrong := index[index >= self.n]).size:
      where = os.path.join(self.path, name)
      raise errors.UserError(
        f'{where} tells of concept index {wrong.flat[0]}; there are {self.n} '
        'concepts. Make the site again.'
      )

  def _data(self, name: str) -> Any:
    return _json(self._file(name), os.path.join(self.path, name))

  @property
  def n(self) -> int:
    return self.meta['n']

  @functools.cached_property
  def place_N4(self) -> np.ndarray:
    """Joint x, y and split x, y, from 0 to 1."""
    return self._sections('points.bin', ('<u2', (self.n, 4)))[0] / 65535

  @functools.cached_property
  def columns(self) -> Mapping[str, np.ndarray]:
    """Numbers of concepts by name, float64 [N], NaN where undefined."""
    told = self.meta['columns']
    shape = (len(told), self.n)
    (packed,) = self._sections('scalars.bin', ('<u2', shape))
    return schema.unpack_columns(packed, told)

  @functools.cached_property
  def _flags(self) -> list[np.ndarray]:
    return self._sections('flags.bin', ('u1', (self.n,)), ('<u4', (self.n,)))

  @property
  def flags_N(self) -> np.ndarray:
    """Bits of `schema`, with the class in the lowest two."""
    return self._flags[0]

  @property
  def class_N(self) -> np.ndarray:
    """Index into `schema.CLASSES`."""
    return self._flags[0] & 3

  @property
  def id_N(self) -> np.ndarray:
    """Number of each concept in the dictionary."""
    return self._flags[1]

  @functools.cached_property
  def bridges(self) -> Bridges:
    m, told = self.meta['m'], self.meta['edge_columns']
    image_M, text_M, packed, flags_M = self._sections(
      'edges.bin',
      ('<u4', (m,)),
      ('<u4', (m,)),
      ('<u2', (len(told), m)),
      ('u1', (m,)),
    )
    self._check_indices('edges.bin', np.stack([image_M, text_M]))
    has = lambda bit: (flags_M & bit) > 0
    return Bridges(
      image_M,
      text_M,
      schema.unpack_columns(packed, told),
      has(schema.REPLICATED),
      has(schema.CROSS),
      has(schema.ALIGNED),
      has(schema.SELF),
    )

  @functools.cached_property
  def near(self) -> tuple[np.ndarray, np.ndarray]:
    """Index of neighbours [N, 8], -1 for none, and cosines, NaN for none."""
    shape = (self.n, schema.NEAR)
    near, cosine = self._sections('near.bin', ('<u4', shape), ('<u2', shape))
    near = near.astype(np.int64)
    near[near == schema.NONE] = -1
    self._check_indices('near.bin', near)
    return near, schema.dequantise(cosine, -1, 1)

  @functools.cached_property
  def labels(self) -> list[str]:
    return self._data('labels.json')['labels']

  @functools.cached_property
  def clusters(self) -> list[Json]:
    return self._data('clusters.json')

  @functools.cached_property
  def examples(self) -> Json:
    """Concepts by picture and by text."""
    return self._data('pictures.json')

  @functools.lru_cache(maxsize=16)  # noqa: B019
  def _shard(self, name: str) -> list[Json]:
    return self._data(name)

  def concept(self, index: int) -> Json:
    """The record of a concept; `heat` decodes its maps."""
    shard, at = divmod(index, schema.CONCEPT_SHARD)
    name = f'concepts/{shard:04d}.json'
    record = self._shard(name)[at]
    heat.check_concept(record, os.path.join(self.path, name))
    return record

  def heat(self, index: int, side: str, band: str) -> list[np.ndarray | None]:
    """Where a concept fires in its examples of a band, as activations.

    Args:
      index: the concept's.
      side: 'images', whose maps are [h, w], or 'texts', [tokens].
      band: one of `schema.BANDS`.

    Returns:
      For each example its map, NaN where the store lacks rows; None for none.
    """
    record = self.concept(index)
    return [
      None
      if found is None
      else heat.activations(found, record['heat_scale'][side])
      for _, _, found in record[side][band]
    ]

  def bridge(self, edge: int) -> Json | None:
    """The record of a bridge; None for one without examples."""
    shard, at = divmod(edge, schema.BRIDGE_SHARD)
    name = f'bridges/{shard:04d}.json'
    if name not in self.meta['files']:
      return None
    rows = self._shard(name)
    return rows[at] if at < len(rows) else None


@dataclasses.dataclass(frozen=True, eq=False)
class Site:
  """A site, with its dictionaries by id."""

  path: str
  index: Mapping[str, Any]
  dictionaries: Mapping[str, Dictionary]

  def _file(self, name: str) -> bytes:
    return _read(self.path, name, self.index['tree'])

  @functools.cached_property
  def texts(self) -> list[str]:
    """Every text, by id."""
    told = self.index['texts']
    found: list[str] = []
    for shard in range(-(-told['count'] // told['shard'])):
      name = f'text/{shard:04d}.json'
      found += _json(self._file(name), os.path.join(self.path, name))
    return found

  @functools.lru_cache(maxsize=16)  # noqa: B019
  def _pack(self, i: int) -> list[bytes]:
    name = f'img/pack/{i:03d}.bin'
    try:
      return pictures_lib.unpack(self._file(name))
    except errors.UserError:
      raise
    except ValueError as e:
      where = os.path.join(self.path, name)
      raise errors.UserError(f'{where} is damaged: {e}.') from e

  def picture(self, id_: int) -> Image.Image:
    """A picture by id."""
    pack, at = divmod(id_, self.index['pictures']['pack'])
    return Image.open(io.BytesIO(self._pack(pack)[at])).convert('RGB')

  def match(self, a: str, b: str) -> tuple[np.ndarray, np.ndarray]:
    """Concepts of `a` in `b`, [N_a], -1 for none, and their correlations."""
    name, n = f'data/match/{a}--{b}.bin', self.dictionaries[a].n
    data = self._file(name)
    try:
      index_N, q_N = schema.split(data, ('<u4', (n,)), ('<u2', (n,)))
    except ValueError as e:
      where = os.path.join(self.path, name)
      raise errors.UserError(f'{where} is damaged: {e}.') from e
    index_N = index_N.astype(np.int64)
    index_N[index_N == schema.NONE] = -1
    return index_N, schema.dequantise(q_N, 0, 1)


def load(site: str | os.PathLike[str]) -> Site:
  """Opens a site, and checks every file of it.

  Args:
    site: its folder.

  Raises:
    UserError: there is none, or a file is not as it was written; the message
      names the file.
  """
  path = os.fspath(site)
  where = os.path.join(path, *schema.INDEX.split('/'))
  if not os.path.isfile(where):
    raise errors.UserError(
      f'There is no site at {path}: it has no {schema.INDEX}.'
    )
  index = schema.check_index(
    _json(_read(path, schema.INDEX, None), where), where
  )
  for name in index['tree']:
    _read(path, name, index['tree'])
  found = {}
  for sae in index['saes']:
    folder = os.path.join(path, *sae['path'].split('/'))
    name = f'{sae["path"]}/{schema.META}'
    meta = schema.check_meta(
      _json(_read(path, name, index['tree']), os.path.join(path, name)),
      os.path.join(path, name),
    )
    for file in meta['files']:
      _read(folder, file, meta['files'])
    found[sae['id']] = Dictionary(folder, meta)
  return Site(path, index, found)
