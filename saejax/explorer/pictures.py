"""Pictures of rows: where they come from, and the files that hold them."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import io
import itertools
import os
from typing import Any

import numpy as np
from PIL import Image

from saejax import errors
from saejax.data import records
from saejax.data import render
from saejax.data import scenes
from saejax.explorer import content
from saejax.explorer import schema

SIDES = (128, 96, 64)  # Pixels; a smaller one if a site would be too large.
_QUALITY = 80
Words = Mapping[str, Any]


def webp(image: Image.Image) -> bytes:
  buffer = io.BytesIO()
  image.save(buffer, 'WEBP', quality=_QUALITY, method=4)
  return buffer.getvalue()


@dataclasses.dataclass(frozen=True)
class Source:
  """What a row's picture is drawn from; equal ones are one picture.

  Either a file, or a scene of a world.
  """

  path: str = ''
  world: scenes.World | None = None
  scene: int = -1


def source(words: Words, world: scenes.World | None) -> Source | None:
  """The picture of a row by its words, if there is one."""
  if world is not None and isinstance(words.get('scene'), int):
    return Source(world=world, scene=words['scene'])
  path = words.get('image')
  if isinstance(path, str) and os.path.isfile(path):
    return Source(path=os.path.abspath(path))
  return None


def world_of(about: Mapping[str, Any]) -> scenes.World | None:
  """The procedural world of a store, if its rows are scenes."""
  dataset = about.get('dataset') or {}
  if dataset.get('name') != 'scenes':
    return None
  fields = {k: dataset[k] for k in ('seed', 'captions') if k in dataset}
  return scenes.World(**fields)


def _read(path: str, side: int) -> Image.Image:
  """A file within a square; a grey one where it is no picture."""
  try:
    with open(path, 'rb') as f:
      image = records.decode(f.read())
  except (OSError, records.RecordError):
    return Image.new('RGB', (side, side), (128, 128, 128))
  image.thumbnail((side, side))
  return image


def from_sources(sources: Sequence[Source]) -> content.Pictures:
  """Pictures whose ids are the places of their sources."""

  def draw(ids: Sequence[int], side: int) -> list[Image.Image]:
    drawn: dict[int, Image.Image] = {}
    worlds: dict[scenes.World, list[int]] = {}
    for i in ids:
      if (world := sources[i].world) is None:
        drawn[i] = _read(sources[i].path, side)
      else:
        worlds.setdefault(world, []).append(i)
    for world, own in worlds.items():
      index_n = np.array([sources[i].scene for i in own])
      images = render.render(scenes.sample(world, index_n), side)
      drawn |= {i: Image.fromarray(a) for i, a in zip(own, images, strict=True)}
    return [drawn[i] for i in ids]

  return content.Pictures(count=len(sources), draw=draw)


def pack(files: Sequence[bytes]) -> bytes:
  """Files one after another, behind the places of their ends."""
  sizes = [len(f) for f in files]
  start = 4 * (len(files) + 1)
  offsets = start + np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
  return offsets.astype('<u4').tobytes() + b''.join(files)


def unpack(data: bytes) -> list[bytes]:
  """The files of a pack; ValueError if it is none."""
  first = int.from_bytes(data[:4], 'little')
  if first % 4 or not 4 <= first <= len(data):
    raise ValueError('it is no pack of pictures')
  offsets = np.frombuffer(data[:first], '<u4').astype(np.int64)
  if offsets[-1] != len(data) or (np.diff(offsets) < 0).any():
    raise ValueError(f'its pictures do not end where it does, at {len(data)}')
  return [data[a:b] for a, b in itertools.pairwise(offsets)]


def packs(pictures: content.Pictures, side: int) -> Iterator[bytes]:
  """Every picture, 256 to a file, encoded as WebP."""
  for start in range(0, pictures.count, schema.PACK):
    ids = range(start, min(start + schema.PACK, pictures.count))
    yield pack([webp(image) for image in pictures.draw(ids, side)])


def packs_within(
  pictures: content.Pictures, most: int
) -> tuple[int, list[bytes]]:
  """Packs of the largest side at which all take at most so many bytes.

  Raises:
    UserError: even the smallest do not.
  """
  for side in SIDES:
    found, total = [], 0
    for data in packs(pictures, side):
      found.append(data)
      total += len(data)
      if total > most:
        break
    else:
      return side, found
  raise errors.UserError(
    f'{pictures.count:,} pictures take more than {most / 1e6:,.0f} MB even at '
    f'{SIDES[-1]} pixels: raise --max_mb, or leave them out with '
    '--thumbnails=none.'
  )


def _square(image: Image.Image) -> Image.Image:
  """The middle of a picture, as large as a cell."""
  side = min(image.size)
  left, top = (image.width - side) // 2, (image.height - side) // 2
  middle = image.crop((left, top, left + side, top + side))
  return middle.resize((schema.CELL, schema.CELL), Image.Resampling.BILINEAR)


def sheets(medoid_N: np.ndarray, pictures: content.Pictures) -> Iterator[bytes]:
  """Sheets of the pictures on the map, a cell for each concept by index."""
  if not (medoid_N >= 0).any():
    return
  cells = schema.PER_SIDE**2
  width = schema.PER_SIDE * schema.CELL
  for start in range(0, len(medoid_N), cells):
    sheet = Image.new('RGB', (width, width))
    own = medoid_N[start : start + cells]
    places = np.flatnonzero(own >= 0)
    drawn = pictures.draw(own[places].tolist(), 2 * schema.CELL)
    for place, image in zip(places.tolist(), drawn, strict=True):
      row, column = divmod(place, schema.PER_SIDE)
      at = column * schema.CELL, row * schema.CELL
      sheet.paste(_square(image), at)
    yield webp(sheet)
