"""Encoding and selecting at once, so that no [B, S] is ever whole."""

import functools

import jax
from jax import lax
import jax.numpy as jnp

from saejax.ops import manual
from saejax.ops import selection

P = jax.P


def _largest(values_BM, index_BM, k: int):
  """The k largest candidates; equal ones in the order in which they lie."""
  values_BK, place_BK = selection.top_k(values_BM, k)
  return values_BK, jnp.take_along_axis(index_BM, place_BK, axis=1)


def _shard(u_BD, w_SD, b_S, k, block, dtype, axis):
  """What this shard's concepts nominate, and then what all did."""
  s = len(w_SD)
  mine = min(k, s)
  # A first block of k or more leaves no place that a stand-in could win.
  block = min(max(block, mine), s)

  def candidates(start):
    part = lambda x: lax.dynamic_slice_in_dim(x, start, block)
    pre_Bb = jnp.einsum(
      'BD,SD->BS',
      u_BD.astype(dtype),
      part(w_SD).astype(dtype),
      preferred_element_type=jnp.float32,
    )
    return pre_Bb + part(b_S)[None]

  def visit(i, best):
    # The last block reaches back over concepts that have been seen.
    start = jnp.minimum(i * block, s - block)
    pre_Bb = candidates(start)
    is_new_b = start + jnp.arange(block) >= i * block
    pre_Bb = jnp.where(is_new_b[None], pre_Bb, -jnp.inf)
    values_BK, index_BK = selection.top_k(pre_Bb, mine)
    # Earlier concepts come first, and so win among equals.
    join = lambda old, new: jnp.concatenate([old, new], axis=1)
    return _largest(
      join(best[0], values_BK), join(best[1], index_BK + start), mine
    )

  best = selection.top_k(candidates(0), mine)
  values_BK, index_BK = lax.fori_loop(1, -(-s // block), visit, best)
  if axis is None:
    return values_BK, index_BK
  index_BK += lax.axis_index(axis) * s
  gather = lambda x: lax.all_gather(x, axis, axis=1, tiled=True)
  return _largest(gather(values_BK), gather(index_BK), k)


def encode_top_k(
  u_BD: jax.Array,
  w_SD: jax.Array,
  b_S: jax.Array,
  k: int,
  *,
  block: int = 8192,
  dtype: str = 'float32',
  batch_axis: str | None = None,
  axis: str | None = None,
) -> tuple[jax.Array, jax.Array]:
  """`top_k` of u·Wᵀ + b, holding [B, block] of it at a time.

  Exact, ties included. For inference with dictionaries whose pre-activations
  would not fit; there is no gradient.

  Args:
    u_BD: rows to encode.
    w_SD: the encoder, a row for each concept.
    b_S: its bias.
    k: how many concepts of a row, at most S.
    block: concepts encoded at once; k at least.
    dtype: of the matmul, which sums in float32.
    batch_axis: mesh axis that splits B, if any.
    axis: mesh axis that splits S, if any.

  Returns:
    Values [B, k], largest first, and indices [B, k].
  """
  if not 0 < k <= len(w_SD):
    raise ValueError(f'k={k} is outside 1…{len(w_SD)}, the dictionary.')
  if block < 1:
    raise ValueError(f'block={block} must be at least 1.')
  shard = functools.partial(_shard, k=k, block=block, dtype=dtype, axis=axis)
  rows = P(batch_axis, None)
  return manual.over_shards(
    shard, (rows, P(axis, None), P(axis)), (rows, rows)
  )(*map(lax.stop_gradient, (u_BD, w_SD, b_S)))
