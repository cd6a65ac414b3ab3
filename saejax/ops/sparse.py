"""Sparse codes against a dictionary, without ever holding [B, K, D]."""

import functools

import jax
from jax import lax
import jax.numpy as jnp

from saejax.ops import manual

P = jax.P
_UNROLL = 8  # Of the loop over active concepts; what a CPU likes.
_ROWS = 64  # Rows whose [K, D] dictionary rows are held at once.


def _localise(index_BK, s: int, axis: str | None):
  """Indices within this shard; those of other shards become s."""
  if axis is None:
    return index_BK
  index_BK = index_BK - lax.axis_index(axis) * s
  return jnp.where((index_BK >= 0) & (index_BK < s), index_BK, s)


def _psum(x, axis: str | None):
  return x if axis is None else lax.psum(x, axis)


def to_dense(
  values_BK: jax.Array,
  index_BK: jax.Array,
  s: int,
  *,
  batch_axis: str | None = None,
  axis: str | None = None,
) -> jax.Array:
  """Writes sparse codes into [B, s]; indices of s or more are dropped."""

  def scatter(values_BK, index_BK):
    local = s if axis is None else s // lax.axis_size(axis)
    index_BK = _localise(index_BK, local, axis)
    rows_B1 = jnp.arange(values_BK.shape[0])[:, None]
    zeros_BS = jnp.zeros((values_BK.shape[0], local), values_BK.dtype)
    return zeros_BS.at[rows_B1, index_BK].add(values_BK, mode='drop')

  rows = P(batch_axis, None)
  return manual.over_shards(scatter, (rows, rows), P(batch_axis, axis))(
    values_BK, index_BK
  )


def fired(
  values_BK: jax.Array,
  index_BK: jax.Array,
  s: int,
  *,
  batch_axis: str | None = None,
  axis: str | None = None,
) -> jax.Array:
  """Which of s concepts have a non-zero code in any row: bool [s]."""

  def local(values_BK, index_BK):
    size = s if axis is None else s // lax.axis_size(axis)
    index_BK = _localise(index_BK, size, axis)
    count_S = jnp.zeros(size, jnp.int32)
    count_S = count_S.at[index_BK].add(values_BK != 0, mode='drop')
    return _psum(count_S, batch_axis) > 0

  rows = P(batch_axis, None)
  return manual.over_shards(local, (rows, rows), P(axis))(values_BK, index_BK)


def _decode(values_BK, index_BK, w_SD):
  """Σ_k values[:, k] · w[index[:, k]], a concept at a time."""

  def add(k, x_BD):
    row_BD = w_SD.at[index_BK[:, k]].get(mode='fill', fill_value=0)
    return x_BD + values_BK[:, k, None] * row_BD

  (b, k), d = values_BK.shape, w_SD.shape[1]
  zeros_BD = jnp.zeros((b, d), w_SD.dtype)
  return lax.fori_loop(0, k, add, zeros_BD, unroll=min(k, _UNROLL))


def _code_gradient(g_BD, index_BK, w_SD):
  """⟨g, w[index]⟩, a block of rows at a time."""

  def block(args):
    g_D, index_K = args
    rows_KD = w_SD.at[index_K].get(mode='fill', fill_value=0)
    return rows_KD @ g_D

  batch = min(_ROWS, g_BD.shape[0])
  return lax.map(block, (g_BD, index_BK), batch_size=batch)


def _weight_gradient(g_BD, values_BK, index_BK, w_SD):
  """Σ over rows and k of values · g, into the dictionary row of each index."""

  def add(k, dw_SD):
    rows_BD = values_BK[:, k, None] * g_BD
    return dw_SD.at[index_BK[:, k]].add(rows_BD, mode='drop')

  return lax.fori_loop(0, values_BK.shape[1], add, jnp.zeros_like(w_SD))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _sparse_decode(values_BK, index_BK, w_SD, batch_axis, axis):
  def local(values_BK, index_BK, w_SD):
    index_BK = _localise(index_BK, w_SD.shape[0], axis)
    return _psum(_decode(values_BK, index_BK, w_SD), axis)

  rows = P(batch_axis, None)
  return manual.over_shards(local, (rows, rows, P(axis, None)), rows)(
    values_BK, index_BK, w_SD
  )


def _forward(values_BK, index_BK, w_SD, batch_axis, axis):
  x_BD = _sparse_decode(values_BK, index_BK, w_SD, batch_axis, axis)
  return x_BD, (values_BK, index_BK, w_SD)


def _backward(batch_axis, axis, residuals, g_BD):
  values_BK, index_BK, w_SD = residuals

  def local(g_BD, values_BK, index_BK, w_SD):
    index_BK = _localise(index_BK, w_SD.shape[0], axis)
    dvalues_BK = _psum(_code_gradient(g_BD, index_BK, w_SD), axis)
    dw_SD = _weight_gradient(g_BD, values_BK, index_BK, w_SD)
    return dvalues_BK, _psum(dw_SD, batch_axis)

  rows, weights = P(batch_axis, None), P(axis, None)
  dvalues_BK, dw_SD = manual.over_shards(
    local, (rows, rows, rows, weights), (rows, weights)
  )(g_BD, values_BK, index_BK, w_SD)
  return dvalues_BK, None, dw_SD


_sparse_decode.defvjp(_forward, _backward)


def sparse_decode(
  values_BK: jax.Array,
  index_BK: jax.Array,
  w_SD: jax.Array,
  *,
  batch_axis: str | None = None,
  axis: str | None = None,
) -> jax.Array:
  """Sums dictionary rows: out[b] = Σ_k values[b, k] · w[index[b, k]].

  Forward and both gradients take O(B·K·D) time and hold neither [B, K, D] nor
  a dense [B, S].

  Args:
    values_BK: codes.
    index_BK: their concepts; S or more means padding, which adds nothing.
    w_SD: the dictionary.
    batch_axis: mesh axis that splits B, if any.
    axis: mesh axis that splits S, if any.
  """
  args = map(jnp.asarray, (values_BK, index_BK, w_SD))
  return _sparse_decode(*args, batch_axis, axis)
