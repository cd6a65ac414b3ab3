"""BatchTopK that leaves its entries packed, found among a few candidates."""

import functools
import math

import jax
from jax import lax
import jax.numpy as jnp

from saejax.ops import bits
from saejax.ops import manual

P = jax.P
_WIDTH = 16  # Of blocks.


def _sum(x: jax.Array, axes: tuple[str, ...]) -> jax.Array:
  return lax.psum(jnp.sum(x), axes) if axes else jnp.sum(x)


def _largest(bits_N, place_N, n: jax.Array, axes, size: int) -> jax.Array:
  """Which are the n largest over all shards: ties go to the lowest place."""
  at_least = lambda t: _sum(bits_N >= t, axes)
  threshold = bits.largest(at_least, n, bits.MOST)
  above_N, tied_N = bits_N > threshold, bits_N == threshold
  wanted = n - _sum(above_N, axes)

  def lowest(_):
    # The `wanted` lowest places are the largest of their complements.
    order_N = jnp.where(tied_N, size - place_N, 0)
    cut = bits.largest(lambda t: _sum(order_N >= t, axes), wanted, size + 1)
    return order_N >= cut

  ambiguous = _sum(tied_N, axes) > wanted
  return above_N | lax.cond(ambiguous, lowest, lambda _: tied_N, None)


def _compact(is_N: jax.Array, n: int) -> jax.Array:
  """The first n places that are true, in order; the rest are N."""
  size = is_N.size
  width = math.gcd(size, 256)  # Two short cumulative sums, not a long one.
  upto = jnp.cumsum(is_N.reshape(-1, width).astype(jnp.int32), axis=1)
  before = jnp.cumsum(upto[:, -1]) - upto[:, -1]
  target_N = jnp.where(is_N, (upto + before[:, None]).reshape(-1) - 1, n)
  filled_n = jnp.full((n,), size, jnp.int32)
  return filled_n.at[target_N].set(jnp.arange(size), mode='drop')


def _shard(pre_bs, count, n: int, batch_axis: str | None, axis: str | None):
  """This shard's entries; see `packed_batch_top_k`."""
  axes = tuple(a for a in (batch_axis, axis) if a)
  (b, s), at = pre_bs.shape, lambda a: lax.axis_index(a) if a else 0
  shards = lambda a: lax.axis_size(a) if a else 1
  whole_b, whole_s = b * shards(batch_axis), s * shards(axis)
  row0, index0 = at(batch_axis) * b, at(axis) * s
  place = lambda row, index: (row + row0) * whole_s + index + index0
  # The n largest lie in the n blocks of largest maximum, ties included: blocks
  # are ordered as their entries are.
  width = math.gcd(s, _WIDTH)
  blocks_NW = pre_bs.reshape(-1, width)
  many, per_row = len(blocks_NW), s // width
  block_N = jnp.arange(many)
  pick = functools.partial(_largest, n=count, axes=axes, size=whole_b * whole_s)
  is_N = pick(
    bits.of(jnp.max(blocks_NW, axis=1)),
    place(block_N // per_row, block_N % per_row * width),
  )
  kept_n = _compact(is_N, min(n, many))
  candidate_nW = blocks_NW.at[kept_n].get(mode='fill', fill_value=0)
  row_nW = jnp.broadcast_to(kept_n[:, None] // per_row, candidate_nW.shape)
  index_nW = kept_n[:, None] % per_row * width + jnp.arange(width)[None]
  bits_n = bits.of(candidate_nW.reshape(-1))
  chosen_n = pick(bits_n, place(row_nW, index_nW).reshape(-1))
  columns = -(-min(n, b * s) // b)
  entry_E = _compact(chosen_n, columns * b)

  def packed(x_nW, padding):
    x_E = x_nW.reshape(-1).at[entry_E].get(mode='fill', fill_value=padding)
    return x_E.reshape(columns, b).T

  return (
    packed(candidate_nW, 0),
    packed(index_nW + index0, whole_s),
    packed(row_nW + row0, whole_b),
  )


def packed_batch_top_k(
  pre_BS: jax.Array,
  n: int,
  *,
  count: jax.Array | None = None,
  batch_axis: str | None = None,
  axis: str | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """The n largest positive entries of a whole batch, packed.

  What `batch_top_k` keeps (BatchTopK, arXiv 2412.06410), ties included, at a
  fraction of the cost: the bisection reads maxima of blocks, then the blocks
  that may matter. No gradient flows; `sparse_encode` gives it.

  Args:
    pre_BS: pre-activations.
    n: how many entries to keep, at most B·S.
    count: how many in its place, 1 to n: it may differ from call to call.
    batch_axis: mesh axis that splits B, if any.
    axis: mesh axis that splits S, if any.

  Returns:
    Values, indices and rows of the entries, [B, K'] each. Entries of a shard
    fill its columns one after the other, in the order of rows; K' columns hold
    n. What is left is padding: value 0, index S, row B.
  """
  b, s = pre_BS.shape
  if not 0 < n <= b * s:
    raise ValueError(f'n={n} is outside 1…{b * s}, the size of the batch.')
  if b * s >= 2**31:
    raise ValueError(
      f'A batch of {b}×{s} has more entries than int32 counts: use a '
      'smaller batch.'
    )
  shard = functools.partial(_shard, n=n, batch_axis=batch_axis, axis=axis)
  entries = P(batch_axis, axis)
  count = jnp.asarray(n if count is None else count).astype(jnp.int32)
  return manual.over_shards(shard, (entries, P()), (entries,) * 3)(
    lax.stop_gradient(pre_BS), count
  )
