"""What a row looks like, as a small picture that a page can hold."""

import base64
from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import functools
import io
import os
from typing import Any

import numpy as np
from PIL import Image

from saejax.data import render
from saejax.data import scenes
from saejax.data import specs

_SIDE = 96  # Pixels of a thumbnail, at most.
Words = Mapping[str, Any]
Thumbnail = Callable[[Words], str | None]


def _uri(image: Image.Image) -> str:
  buffer = io.BytesIO()
  image.save(buffer, 'WEBP', quality=86)
  coded = base64.b64encode(buffer.getvalue()).decode('ascii')
  return f'data:image/webp;base64,{coded}'


def of_scenes(world: scenes.World) -> Thumbnail:
  """Draws the scene that a row's words name."""

  @functools.cache
  def draw(index: int) -> str:
    drawn = render.render(scenes.sample(world, np.array([index])))
    return _uri(Image.fromarray(drawn[0]))

  return lambda words: draw(words['scene']) if 'scene' in words else None


def of_files(words: Words) -> str | None:
  """Reads the image file that a row's words name, if it is there."""
  path = words.get('image')
  if not isinstance(path, str) or not os.path.isfile(path):
    return None
  try:
    with Image.open(path) as image:
      image.draft('RGB', (_SIDE, _SIDE))
      small = image.convert('RGB')
  except OSError:
    return None  # Not a picture; the page goes on without it.
  small.thumbnail((_SIDE, _SIDE))
  return _uri(small)


def of_store(about: Mapping[str, Any]) -> Thumbnail:
  """The pictures of a store's rows, by what its manifest says of them."""
  dataset = about.get('dataset', {})
  if dataset.get('name') != 'scenes':
    return of_files
  names = {f.name for f in dataclasses.fields(specs.SceneSet)}
  fields = {k: v for k, v in dataset.items() if k in names}
  return of_scenes(specs.SceneSet(**fields).world)
