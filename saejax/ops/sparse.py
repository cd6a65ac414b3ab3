"""Sparse codes against a dictionary, without ever holding [B, K, D].

An entry is a code: a value, the index of its concept and its row. Entries lie
in their own rows, values [B, K]; or anywhere, and then `row_BK` says where, as
`packed_batch_top_k` leaves them. An index of S or more means padding.

`forms.kernels` chooses how the sums are computed; by default the platform does.

Forward and gradients take O(B·K·D) time and hold neither [B, K, D] nor a dense
[B, S]. Where entries are packed, each shard of the mesh owns its entries.
"""

import functools

import jax
from jax import lax
import jax.numpy as jnp

from saejax.ops import entries
from saejax.ops import forms
from saejax.ops import manual

P = jax.P


def _specs(row_BK, batch_axis, axis) -> tuple[jax.P, jax.P]:
  """Of entries and of rows."""
  rows = P(batch_axis, None)
  return (rows if row_BK is None else P(batch_axis, axis)), rows


def _own(codes: entries.Entries, b: int, s: int, batch_axis, axis):
  """Entries with indices and rows within this shard; others become padding."""
  values_BK, index_BK, row_BK = codes
  if row_BK is not None:
    row_BK = manual.localise(row_BK, b, batch_axis)
  return values_BK, manual.localise(index_BK, s, axis), row_BK


def to_dense(
  values_BK: jax.Array,
  index_BK: jax.Array,
  s: int,
  *,
  row_BK: jax.Array | None = None,
  batch_axis: str | None = None,
  axis: str | None = None,
) -> jax.Array:
  """Writes sparse codes into [B, s]; indices of s or more are dropped."""

  def scatter(values_BK, index_BK, row_BK):
    b = values_BK.shape[0]
    local = s if axis is None else s // lax.axis_size(axis)
    values_BK, index_BK, row_BK = _own(
      (values_BK, index_BK, row_BK), b, local, batch_axis, axis
    )
    row_BK = jnp.arange(b)[:, None] if row_BK is None else row_BK
    zeros_BS = jnp.zeros((b, local), values_BK.dtype)
    return zeros_BS.at[row_BK, index_BK].add(values_BK, mode='drop')

  codes, _ = _specs(row_BK, batch_axis, axis)
  return manual.over_shards(scatter, (codes,) * 3, P(batch_axis, axis))(
    values_BK, index_BK, row_BK
  )


def fired(
  values_BK: jax.Array,
  index_BK: jax.Array,
  s: int,
  *,
  row_BK: jax.Array | None = None,
  batch_axis: str | None = None,
  axis: str | None = None,
) -> jax.Array:
  """Which of s concepts have a non-zero code in any row: bool [s]."""

  def local(values_BK, index_BK):
    size = s if axis is None else s // lax.axis_size(axis)
    index_BK = manual.localise(index_BK, size, axis)
    count_S = jnp.zeros(size, jnp.int32)
    count_S = count_S.at[index_BK].add(values_BK != 0, mode='drop')
    return manual.psum(count_S, batch_axis) > 0

  codes, _ = _specs(row_BK, batch_axis, axis)
  return manual.over_shards(local, (codes, codes), P(axis))(values_BK, index_BK)


def rows_of(
  x_B1: jax.Array,
  row_BK: jax.Array,
  *,
  batch_axis: str | None = None,
  axis: str | None = None,
) -> jax.Array:
  """x of the row of each packed entry, [B, K]; 0 for padding."""

  def local(x_B1, row_BK):
    row_BK = manual.localise(row_BK, len(x_B1), batch_axis)
    return x_B1[:, 0].at[row_BK].get(mode='fill', fill_value=0)

  rows, codes = P(batch_axis, None), P(batch_axis, axis)
  return manual.over_shards(local, (rows, codes), codes)(x_B1, row_BK)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def _sparse_decode(values_BK, index_BK, row_BK, w_SD, form, batch_axis, axis):
  def local(values_BK, index_BK, row_BK, w_SD):
    own = _own(
      (values_BK, index_BK, row_BK), len(values_BK), len(w_SD), batch_axis, axis
    )
    return manual.psum(forms.of(form, 'decode')(own, w_SD), axis)

  codes, rows = _specs(row_BK, batch_axis, axis)
  return manual.over_shards(local, (codes,) * 3 + (P(axis, None),), rows)(
    values_BK, index_BK, row_BK, w_SD
  )


def _decode_forward(values_BK, index_BK, row_BK, w_SD, form, batch_axis, axis):
  x_BD = _sparse_decode(
    values_BK, index_BK, row_BK, w_SD, form, batch_axis, axis
  )
  return x_BD, (values_BK, index_BK, row_BK, w_SD)


