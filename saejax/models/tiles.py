"""How LLaVA-NeXT cuts an image, and where each patch of it goes.

Of tiles only counts and places are needed here, so that all of it is arithmetic
of sizes on the host; what runs on the device is one gather. Sizes are (height,
width), as image processors give them. Follows `transformers`'
`modeling_llava_next`, version 5: `select_best_resolution`, `unpad_image` and
`pack_image_features`.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np

Size = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Layout:
  """What decides how an image is cut.

  Attributes:
    side: of a tile, in pixels.
    patches: that a tile has a side.
    pinpoints: sizes that an image may be scaled to, in whole tiles.
  """

  side: int
  patches: int
  pinpoints: tuple[Size, ...]


def best_size(size: Size, pinpoints: Sequence[Size]) -> Size:
  """Of the given sizes, the one that keeps most pixels and wastes fewest.

  The first of equal ones.
  """

  def kept_and_waste(point: Size) -> tuple[int, int]:
    scale = min(point[1] / size[1], point[0] / size[0])
    inside = int(size[1] * scale) * int(size[0] * scale)
    kept = min(inside, size[0] * size[1])
    return kept, kept - point[0] * point[1]

  return max(pinpoints, key=kept_and_waste)


def grid(size: Size, layout: Layout) -> Size:
  """Rows and columns of tiles that an image of this size is cut into."""
  height, width = best_size(size, layout.pinpoints)
  return height // layout.side, width // layout.side


def count(size: Size, layout: Layout) -> int:
  """Tiles of an image, with the one that shows it whole."""
  rows, columns = grid(size, layout)
  return 1 + rows * columns


def _inside(size: Size, padded: Size) -> tuple[slice, slice]:
  """Rows and columns of a padded map that the image itself covers."""
  wide = size[1] / size[0] > padded[1] / padded[0]
  axis = 0 if wide else 1  # The one that was padded.
  scale = padded[1 - axis] / size[1 - axis]
  # Rounded before it is cut, as the reference does: 23.999… is 24.
  length = int(round(size[axis] * scale, 7))
  rim = (padded[axis] - length) // 2
  found = [slice(None), slice(None)]
  found[axis] = slice(rim, padded[axis] - rim)
  return found[0], found[1]


def packing(size: Size, layout: Layout) -> np.ndarray:
  """Which feature each position of an image has, int64 [positions].

  Features of the image's tiles are counted on, the whole image's first; −1 is
  the newline, which ends every row of the cut image.

  Args:
    size: of the image as it came.
    layout: of the model.
  """
  p = layout.patches
  rows, columns = grid(size, layout)
  tile_hw = np.arange(rows * columns).reshape(rows, columns)
  patch_pp = np.arange(p * p).reshape(p, p)
  place_hpwp = (1 + tile_hw)[:, None, :, None] * p * p + patch_pp[:, None]
  place_HW = place_hpwp.reshape(rows * p, columns * p)
  place_HW = place_HW[_inside(size, (rows * p, columns * p))]
  newline_H1 = np.full((len(place_HW), 1), -1)
  cut = np.concatenate([place_HW, newline_H1], axis=1).ravel()
  return np.concatenate([np.arange(p * p), cut])


def pattern(rows: int, columns: int, p: int) -> np.ndarray:
  """Which patch each position sees of an image cut to rows by columns.

  int64 [positions]: the image as a whole, then `rows` of `columns` positions
  and a newline, −1. Patches are counted row by row, p a side. A position of the
  cut image sees the one that its middle lies in.
  """
  middle = lambda n: (2 * np.arange(n) + 1) * p // (2 * n)
  patch_HW = middle(rows)[:, None] * p + middle(columns)
  newline_H1 = np.full((rows, 1), -1)
  cut = np.concatenate([patch_HW, newline_H1], axis=1).ravel()
  return np.concatenate([np.arange(p * p), cut])


def seen(size: Size, layout: Layout) -> np.ndarray:
  """`pattern` of an image: which patch of it each position sees.

  Args:
    size: of the image as it came.
    layout: of the model.
  """
  p = layout.patches
  rows, columns = grid(size, layout)
  down, across = _inside(size, (rows * p, columns * p))
  return pattern(len(range(rows * p)[down]), len(range(columns * p)[across]), p)


def pack(
  ids: Sequence[Sequence[int]],
  sizes: Sequence[Sequence[Size]],
  image_id: int,
  layout: Layout,
) -> tuple[list[np.ndarray], list[np.ndarray], int]:
  """Rows of ids in which each image token is repeated for its positions.

  Args:
    ids: token ids of each row, with one image token for each image.
    sizes: of the images of each row.
    image_id: the image token.
    layout: of the model.

  Returns:
    Ids and sources of each row, and how many tiles all rows have. A source is
    −1 at a token, and −2 at a newline, since only who fills up the tiles knows
    how many features there are.

  Raises:
    ValueError: a row has not as many image tokens as images.
  """
  each, per = layout.patches**2, 0
  rows, sources = [], []
  for row, of_row in zip(ids, sizes, strict=True):
    row = np.asarray(row)
    at = np.flatnonzero(row == image_id)
    if len(at) != len(of_row):
      raise ValueError(
        f'A row has {len(at)} image tokens and {len(of_row)} images.'
      )
    parts, places, last = [], [], 0
    for where, size in zip(at, of_row, strict=True):
      place = packing(size, layout)
      parts += [row[last:where], np.full(len(place), image_id)]
      places += [
        np.full(where - last, -1),
        np.where(place < 0, -2, place + per * each),
      ]
      last = where + 1
      per += count(size, layout)
    rows.append(np.concatenate([*parts, row[last:]]))
    sources.append(np.concatenate([*places, np.full(len(row) - last, -1)]))
  return rows, sources, per
