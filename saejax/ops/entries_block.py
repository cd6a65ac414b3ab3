"""Sums over the entries of sparse codes in few large steps, for accelerators.

What `entries` computes a column at a time, here a block at a time: a block
gathers as many rows as fit `_BYTES`, so that a device with thousands of lanes
sees large kernels and never holds [B, K, D]. Products are summed in float32.
"""

import jax
from jax import lax
import jax.numpy as jnp

from saejax.ops import entries

_BYTES = 2**26  # Of the rows that a block gathers, in float32.


def block_size(n: int, d: int) -> int:
  """How many of n rows of width d a block gathers, at least one."""
  return max(1, min(n, _BYTES // (4 * max(d, 1))))


def _take(w_SD, index):
  # Selected in its own type and then widened, which fuses into what reads it.
  return w_SD.at[index].get(mode='fill', fill_value=0).astype(jnp.float32)


def flatten(codes: entries.Entries) -> entries.Entries:
  """Values, indices and rows [N], column by column where they are packed."""
  values_BK, index_BK, row_BK = codes
  if row_BK is None:
    b, k = index_BK.shape
    return values_BK.reshape(-1), index_BK.reshape(-1), jnp.arange(b * k) // k
  # As they were packed: what is padding in all columns then comes last.
  return tuple(x_BK.T.reshape(-1) for x_BK in codes)


def unflatten(x_N: jax.Array, codes: entries.Entries) -> jax.Array:
  """Undoes `flatten`: [B, K]."""
  b, k = codes[1].shape
  return x_N.reshape(b, k) if codes[2] is None else x_N.reshape(k, b).T


def blocks(x_N: jax.Array, size: int, fill: int) -> jax.Array:
  """[N] as [blocks, size], padded by `fill`."""
  return jnp.pad(x_N, (0, -len(x_N) % size), constant_values=fill).reshape(
    -1, size
  )


def used(index_nE: jax.Array, s: int) -> jax.Array:
  """How many blocks to visit: what follows the last index < s is padding."""
  is_used_n = jnp.any(index_nE < s, axis=1)
  return jnp.max(jnp.where(is_used_n, 1 + jnp.arange(len(is_used_n)), 0))


def row_sums(
  values_BK: jax.Array, index_BK: jax.Array, w_SD: jax.Array
) -> jax.Array:
  """Σ over k of values · w[index]: [B, D]."""
  b, k = index_BK.shape

  def row(args):
    values_K, index_K = args
    # A product and a sum, not a matmul, so that the gather can fuse into it.
    return jnp.sum(values_K[:, None] * _take(w_SD, index_K), axis=0)

  size = block_size(b, k * w_SD.shape[1])
  args = values_BK.astype(jnp.float32), index_BK
  return lax.map(row, args, batch_size=size).astype(w_SD.dtype)


def dots(
  g_BD: jax.Array, row_N: jax.Array, index_N: jax.Array, w_SD: jax.Array
) -> jax.Array:
  """⟨g[row], w[index]⟩: float32 [N]."""
  size = block_size(len(index_N), 2 * w_SD.shape[1])
  index_nE = blocks(index_N, size, len(w_SD))
  row_nE = blocks(row_N, size, len(g_BD))

  def block(i, d_nE):
    g_ED, w_ED = _take(g_BD, row_nE[i]), _take(w_SD, index_nE[i])
    return d_nE.at[i].set(jnp.sum(g_ED * w_ED, axis=1))

  d_nE = jnp.zeros(index_nE.shape, jnp.float32)
  d_nE = lax.fori_loop(0, used(index_nE, len(w_SD)), block, d_nE)
  return d_nE.reshape(-1)[: len(index_N)]


def by_key(
  values_N: jax.Array, source_N: jax.Array, key_N: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """All three in rising order of key, and so padding last."""
  key_N, order_N = lax.sort(
    (key_N, jnp.arange(len(key_N))), num_keys=1, is_stable=True
  )
  return values_N[order_N], source_N[order_N], key_N


def add_rows(
  values_N: jax.Array,
  source_N: jax.Array,
  key_N: jax.Array,
  g_BD: jax.Array,
  s: int,
) -> jax.Array:
  """Σ values · g[source] by key: float32 [s, D]; keys ≥ s add nothing.

  Sorted by key, a row of the sum is added to by neighbours: backends that are
  told so gather those first, rather than lock the row for each.
  """
  size = block_size(len(key_N), g_BD.shape[1])
  values_N, source_N, key_N = by_key(values_N, source_N, key_N)
  values_nE = blocks(values_N.astype(jnp.float32), size, 0)
  source_nE = blocks(source_N, size, len(g_BD))
  key_nE = blocks(key_N, size, s)

  def block(i, sum_SD):
    part_ED = values_nE[i][:, None] * _take(g_BD, source_nE[i])
    return sum_SD.at[key_nE[i]].add(
      part_ED, mode='drop', indices_are_sorted=True
    )

  zeros_SD = jnp.zeros((s, g_BD.shape[1]), jnp.float32)
  return lax.fori_loop(0, used(key_nE, s), block, zeros_SD)


def decode(codes: entries.Entries, w_SD: jax.Array) -> jax.Array:
  """Σ values · w[index] by row: [B, D]."""
  values_BK, index_BK, row_BK = codes
  if row_BK is None:
    return row_sums(values_BK, index_BK, w_SD)
  values_N, index_N, row_N = flatten(codes)
  x_BD = add_rows(values_N, index_N, row_N, w_SD, len(values_BK))
  return x_BD.astype(w_SD.dtype)


def code_gradient(
  g_BD: jax.Array, codes: entries.Entries, w_SD: jax.Array
) -> jax.Array:
  """⟨g[row], w[index]⟩ of every entry: [B, K]."""
  _, index_BK, row_BK = codes
  if row_BK is None:
    b, k = index_BK.shape
    row = lambda args: jnp.sum(args[0][None] * _take(w_SD, args[1]), axis=1)
    size = block_size(b, k * w_SD.shape[1])
    args = g_BD.astype(jnp.float32), index_BK
    return lax.map(row, args, batch_size=size).astype(g_BD.dtype)
  _, index_N, row_N = flatten(codes)
  d_N = dots(g_BD, row_N, index_N, w_SD)
  return unflatten(d_N, codes).astype(g_BD.dtype)


def weight_gradient(
  g_BD: jax.Array, codes: entries.Entries, s: int
) -> jax.Array:
  """Σ values · g[row] by index: [s, D]."""
  values_N, index_N, row_N = flatten(codes)
  dw_SD = add_rows(values_N, row_N, index_N, g_BD, s)
  return dw_SD.astype(g_BD.dtype)
