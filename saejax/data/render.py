"""Draws scenes: signed distances to images, in NumPy."""

import dataclasses

import numpy as np

from saejax.data import scenes as scenes_lib

_RADIUS = np.array([0.215, 0.145], np.float32)  # Large, small; of the side.
_ALONE = 1.25  # A single object is drawn this much larger.
_HORIZON = 0.45  # From the top, of the side.
_WINDOW = 0.6  # An object's window, of the side; holds the largest object.


def _box(x, y, w, h):
  return np.maximum(np.abs(x) - w, np.abs(y) - h)


def _star(x, y):
  """Five points; folds the plane into one arm (after I. Quilez)."""
  x = np.abs(x)
  for nx, ny in ((0.809017, -0.587785), (-0.809017, -0.587785)):
    fold = 2 * np.maximum(nx * x + ny * y, 0)
    x, y = x - fold * nx, y - fold * ny
  x, y = np.abs(x), y - 1.0
  ex, ey = 0.425 * 0.587785, 0.425 * 0.809017 - 1.0
  t = np.clip((x * ex + y * ey) / (ex * ex + ey * ey), 0, 1.0)
  side = np.sign(y * ex - x * ey)
  return np.hypot(x - ex * t, y - ey * t) * side


def _triangle(x, y, top=1.0):
  return np.maximum(0.866 * np.abs(x) + 0.5 * y - 0.5 * top, -y - 0.6)


def _heart(x, y):
  x, y, c = np.abs(x), y + 0.12, 0.72
  diamond = (x + np.abs(y) - c) * 0.7071
  return np.minimum(diamond, np.hypot(x - c / 2, y - c / 2) - c * 0.7071)


def _arrow(x, y):
  head = np.maximum((np.abs(x) + y - 0.98) * 0.7071, -y + 0.18)
  return np.minimum(head, _box(x, y + 0.38, 0.26, 0.58))


# Distances in units of the radius, negative inside; y points up.
_DISTANCE = {
  'circle': lambda x, y: np.hypot(x, y) - 0.9,
  'square': lambda x, y: _box(x, y, 0.78, 0.78),
  'star': _star,
  'triangle': _triangle,
  'cross': lambda x, y: np.minimum(
    _box(x, y, 0.95, 0.3), _box(x, y, 0.3, 0.95)
  ),
  'ring': lambda x, y: np.abs(np.hypot(x, y) - 0.72) - 0.24,
  'heart': _heart,
  'moon': lambda x, y: np.maximum(
    np.hypot(x, y) - 0.95, 0.78 - np.hypot(x - 0.5, y - 0.12)
  ),
  'arrow': _arrow,
  'diamond': lambda x, y: (np.abs(x) / 0.55 + np.abs(y) - 1) * 0.48,
}


def _pixels(side: int) -> tuple[np.ndarray, np.ndarray]:
  at = (np.arange(side, dtype=np.float32) + 0.5) / side
  return at[None, :], at[:, None]


def _backgrounds(scenes: scenes_lib.Scenes, side: int) -> np.ndarray:
  """Backgrounds with their texture, float32 [N, H, W, 3]."""
  palette = np.array(list(scenes_lib.BACKGROUNDS.values()), np.float32)
  colour_N23 = palette[scenes.background_N] + scenes.tint_NO3[:, -1:]
  x_HW, y_HW = np.broadcast_arrays(*_pixels(side))
  # One fixed speckle, moved about by the scene, so that drawing needs no
  # random numbers of its own.
  speckle_HW = np.random.default_rng(0).normal(size=(side, side))
  patterns_THW = np.stack(
    [
      np.zeros((side, side)),
      10 * speckle_HW,
      11 * np.sin(22 * (y_HW + 0.05 * np.sin(18 * x_HW))),
      9 * np.sign(np.sin(19 * x_HW) * np.sin(19 * y_HW)),
    ]
  ).astype(np.float32)
  below_H = (np.arange(side) > _HORIZON * side).astype(int)
  image_NHW3 = np.empty((len(colour_N23), side, side, 3), np.float32)
  image_NHW3[:] = colour_N23[:, below_H, None]
  image_NHW3 += patterns_THW[scenes.texture_N][..., None]
  return image_NHW3


@dataclasses.dataclass(frozen=True)
class _Windows:
  """Object `o` of the scenes that have it, in a window of each.

  Coordinates are of the object, in units of its radius; distances to its
  outline, in pixels, are negative inside.
  """

  rows_n: np.ndarray
  at: tuple[np.ndarray, np.ndarray, np.ndarray]  # Of its pixels in images.
  x_nww: np.ndarray
  y_nww: np.ndarray
  distance_nww: np.ndarray

  @property
  def inside_nww(self) -> np.ndarray:
    return np.clip(0.5 - self.distance_nww, 0, 1)  # A pixel of soft edge.


