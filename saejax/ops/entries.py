"""Sums over the entries of sparse codes, on one device, a column at a time.

A column holds B entries. Those that are not packed lie one in each row, so a
column of them is read and added to without an index of rows.
"""

import jax
from jax import lax
import jax.numpy as jnp

# Values, indices, and rows or None; all [B, K].
Entries = tuple[jax.Array, jax.Array, jax.Array | None]

_UNROLL = 8  # Of the loop over columns; what a CPU likes.
_ROWS = 64  # Rows whose [K, D] dictionary rows are held at once.
_ENTRIES = 512  # Packed entries whose rows are held at once.


def _take(w_SD, index):
  return w_SD.at[index].get(mode='fill', fill_value=0)


def _columns(codes: Entries, s: int):
  """How many columns to visit: the last of packed ones may all be padding."""
  _, index_BK, row_BK = codes
  if row_BK is None:
    return index_BK.shape[1]
  is_used_K = jnp.any(index_BK < s, axis=0)
  return jnp.max(jnp.where(is_used_K, 1 + jnp.arange(len(is_used_K)), 0))


def _loop(columns, body, init):
  unroll = min(columns, _UNROLL) if isinstance(columns, int) else None
  return lax.fori_loop(0, columns, body, init, unroll=unroll)


def decode(codes: Entries, w_SD: jax.Array) -> jax.Array:
  """Σ values · w[index] by row: [B, D]."""
  values_BK, index_BK, row_BK = codes

  def add(k, x_BD):
    part_BD = values_BK[:, k, None] * _take(w_SD, index_BK[:, k])
    if row_BK is None:
      return x_BD + part_BD
    return x_BD.at[row_BK[:, k]].add(part_BD, mode='drop')

  zeros_BD = jnp.zeros((len(values_BK), w_SD.shape[1]), w_SD.dtype)
  return _loop(_columns(codes, len(w_SD)), add, zeros_BD)


def code_gradient(
  g_BD: jax.Array, codes: Entries, w_SD: jax.Array
) -> jax.Array:
  """⟨g[row], w[index]⟩ of every entry: [B, K]."""
  _, index_BK, row_BK = codes
  if row_BK is None:
    block = lambda args: _take(w_SD, args[1]) @ args[0]
    return lax.map(block, (g_BD, index_BK), batch_size=min(_ROWS, len(g_BD)))

  def column(k, d_KB):
    g_bD, w_bD = _take(g_BD, row_BK[:, k]), _take(w_SD, index_BK[:, k])
    return d_KB.at[k].set(jnp.sum(g_bD * w_bD, axis=1))

  d_KB = jnp.zeros(index_BK.shape[::-1], g_BD.dtype)
  return _loop(_columns(codes, len(w_SD)), column, d_KB).T


def weight_gradient(g_BD: jax.Array, codes: Entries, s: int) -> jax.Array:
  """Σ values · g[row] by index: [s, D]."""
  values_BK, index_BK, row_BK = codes

  def add(k, dw_SD):
    g_bD = g_BD if row_BK is None else _take(g_BD, row_BK[:, k])
    part_BD = values_BK[:, k, None] * g_bD
    return dw_SD.at[index_BK[:, k]].add(part_BD, mode='drop')

  zeros_SD = jnp.zeros((s, g_BD.shape[1]), g_BD.dtype)
  return lax.fori_loop(0, _columns(codes, s), add, zeros_SD)
