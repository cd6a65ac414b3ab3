"""k-means: points that stand for many rows."""

import functools

import jax
from jax import lax
import jax.numpy as jnp


def _far_apart(key: jax.Array, x_ND: jax.Array, m: int) -> jax.Array:
  """m of the rows, each drawn by chance ∝ its squared distance to those before.

  k-means++ (Arthur and Vassilvitskii, SODA 2007).
  """

  def draw(nearest_N, key):
    # The largest of log p plus Gumbel noise: a draw by p (Gumbel, 1954).
    row_D = x_ND[jax.random.categorical(key, jnp.log(nearest_N))]
    # Not by a matmul: a row that was drawn is at 0, and not drawn again.
    square_N = jnp.sum((x_ND - row_D[None]) ** 2, axis=1)
    return jnp.minimum(nearest_N, square_N), row_D

  nearest_N = jnp.full(len(x_ND), jnp.finfo(x_ND.dtype).max)
  return lax.scan(draw, nearest_N, jax.random.split(key, m))[1]


def _means(x_BnD: jax.Array, is_row_Bn: jax.Array, c_MD: jax.Array):
  """The mean of the rows nearest to each centroid; those without rows stay."""
  half_M = jnp.sum(c_MD**2, axis=1) / 2
  dot = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)

  def add(total, block):
    x_nD, is_row_n = block
    nearest_n = jnp.argmax(x_nD @ c_MD.T - half_M[None], axis=1)
    # A matmul, since sums that scatter differ from run to run on a GPU.
    one_nM = jax.nn.one_hot(nearest_n, len(c_MD)) * is_row_n[:, None]
    sum_MD, count_M = total
    return (sum_MD + dot(one_nM.T, x_nD), count_M + jnp.sum(one_nM, axis=0)), ()

  zero = jnp.zeros_like(c_MD), jnp.zeros(len(c_MD))
  (sum_MD, count_M), _ = lax.scan(add, zero, (x_BnD, is_row_Bn))
  count_M1 = count_M[:, None]
  return jnp.where(count_M1 > 0, sum_MD / jnp.maximum(count_M1, 1), c_MD)


@functools.partial(jax.jit, static_argnames=('m', 'steps', 'block'))
def kmeans(
  key: jax.Array, x_ND: jax.Array, m: int, steps: int = 20, block: int = 2048
) -> jax.Array:
  """Centroids [m, D] of rows, in no particular order.

  Lloyd's iteration (IEEE Trans. Inf. Theory, 1982) from rows far apart.

  Args:
    key: of the first centroids.
    x_ND: rows; where fewer than m differ, some centroids are the same.
    m: the number of centroids.
    steps: iterations.
    block: rows whose distances to all centroids are held at once.
  """
  n, d = x_ND.shape
  block = min(block, n)
  blocks = -(-n // block)
  padded_ND = jnp.pad(x_ND, ((0, blocks * block - n), (0, 0)))
  x_BnD = padded_ND.reshape(blocks, block, d)
  is_row_Bn = (jnp.arange(blocks * block) < n).reshape(blocks, block)
  return lax.fori_loop(
    0,
    steps,
    lambda _, c_MD: _means(x_BnD, is_row_Bn, c_MD),
    _far_apart(key, x_ND, m),
  )