def _decode_backward(form, batch_axis, axis, residuals, g_BD):
  values_BK, index_BK, row_BK, w_SD = residuals

  def local(g_BD, values_BK, index_BK, row_BK, w_SD):
    own = _own(
      (values_BK, index_BK, row_BK), len(values_BK), len(w_SD), batch_axis, axis
    )
    dvalues_BK = forms.of(form, 'code_gradient')(g_BD, own, w_SD)
    if row_BK is None:  # Every shard has these entries; each knew a part.
      dvalues_BK = manual.psum(dvalues_BK, axis)
    dw_SD = forms.of(form, 'weight_gradient')(g_BD, own, s=len(w_SD))
    return dvalues_BK, manual.psum(dw_SD, batch_axis)

  (codes, rows), weights = _specs(row_BK, batch_axis, axis), P(axis, None)
  dvalues_BK, dw_SD = manual.over_shards(
    local, (rows, codes, codes, codes, weights), (codes, weights)
  )(g_BD, values_BK, index_BK, row_BK, w_SD)
  return dvalues_BK, None, None, dw_SD


_sparse_decode.defvjp(_decode_forward, _decode_backward)


def sparse_decode(
  values_BK: jax.Array,
  index_BK: jax.Array,
  w_SD: jax.Array,
  *,
  row_BK: jax.Array | None = None,
  batch_axis: str | None = None,
  axis: str | None = None,
) -> jax.Array:
  """Sums dictionary rows: out[b] = Σ values · w[index] over entries of row b.

  Args:
    values_BK: codes.
    index_BK: their concepts; S or more means padding, which adds nothing.
    w_SD: the dictionary.
    row_BK: their rows, where entries are packed.
    batch_axis: mesh axis that splits B, if any.
    axis: mesh axis that splits S, if any.
  """
  args = map(jnp.asarray, (values_BK, index_BK, w_SD))
  values_BK, index_BK, w_SD = args
  return _sparse_decode(
    values_BK, index_BK, row_BK, w_SD, forms.current(), batch_axis, axis
  )


@functools.partial(jax.custom_vjp, nondiff_argnums=(6, 7, 8))
def _sparse_encode(
  values_BK, index_BK, row_BK, u_BD, w_SD, b_S, form, batch_axis, axis
):
  del index_BK, row_BK, u_BD, w_SD, b_S, form, batch_axis, axis
  return values_BK


def _encode_forward(
  values_BK, index_BK, row_BK, u_BD, w_SD, b_S, form, batch_axis, axis
):
  del form, batch_axis, axis
  return values_BK, (index_BK, row_BK, u_BD, w_SD, b_S)


def _encode_backward(form, batch_axis, axis, residuals, g_BK):
  index_BK, row_BK, u_BD, w_SD, b_S = residuals

  def local(g_BK, index_BK, row_BK, u_BD, w_SD):
    own = _own((g_BK, index_BK, row_BK), len(g_BK), len(w_SD), batch_axis, axis)
    du_BD = manual.psum(forms.of(form, 'decode')(own, w_SD), axis)
    dw_SD = forms.of(form, 'weight_gradient')(u_BD, own, s=len(w_SD))
    db_S = jnp.zeros(len(w_SD), g_BK.dtype)
    db_S = db_S.at[own[1]].add(g_BK, mode='drop')
    return du_BD, manual.psum(dw_SD, batch_axis), manual.psum(db_S, batch_axis)

  (codes, rows), weights = _specs(row_BK, batch_axis, axis), P(axis, None)
  du_BD, dw_SD, db_S = manual.over_shards(
    local, (codes, codes, codes, rows, weights), (rows, weights, P(axis))
  )(g_BK, index_BK, row_BK, u_BD, w_SD)
  as_like = lambda dx, x: dx.astype(x.dtype)
  grads = as_like(du_BD, u_BD), as_like(dw_SD, w_SD), as_like(db_S, b_S)
  return None, None, None, *grads


_sparse_encode.defvjp(_encode_forward, _encode_backward)


def sparse_encode(
  values_BK: jax.Array,
  index_BK: jax.Array,
  u_BD: jax.Array,
  w_SD: jax.Array,
  b_S: jax.Array,
  *,
  row_BK: jax.Array | None = None,
  batch_axis: str | None = None,
  axis: str | None = None,
) -> jax.Array:
  """Gives values that were selected from u·Wᵀ + b the gradients of that.

  The values come back as they are. Their gradients go to rows, weights and
  bias at the selected concepts alone, rather than through a dense [B, S].

  Args:
    values_BK: (u·Wᵀ + b) at the entries.
    index_BK: their concepts; S or more means padding, without a gradient.
    u_BD: what was encoded.
    w_SD: the encoder, a row for each concept.
    b_S: its bias.
    row_BK: their rows, where entries are packed.
    batch_axis: mesh axis that splits B, if any.
    axis: mesh axis that splits S, if any.
  """
  return _sparse_encode(
    lax.stop_gradient(values_BK),
    index_BK, row_BK, u_BD, w_SD, b_S, forms.current(), batch_axis, axis,
  )  # fmt: skip
