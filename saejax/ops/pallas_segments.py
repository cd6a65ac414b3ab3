"""A Pallas kernel for TPUs that sums rows by sorted key.

Rows of one key are neighbours once sorted, so a tile of the sum stays in fast
memory while all blocks of rows that reach it are added, each by a matmul: which
rows of the tile it goes to is a matrix [tile, block] of values and zeros.
"""

import jax
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp

from saejax.ops import entries_block

_TILE = 128  # Rows of the sum, and rows to add, that a step holds.
_WIDTH = 1024  # Columns of them, where there are more than twice as many.


def _visits(key_nE: jax.Array, s: int, tiles: int):
  """Which tile and which block each step joins, in order, and how many do.

  Both rise from step to step, so there are no more than tiles + blocks.
  """
  is_used_nE = key_nE < s
  first_n = jnp.min(jnp.where(is_used_nE, key_nE, s - 1), axis=1) // _TILE
  last_n = jnp.max(jnp.where(is_used_nE, key_nE, 0), axis=1) // _TILE
  count_n = jnp.where(is_used_nE[:, 0], last_n - first_n + 1, 0)
  end_n = jnp.cumsum(count_n)
  steps = jnp.arange(tiles + len(key_nE))
  block = jnp.searchsorted(end_n, steps, side='right')
  block = jnp.minimum(block, len(key_nE) - 1).astype(jnp.int32)
  tile = (first_n + count_n - end_n)[block] + steps
  # With nothing to add one step is left, and adds nothing.
  return jnp.clip(tile, 0, tiles - 1), block, jnp.maximum(end_n[-1], 1)


def _kernel(
  tile_ref, block_ref, key_ref, values_ref, rows_ref, old_ref, out_ref
):
  del block_ref
  step = pl.program_id(1)
  tile = tile_ref[step]

  @pl.when((step == 0) | (tile != tile_ref[jnp.maximum(step - 1, 0)]))
  def _():
    out_ref[...] = old_ref[...]

  shape = out_ref.shape[0], key_ref.shape[1]
  row = tile * shape[0] + lax.broadcasted_iota(jnp.int32, shape, 0)
  of_tile_TE = jnp.where(row == key_ref[...], values_ref[...], 0)
  rows_ED, precision = rows_ref[...], None
  if rows_ED.dtype != jnp.bfloat16:  # Which the matmul units take as they are.
    rows_ED, precision = rows_ED.astype(jnp.float32), lax.Precision.HIGHEST
  out_ref[...] += jnp.dot(
    of_tile_TE.astype(rows_ED.dtype),
    rows_ED,
    precision=precision,
    preferred_element_type=jnp.float32,
  )


def _add_sorted(sum_SD, values_E, key_E, rows_ED, *, interpret):
  """Adds values · rows to those of `sum_SD` at rising keys."""
  s, d = sum_SD.shape
  width = d if d <= 2 * _WIDTH else _WIDTH
  key_nE = key_E.reshape(-1, _TILE)
  tile, block, steps = _visits(key_nE, s, pl.cdiv(s, _TILE))
  lanes = pl.BlockSpec(
    (1, _TILE), lambda column, step, tile, block: (0, block[step])
  )
  sums = pl.BlockSpec(
    (_TILE, width), lambda column, step, tile, block: (tile[step], column)
  )
  rows = pl.BlockSpec(
    (_TILE, width), lambda column, step, tile, block: (block[step], column)
  )
  return pl.pallas_call(
    _kernel,
    grid_spec=pltpu.PrefetchScalarGridSpec(
      num_scalar_prefetch=2,
      grid=(pl.cdiv(d, width), steps),
      in_specs=[lanes, lanes, rows, sums],
      out_specs=sums,
    ),
    out_shape=jax.ShapeDtypeStruct(sum_SD.shape, sum_SD.dtype),
    # Tiles that no key reaches keep what they have. No step returns to a tile
    # that it left, so what is fetched of one is what was there at the start.
    input_output_aliases={5: 0},
    interpret=interpret,
  )(tile, block, key_E[None], values_E[None], rows_ED, sum_SD)


def add_rows(
  values_N: jax.Array,
  source_N: jax.Array,
  key_N: jax.Array,
  g_BD: jax.Array,
  s: int,
  *,
  interpret: bool,
) -> jax.Array:
  """Σ values · g[source] by key: float32 [s, D]; keys ≥ s add nothing.

  Its twin is `entries_block.add_rows`. A value that is not finite spreads to
  the keys that share its tile.
  """
  n, d = len(key_N), g_BD.shape[1]
  size = max(1, entries_block.block_size(n, d) // _TILE) * _TILE
  values_N, source_N, key_N = entries_block.by_key(values_N, source_N, key_N)
  values_nE = entries_block.blocks(values_N.astype(jnp.float32), size, 0)
  source_nE = entries_block.blocks(source_N, size, len(g_BD))
  key_nE = entries_block.blocks(key_N, size, s)

  def block(i, sum_SD):
    rows_ED = g_BD.at[source_nE[i]].get(mode='fill', fill_value=0)
    return _add_sorted(
      sum_SD, values_nE[i], key_nE[i], rows_ED, interpret=interpret
    )

  zeros_SD = jnp.zeros((s, d), jnp.float32)
  return lax.fori_loop(0, entries_block.used(key_nE, s), block, zeros_SD)
