"""Writes a site: the whole folder, or nothing."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import functools
import importlib.resources
import os
import pathlib
import re
import shutil
from typing import Any

import numpy as np

from saejax import errors
from saejax.explorer import content
from saejax.explorer import heat
from saejax.explorer import pictures as pictures_lib
from saejax.explorer import schema

Put = Callable[[str, bytes], None]
_PAGE = ('index.html', 'app.js', 'app.css')
_README = """---
title: {title}
emoji: 🔭
sdk: static
app_file: index.html
pinned: false
---

{about}
"""


def check_vacant(out: str) -> None:
  """UserError if a folder holds anything, or is none."""
  if os.path.exists(out) and not os.path.isdir(out):
    raise errors.UserError(f'--out={out} is a file; name a folder.')
  if os.path.isdir(out) and (names := sorted(os.listdir(out))):
    raise errors.UserError(
      f'--out={out} holds other files (such as {names[0]}). Choose an empty or '
      'new folder, or delete this one.'
    )


@contextlib.contextmanager
def whole(out: str) -> Iterator[str]:
  """A folder to write in, which becomes `out` only when all went well."""
  out = os.path.abspath(out)
  parent, name = os.path.split(out)
  partial = os.path.join(parent, f'.{name}.partial')
  shutil.rmtree(partial, ignore_errors=True)
  try:
    os.makedirs(partial)
    yield partial
    if os.path.isdir(out):
      os.rmdir(out)  # It was found empty.
    os.rename(partial, out)
  finally:
    shutil.rmtree(partial, ignore_errors=True)


def _put(folder: str, sealed: dict[str, Any], path: str, data: bytes) -> None:
  file = os.path.join(folder, *path.split('/'))
  os.makedirs(os.path.dirname(file), exist_ok=True)
  pathlib.Path(file).write_bytes(data)
  sealed[path] = schema.seal(data)


def _check_indices(
  what: str, index: np.ndarray, n: int, least: int = 0
) -> None:
  """ValueError unless indices are from `least` to n − 1.

  One below 0 would come back as a large number, and pages fail on that.
  """
  wrong = index[(index < least) | (index >= n)]
  if wrong.size:
    raise ValueError(f'{what} have index {wrong.flat[0]} of {n} concepts.')


def _arrays(d: content.Dictionary, put: Put) -> dict[str, Any]:
  """Writes the binary files; what meta.json says of columns.

  Raises:
    ValueError: a bridge or neighbour is of no concept.
  """
  n = len(d.id_N)
  _check_indices(
    f'{d.id}: bridges', np.stack([d.edges.image_M, d.edges.text_M]), n
  )
  _check_indices(f'{d.id}: neighbours', d.near_N8, n, least=-1)
  place_N4 = np.clip(np.nan_to_num(d.place_N4, nan=0.5), 0, 1)
  put('points.bin', schema.join(np.round(place_N4 * 65535).astype('<u2')))
  packed_CN, columns = schema.pack_columns(d.columns)
  put('scalars.bin', schema.join(packed_CN, compress=True))
  pictured_N = np.where(d.medoid_N >= 0, schema.PICTURED, 0)
  flags_N = d.class_N.astype(np.uint8) | d.flags_N.astype(np.uint8)
  flags_N = flags_N | pictured_N.astype(np.uint8)
  put('flags.bin', schema.join(flags_N, d.id_N.astype('<u4')))
  e = d.edges
  packed_CM, edge_columns = schema.pack_columns(e.columns)
  put(
    'edges.bin',
    schema.join(
      e.image_M.astype('<u4'),
      e.text_M.astype('<u4'),
      packed_CM,
      e.flags_M.astype(np.uint8),
      compress=True,
    ),
  )
  near_N8 = np.where(d.near_N8 < 0, schema.NONE, d.near_N8).astype('<u4')
  cosine_N8 = np.where(d.near_N8 < 0, np.nan, d.near_cosine_N8)
  put(
    'near.bin',
    schema.join(near_N8, schema.quantise(cosine_N8, -1, 1), compress=True),
  )
  return {'columns': columns, 'edge_columns': edge_columns}


def _shards(
  put: Put, folder: str, record: Callable[[int], Any], n: int, size: int
) -> None:
  for shard, start in enumerate(range(0, n, size)):
    rows = [record(i) for i in range(start, min(start + size, n))]
    if folder == 'concepts':
      for row in rows:
        heat.check_concept(row, f'{folder}/{shard:04d}.json')
    put(f'{folder}/{shard:04d}.json', schema.dump(rows))


def _dictionary(
  d: content.Dictionary, pictures: content.Pictures, folder: str, put_site: Put
) -> None:
  path = f'data/{d.id}'
  sealed: dict[str, Any] = {}
  put = functools.partial(_put, os.path.join(folder, path), sealed)
  told = _arrays(d, put)
  names = {'labels': list(d.labels), 'source': np.asarray(d.source_N).tolist()}
  put('labels.json', schema.dump(names | {'sources': list(d.sources)}))
  put('clusters.json', schema.dump(list(d.clusters)))
  _shards(put, 'concepts', d.concept, len(d.id_N), schema.CONCEPT_SHARD)
  _shards(put, 'bridges', d.bridge, d.shown_bridges, schema.BRIDGE_SHARD)
  put('pictures.json', schema.dump(dict(d.examples)))
  sheets = pictures_lib.sheets(d.medoid_N, pictures)
  n_sheets = 0
  for n_sheets, sheet in enumerate(sheets, 1):
    put(f'map/{n_sheets - 1:03d}.webp', sheet)
  cells = {'cell': schema.CELL, 'per_side': schema.PER_SIDE}
  meta = {
    'format': schema.FORMAT,
    'id': d.id,
    'n': len(d.id_N),
    'm': len(d.edges.image_M),
    **d.about,
    **told,
    'classes': list(schema.CLASSES),
    'map': {'sheets': n_sheets, **cells} if n_sheets else None,
    'files': sealed,
  }
  put_site(f'{path}/{schema.META}', schema.dump(schema.check_meta(meta, path)))


def _matches(site: content.Site, put: Put) -> list[dict[str, Any]]:
  told = []
  for m in site.matches:
    file = f'data/match/{m.a}--{m.b}.bin'
    index_N = np.where(m.index_N < 0, schema.NONE, m.index_N).astype('<u4')
    found = np.where(m.index_N < 0, np.nan, m.correlation_N)
    put(file, schema.join(index_N, schema.quantise(found, 0, 1)))
    n = int((m.index_N >= 0).sum())
    fields = {'a': m.a, 'b': m.b, 'file': file}
    told.append(fields | {'method': m.method, 'n': n})
  return told


def _about(d: content.Dictionary) -> dict[str, Any]:
  """What the list of dictionaries says of one."""
  keys = ('title', 'model', 'dataset', 'arch', 'latents')
  return {
    'id': d.id,
    **{key: d.about.get(key) for key in keys},
    'concepts': len(d.id_N),
    'bridges': len(d.edges.image_M),
    'path': f'data/{d.id}',
  }


def write_data(
  site: content.Site, folder: str, side: int, packs: list[bytes]
) -> None:
  """Writes data/, img/ and text/, each file's checksum in the index.

  Args:
    site: what is written.
    folder: an empty folder.
    side: pixels of a picture, at most.
    packs: pictures, as `pictures.packs` makes them at that side.
  """
  sealed: dict[str, Any] = {}
  put = functools.partial(_put, folder, sealed)
  for i, pack in enumerate(packs):
    put(f'img/pack/{i:03d}.bin', pack)
  texts = list(site.texts)
  for shard, start in enumerate(range(0, len(texts), schema.TEXT_SHARD)):
    part = texts[start : start + schema.TEXT_SHARD]
    put(f'text/{shard:04d}.json', schema.dump(part))
  for d in site.dictionaries:
    _dictionary(d, site.pictures, folder, put)
  matches = _matches(site, put)
  pictures = {'count': site.pictures.count, 'pack': schema.PACK, 'side': side}
  index = {
    'format': schema.FORMAT,
    'title': site.title,
    'saes': [_about(d) for d in site.dictionaries],
    'default': site.dictionaries[0].id,
    'card': dict(site.card),
    'tour': list(site.tour),
    'matches': matches,
    'pictures': pictures | {'sensitive': list(site.pictures.sensitive)},
    'texts': {'count': len(texts), 'shard': schema.TEXT_SHARD},
    'tree': sealed,
  }
  data = schema.dump(schema.check_index(index, schema.INDEX))
  _put(folder, {}, schema.INDEX, data)


def static_folder() -> pathlib.Path:
  """Where the built page lies."""
  return pathlib.Path(
    str(importlib.resources.files('saejax.explorer'))
  ).joinpath('static')


def check_page(static: pathlib.Path) -> None:
  """UserError unless the built page is there."""
  if not (static / 'index.html').is_file():
    raise errors.UserError(
      f'{static} has no index.html: this saejax was installed without the '
      'page of its explorer. Install it again.'
    )


def write_page(folder: str, static: pathlib.Path) -> None:
  """Copies the page; its script and style are asked for by their content."""
  for file in sorted(static.iterdir()):
    if file.is_file():
      shutil.copyfile(file, os.path.join(folder, file.name))
  page = (static / 'index.html').read_text(encoding='utf-8')
  for name in _PAGE[1:]:
    if (static / name).is_file():
      mark = schema.seal((static / name).read_bytes())['sha256'][:12]
      page = re.sub(
        rf'(["\']){re.escape(name)}(?:\?v=\w*)?\1',
        rf'\1{name}?v={mark}\1',
        page,
      )
  pathlib.Path(folder, 'index.html').write_text(page, encoding='utf-8')
  pathlib.Path(folder, '.nojekyll').write_bytes(b'')


def write_readme(folder: str, title: str, about: str) -> None:
  """What Hugging Face reads of a static Space."""
  quoted = schema.dump(title).decode('ascii')
  text = _README.format(title=quoted, about=about)
  pathlib.Path(folder, 'README.md').write_text(text, encoding='utf-8')
