"""Folders of pictures whose class is their colour, or no more than a name."""

from collections.abc import Mapping
import os

import numpy as np
from PIL import Image

# In the order of folders; names that a probe could not tell colours by.
CLASSES = {
  'n01_apple': (220, 40, 40),
  'n02_leaf': (40, 190, 60),
  'n03_sea': (40, 70, 220),
  'n04_sun': (230, 220, 50),
  'n05_plum': (180, 50, 200),
  'n06_ice': (60, 210, 220),
}
NAMES = tuple(name.replace('_', ' ') for name in CLASSES)
COUNTS = {'train': 12, 'val': 4, 'test': 4}
_SIDE, _THING = 48, 24


def picture(rng: np.random.Generator, rgb: tuple[int, ...]) -> Image.Image:
  """A square of one colour, somewhere on grey noise."""
  pixels_HW3 = rng.integers(60, 200, (_SIDE, _SIDE, 1)).repeat(3, axis=2)
  y, x = rng.integers(0, _SIDE - _THING, 2)
  pixels_HW3[y : y + _THING, x : x + _THING] = rgb
  return Image.fromarray(pixels_HW3.astype(np.uint8))


def write(
  root: str,
  is_told: bool = True,
  counts: Mapping[str, int] | None = None,
) -> str:
  """Writes ROOT/SPLIT/CLASS/*.png; the root.

  Args:
    root: of the folders.
    is_told: whether the colour is the class's, or any.
    counts: pictures of each class, by split; COUNTS by default.
  """
  rng = np.random.default_rng(0)
  colours = list(CLASSES.values())
  for split, n in (counts or COUNTS).items():
    for name, rgb in CLASSES.items():
      folder = os.path.join(root, split, name)
      os.makedirs(folder)
      for i in range(n):
        shown = rgb if is_told else colours[rng.integers(len(colours))]
        picture(rng, shown).save(os.path.join(folder, f'{i}.png'))
  return root
