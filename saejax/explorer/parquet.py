"""Concepts as a table that Embedding Atlas opens.

  embedding-atlas embedding-atlas.parquet --x x --y y --text label \\
      --neighbors neighbors
"""

import os

import numpy as np

from saejax.explorer import content
from saejax.explorer import pictures as pictures_lib
from saejax.explorer import schema

NAME = 'embedding-atlas.parquet'
_BLOCK = 512  # Pictures drawn at once.


def _thumbnails(d: content.Dictionary, pictures: content.Pictures):
  """The picture of each concept as Embedding Atlas takes it, or None."""
  found: list[dict[str, bytes] | None] = [None] * len(d.medoid_N)
  places = np.flatnonzero(d.medoid_N >= 0)
  for start in range(0, len(places), _BLOCK):
    own = places[start : start + _BLOCK]
    drawn = pictures.draw(d.medoid_N[own].tolist(), pictures_lib.SIDES[-1])
    for place, image in zip(own.tolist(), drawn, strict=True):
      found[place] = {'bytes': pictures_lib.webp(image)}
  return found


def _neighbours(d: content.Dictionary) -> list[dict[str, list]]:
  """Nearest concepts of both sides by row, and how far they are."""
  found = []
  for near, cosine in zip(d.near_N8, d.near_cosine_N8, strict=True):
    kept = near >= 0
    order = np.argsort(-cosine[kept], kind='stable')
    apart = 1 - cosine[kept][order]
    found.append(
      {'ids': near[kept][order].tolist(), 'distances': apart.tolist()}
    )
  return found


def write(folder: str, site: content.Site) -> list[str]:
  """Writes a table for each dictionary; their names."""
  import pyarrow as pa
  import pyarrow.parquet as pq

  written = []
  for d in site.dictionaries:
    text = lambda s: s.encode('utf-8', 'replace').decode('utf-8')
    table = {
      'concept': pa.array(d.id_N.astype(np.int64)),
      'label': [
        text(x) or f'concept {i}' for x, i in zip(d.labels, d.id_N, strict=True)
      ],
      'x': pa.array(d.place_N4[:, 0].astype(np.float64)),
      'y': pa.array(d.place_N4[:, 1].astype(np.float64)),
      'class': [schema.CLASSES[c] for c in d.class_N],
      **{
        c.name: pa.array(np.asarray(c.values, np.float64), from_pandas=True)
        for c in d.columns
      },
      'neighbors': _neighbours(d),
    }
    if (d.medoid_N >= 0).any():
      table['picture'] = _thumbnails(d, site.pictures)
    several = len(site.dictionaries) > 1
    name = f'{d.id}.{NAME}' if several else NAME
    pq.write_table(pa.table(table), os.path.join(folder, name))
    written.append(name)
  return written