def _windows(scenes: scenes_lib.Scenes, o: int, side: int) -> _Windows:
  w = round(_WINDOW * side)
  rows_n = np.flatnonzero(scenes.drawn_NO[:, o])
  centre_n2 = scenes.centre_NO2[rows_n, o].astype(np.float32) * side
  corner_n2 = np.clip(np.round(centre_n2 - w / 2).astype(int), 0, side - w)
  alone_n = np.where(scenes.count_N[rows_n] == 1, _ALONE, 1.0)
  radius_n = _RADIUS[scenes.size_NO[rows_n, o]] * side * alone_n
  radius_n11 = radius_n.astype(np.float32)[:, None, None]

  grid_w = np.arange(w, dtype=np.float32) + 0.5
  dx_n1w = (corner_n2[:, :1] + grid_w - centre_n2[:, :1])[:, None, :]
  dy_nw1 = (centre_n2[:, 1:] - corner_n2[:, 1:] - grid_w)[:, :, None]
  angle_n11 = scenes.angle_NO[rows_n, o].astype(np.float32)[:, None, None]
  cos_n11, sin_n11 = np.cos(angle_n11), np.sin(angle_n11)
  x_nww = (dx_n1w * cos_n11 + dy_nw1 * sin_n11) / radius_n11
  y_nww = (dy_nw1 * cos_n11 - dx_n1w * sin_n11) / radius_n11

  distance_nww = np.empty_like(x_nww)
  for i, shape in enumerate(scenes_lib.SHAPES):
    is_n = scenes.shape_NO[rows_n, o] == i
    distance_nww[is_n] = _DISTANCE[shape](x_nww[is_n], y_nww[is_n])
  at = (
    rows_n[:, None, None],
    corner_n2[:, 1:, None] + np.arange(w)[None, :, None],
    corner_n2[:, :1, None] + np.arange(w)[None, None, :],
  )
  return _Windows(rows_n, at, x_nww, y_nww, distance_nww * radius_n11)


def masks(scenes: scenes_lib.Scenes, side: int = 48) -> np.ndarray:
  """Where each object is drawn: bool [N, O, H, W], its outline included."""
  n = len(scenes.index_N)
  found = np.zeros((n, scenes_lib.MAX_OBJECTS, side, side), bool)
  for o in range(scenes_lib.MAX_OBJECTS):
    of = _windows(scenes, o, side)
    if len(of.rows_n):
      found[:, o][of.at] = of.inside_nww >= 0.5
  return found


def _paint(image_NHW3, scenes: scenes_lib.Scenes, o: int) -> None:
  """Draws object `o` of every scene that has it, in place."""
  of = _windows(scenes, o, image_NHW3.shape[1])
  rows_n, x_nww, y_nww = of.rows_n, of.x_nww, of.y_nww
  if not len(rows_n):
    return
  inside_nww = of.inside_nww
  core_nww = np.clip(-0.7 - of.distance_nww, 0, 1)  # Within the outline.

  pattern_n = scenes.pattern_NO[rows_n, o]
  shade_nww = np.ones_like(x_nww)
  striped_n, dotted_n = pattern_n == 1, pattern_n == 2
  shade_nww[striped_n] -= 0.55 * (np.sin(9.0 * y_nww[striped_n]) > 0)
  dots_nww = np.sin(8 * x_nww[dotted_n]) * np.sin(8 * y_nww[dotted_n])
  shade_nww[dotted_n] -= 0.6 * (dots_nww > 0.35)

  palette = np.array(list(scenes_lib.COLOURS.values()), np.float32)
  colour_n3 = palette[scenes.colour_NO[rows_n, o]]
  colour_n3 = colour_n3 + scenes.tint_NO3[rows_n, o].astype(np.float32)
  fill_nww3 = (shade_nww * core_nww)[..., None] * colour_n3[:, None, None]
  fill_nww3 += (1 - core_nww)[..., None] * np.float32(24)
  below_nww3 = image_NHW3[of.at]
  image_NHW3[of.at] = below_nww3 + inside_nww[..., None] * (
    fill_nww3 - below_nww3
  )


def _light(image_NHW3, scenes: scenes_lib.Scenes) -> None:
  x_1W, y_H1 = _pixels(image_NHW3.shape[1])
  ramp_LHW = np.stack(
      [np.broadcast_to(r, image_NHW3.shape[1:3])
       for r in (1 - x_1W, x_1W, 1 - y_H1, y_H1)]
  )  # fmt: skip
  image_NHW3 *= (0.72 + 0.5 * ramp_LHW)[scenes.light_N][..., None]


def render(scenes: scenes_lib.Scenes, side: int = 48) -> np.ndarray:
  """Draws scenes as uint8 images [N, side, side, 3]."""
  image_NHW3 = _backgrounds(scenes, side)
  for o in range(scenes_lib.MAX_OBJECTS):
    _paint(image_NHW3, scenes, o)
  _light(image_NHW3, scenes)
  rim = max(side // 16, 1)
  edge_HW = np.ones((side, side), bool)
  edge_HW[rim:-rim, rim:-rim] = False
  frames = np.array(list(scenes_lib.FRAMES.values()), np.float32)
  framed_n = np.flatnonzero(scenes.frame_N >= 0)
  image_NHW3[framed_n[:, None], edge_HW] = frames[scenes.frame_N[framed_n]][
    :, None
  ]
  return np.clip(np.round(image_NHW3), 0, 255).astype(np.uint8)
