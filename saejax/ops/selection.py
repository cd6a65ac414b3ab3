"""Which codes stay: the k largest of a row, or of a whole batch.

Ties go to the lowest index, on every mesh.
"""

import functools

import jax
from jax import lax
import jax.numpy as jnp

from saejax.ops import bits
from saejax.ops import manual
from saejax.ops import sparse

P = jax.P


def _local_top_k(x_BS: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
  # Behind the barriers lies a trap: XLA's CPU backend turns a slice of what
  # top_k returns into a full sort (50 times slower). One barrier for both
  # results would crash the compiler of JAX 0.10 on some meshes.
  values_BK, index_BK = lax.top_k(x_BS, k)
  barrier = lax.optimization_barrier
  return barrier(values_BK), barrier(index_BK)


def _block(s: int, k: int) -> int | None:
  """Width of blocks that spare top_k most of a row, if there is one."""
  if s < 64 * k:
    return None
  fitting = [2**i for i in range(3, 8) if s % 2**i == 0 and s // 2**i >= k]
  cost = lambda width: s // width + k * width
  return min(fitting, key=cost, default=None)


def _row_top_k(x_BS: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
  """`lax.top_k`, of long rows by blocks.

  The k largest lie in the k blocks of largest maximum. Kept in their order,
  those blocks also hold the lowest indices among ties: one is left out only for
  k others whose maxima are larger, or as large and earlier.
  """
  (b, s), width = x_BS.shape, _block(x_BS.shape[1], k)
  if width is None:
    return _local_top_k(x_BS, k)
  x_BnW = x_BS.reshape(b, s // width, width)
  _, block_BK = _local_top_k(jnp.max(x_BnW, axis=2), k)
  block_BK = jnp.sort(block_BK, axis=1)
  candidates_BKW = jnp.take_along_axis(x_BnW, block_BK[:, :, None], axis=1)
  values_BK, place_BK = _local_top_k(candidates_BKW.reshape(b, k * width), k)
  block_BK = jnp.take_along_axis(block_BK, place_BK // width, axis=1)
  return values_BK, block_BK * width + place_BK % width


def _by_magnitude(x_BS: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
  _, index_BK = _row_top_k(jnp.abs(x_BS), k)
  return jnp.take_along_axis(x_BS, index_BK, axis=1), index_BK


def _sharded_top_k(x_bs: jax.Array, k: int, axis: str, local_top_k):
  """Each shard nominates its k largest; the winners are among them."""
  s = x_bs.shape[1]
  values_bk, index_bk = local_top_k(x_bs, min(k, s))
  index_bk += lax.axis_index(axis) * s
  # Gathered shard by shard, candidates of equal value lie in rising index, so
  # top_k breaks ties among them as it would on the whole row.
  values_bM = lax.all_gather(values_bk, axis, axis=1, tiled=True)
  index_bM = lax.all_gather(index_bk, axis, axis=1, tiled=True)
  values_bk, place_bk = local_top_k(values_bM, k)
  return values_bk, jnp.take_along_axis(index_bM, place_bk, axis=1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3, 4))
def _top_k(x_BS, k, by_magnitude, batch_axis, axis):
  local_top_k = _by_magnitude if by_magnitude else _row_top_k
  select = (
    functools.partial(local_top_k, k=k)
    if axis is None
    else functools.partial(
      _sharded_top_k, k=k, axis=axis, local_top_k=local_top_k
    )
  )
  rows = P(batch_axis, None)
  return manual.over_shards(select, (P(batch_axis, axis),), (rows, rows))(x_BS)


def _top_k_forward(x_BS, k, by_magnitude, batch_axis, axis):
  values_BK, index_BK = _top_k(x_BS, k, by_magnitude, batch_axis, axis)
  return (values_BK, index_BK), (index_BK, x_BS.shape[1])


def _top_k_backward(k, by_magnitude, batch_axis, axis, residuals, cotangents):
  del k, by_magnitude
  index_BK, s = residuals
  return (
    sparse.to_dense(
      cotangents[0], index_BK, s, batch_axis=batch_axis, axis=axis
    ),
  )


_top_k.defvjp(_top_k_forward, _top_k_backward)


def top_k(
  x_BS: jax.Array,
  k: int,
  *,
  by_magnitude: bool = False,
  batch_axis: str | None = None,
  axis: str | None = None,
) -> tuple[jax.Array, jax.Array]:
  """The k largest entries of each row, largest first.

  Exact on any mesh; over a split dictionary only k candidates a shard travel.

  Args:
    x_BS: rows to choose from.
    k: how many, at most S.
    by_magnitude: whether the largest are those of largest |x|.
    batch_axis: mesh axis that splits B, if any.
    axis: mesh axis that splits S, if any.

  Returns:
    Values [B, k], through which gradients reach `x_BS`, and indices [B, k].
  """
  if not 0 < k <= x_BS.shape[1]:
    raise ValueError(f'k={k} is outside 1…{x_BS.shape[1]}, the row length.')
  return _top_k(x_BS, k, by_magnitude, batch_axis, axis)


def is_among_top_k(x_BS: jax.Array, k: int) -> jax.Array:
  """Whether an entry is one of the k largest of its row: bool [B, S].

  Equals of the k-th are all among them. By bisection, row by row at once: of
  short rows and many of them `top_k` takes longer, and then has no mask yet.
  """
  i_BS = bits.ordered(x_BS)

  def halve(_, bounds):
    low_B1, high_B1 = bounds
    # No sum of the two: it could leave int32.
    middle_B1 = (low_B1 & high_B1) + ((low_B1 ^ high_B1) >> 1)
    enough_B1 = jnp.sum(i_BS >= middle_B1, axis=1, keepdims=True) >= k
    return (
      jnp.where(enough_B1, middle_B1, low_B1),
      jnp.where(enough_B1, high_B1, middle_B1),
    )

  low_B1 = jnp.min(i_BS, axis=1, keepdims=True)
  high_B1 = jnp.max(i_BS, axis=1, keepdims=True) + 1
  low_B1, _ = lax.fori_loop(0, 32, halve, (low_B1, high_B1))
  return i_BS >= low_B1


def batch_top_k(pre_BS: jax.Array, n: int | jax.Array) -> jax.Array:
  """Keeps the n largest positive entries of a whole batch; the rest are 0.

  BatchTopK (Bussmann et al., arXiv 2412.06410) with n = k·B. Exact: a
  bisection over the bits of the floats, then over flat indices for ties. It
  is made of comparisons and sums alone, so it runs unchanged on any mesh.

  Args:
    pre_BS: pre-activations.
    n: how many entries to keep, at most B·S; an array of int32 is not checked.

  Returns:
    z_BS, in which gradients reach the kept entries.
  """
  b, s = pre_BS.shape
  if isinstance(n, int) and not 0 < n <= b * s:
    raise ValueError(f'n={n} is outside 1…{b * s}, the size of the batch.')
  if b * s >= 2**31:
    raise ValueError(
      f'A batch of {b}×{s} has more entries than int32 counts: use a '
      'smaller batch.'
    )
  bits_BS = lax.stop_gradient(bits.of(pre_BS))
  # Entries of bits ≥ 1 are positive; the largest float has bits < 2**31 - 1.
  threshold = bits.largest(lambda t: jnp.sum(bits_BS >= t), n, 2**31 - 1)
  above_BS = bits_BS > threshold
  tied_BS = bits_BS == threshold
  wanted = n - jnp.sum(above_BS)

  def lowest(_):
    rows_B1 = lax.broadcasted_iota(jnp.int32, (b, s), 0)
    place_BS = rows_B1 * s + lax.broadcasted_iota(jnp.int32, (b, s), 1)
    # The `wanted` lowest places are the largest of their complements.
    order_BS = jnp.where(tied_BS, b * s - place_BS, 0)
    cut = bits.largest(lambda t: jnp.sum(order_BS >= t), wanted, b * s + 1)
    return order_BS >= cut

  ambiguous = jnp.sum(tied_BS) > wanted
  kept_BS = above_BS | lax.cond(ambiguous, lowest, lambda _: tied_BS, None)
  return jnp.where(kept_BS, pre_BS, 0)
