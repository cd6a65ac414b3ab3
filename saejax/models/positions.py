"""Positions of image patches on grids other than the one of the table.

Three families, three rules, each that of the reference: CLIP and SigLIP stretch
their table by bicubic interpolation without antialiasing, NaFlex by bilinear
interpolation with it, and native AIMv2 has no table but sines and cosines.

Interpolation is linear and separable, so that each axis is a matrix from the
n positions of the table to the m asked for: `weight_mn`.
"""

import math

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from saejax import errors

# The cubic kernel's free parameter: torch's. `jax.image.resize` has −0.5.
_CUBIC = -0.75


def _kernel(distance: np.ndarray) -> np.ndarray:
  """Keys' cubic convolution kernel (IEEE TASSP 29, 1981), its a left free."""
  a, d = _CUBIC, np.abs(distance)
  near = ((a + 2) * d - (a + 3)) * d**2 + 1
  far = a * (((d - 5) * d + 8) * d - 4)
  return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def bicubic(n: int, m: int) -> np.ndarray:
  """Weights [m, n]; positions beyond the edge repeat the edge."""
  centre_m = (np.arange(m) + 0.5) * n / m - 0.5
  tap_m4 = np.floor(centre_m)[:, None] + np.arange(-1, 3)[None]
  weight_mn = np.zeros((m, n), np.float32)
  np.add.at(
    weight_mn,
    (np.arange(m)[:, None], np.clip(tap_m4, 0, n - 1).astype(int)),
    _kernel(centre_m[:, None] - tap_m4),
  )
  return weight_mn


def bilinear(n: int, m: jax.Array, i: jax.Array) -> jax.Array:
  """Rows `i` of the weights [m, n], of a triangle as wide as one position.

  The triangle is that of the coarser grid: shrinking averages (antialiasing).
  All but `n` may be traced: one trace serves every size.

  Args:
    n: positions in the table.
    m: positions asked for, of any shape that broadcasts with `i`.
    i: which of them, [...].

  Returns:
    Weights [..., n] that sum to one.
  """
  stride = jnp.asarray(n / m, jnp.float32)[..., None]
  centre = stride * (i[..., None] + 0.5)
  position = jnp.arange(n, dtype=jnp.float32) + 0.5
  position = jnp.expand_dims(position, range(i.ndim))
  weight = 1 - jnp.abs(position - centre) / jnp.maximum(stride, 1.0)
  weight = jnp.maximum(weight, 0.0)
  return weight / weight.sum(-1, keepdims=True)


def side(positions: int) -> int:
  """The side of the square grid that a table of positions is for."""
  return math.isqrt(positions)


def to_grid(table_TD: jax.Array, h: int, w: int) -> jax.Array:
  """A square grid's table as one of h by w positions, [h·w, D]."""
  t, d = table_TD.shape
  n = side(t)
  if (h, w) == (n, n):
    return table_TD
  return jnp.einsum(
    'hy,wx,yxD->hwD',
    bicubic(n, h),
    bicubic(n, w),
    table_TD.reshape(n, n, d),
    precision=lax.Precision.HIGHEST,
  ).reshape(h * w, d)


def to_grids(table_TD: jax.Array, grid_B2: jax.Array, slots: int) -> jax.Array:
  """A square grid's table for each image's own grid, [B, slots, D].

  NaFlex (Tschannen et al., arXiv 2502.14786, §2.4.2): an image of h by w
  patches fills its first h·w slots, row by row, and the rest repeat its first
  position, as in the reference. Only `slots` is static.

  A trap for comparisons: where w is 1, torch 2.13 on a CPU gives every row of
  the image the first row's position. This does not.

  Args:
    table_TD: positions of a square grid.
    grid_B2: height and width of each image, in patches; h·w ≤ slots.
    slots: patches of an image, with padding.
  """
  n = side(table_TD.shape[0])
  h_B1, w_B1 = grid_B2[:, :1], grid_B2[:, 1:]
  slot_1T = jnp.arange(slots)[None]
  slot_BT = jnp.where(slot_1T < h_B1 * w_B1, slot_1T, 0)
  row_BTy = bilinear(n, h_B1, slot_BT // w_B1)
  column_BTx = bilinear(n, w_B1, slot_BT % w_B1)
  return jnp.einsum(
    'BTyx,yxD->BTD',
    row_BTy[..., :, None] * column_BTx[..., None, :],
    table_TD.reshape(n, n, -1),
    precision=lax.Precision.HIGHEST,
  )


def sincos(h: int, w: int, width: int) -> np.ndarray:
  """Sines and cosines of the column, then of the row, [h·w, width].

  The order of MAE's code (He et al., arXiv 2111.06377), where the axes are
  swapped, and which AIMv2 was trained with.
  """
  if width % 4:
    raise errors.UserError(
      f'The hidden size is {width}, and the sines and cosines of two axes need '
      'one that 4 divides: check hidden_size in the config.'
    )
  quarter = width // 4
  frequency_q = 10000.0 ** -(np.arange(quarter) / quarter)
  row_T, column_T = (axis.reshape(-1) for axis in np.indices((h, w)))
  angle = [x_T[:, None] * frequency_q[None] for x_T in (column_T, row_T)]
  waves = [f(a) for a in angle for f in (np.sin, np.cos)]
  return np.concatenate(waves, axis=1).astype(np.float32)
