"""What each prefix of a row's codes leaves of it, without holding [B, K, D].

A row loses one concept's part at a time, and is given it back on the way back:
so one residual [B, D] is all that is held, in both directions.
"""

import functools

import jax
from jax import lax
import jax.numpy as jnp

from saejax.ops import manual

P = jax.P


def _remove(values_BK, index_BK, w_SD, target_BD, batch_axis, axis):
  """Takes concepts from rows in turn: errors [K] and the last residual."""

  def remove(residual_BD, concept):
    value_B, index_B = concept
    row_BD = manual.take_rows(w_SD, index_B, axis)
    residual_BD = residual_BD - value_B[:, None] * row_BD
    return residual_BD, jnp.sum(residual_BD**2)

  residual_BD, errors_K = lax.scan(remove, target_BD, (values_BK.T, index_BK.T))
  return manual.psum(errors_K, batch_axis), residual_BD


def _restore(g_K, values_BK, index_BK, w_SD, residual_BD, batch_axis, axis):
  """Gives concepts back, last first: gradients of `_remove`'s errors."""

  def restore(state, concept):
    residual_BD, g_BD, dw_SD = state
    value_B, index_B, g = concept
    row_BD = manual.take_rows(w_SD, index_B, axis)
    g_BD = g_BD + 2 * g * residual_BD
    part_BD = value_B[:, None] * g_BD
    dw_SD = manual.add_rows(dw_SD, index_B, -part_BD, axis)
    residual_BD = residual_BD + value_B[:, None] * row_BD
    return (residual_BD, g_BD, dw_SD), -jnp.sum(g_BD * row_BD, axis=1)

  zeros = jnp.zeros_like(residual_BD), jnp.zeros_like(w_SD)
  (_, dtarget_BD, dw_SD), dvalues_KB = lax.scan(
    restore,
    (residual_BD, *zeros),
    (values_BK.T, index_BK.T, g_K),
    reverse=True,
  )
  return dvalues_KB.T, manual.psum(dw_SD, batch_axis), dtarget_BD


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _nested_errors(values_BK, index_BK, w_SD, target_BD, batch_axis, axis):
  return _forward(values_BK, index_BK, w_SD, target_BD, batch_axis, axis)[0]


def _forward(values_BK, index_BK, w_SD, target_BD, batch_axis, axis):
  rows = P(batch_axis, None)
  errors_K, residual_BD = manual.over_shards(
    functools.partial(_remove, batch_axis=batch_axis, axis=axis),
    (rows, rows, P(axis, None), rows),
    (P(None), rows),
  )(values_BK, index_BK, w_SD, target_BD)
  return errors_K, (values_BK, index_BK, w_SD, residual_BD)


def _backward(batch_axis, axis, residuals, g_K):
  rows, weights = P(batch_axis, None), P(axis, None)
  dvalues_BK, dw_SD, dtarget_BD = manual.over_shards(
    functools.partial(_restore, batch_axis=batch_axis, axis=axis),
    (P(None), rows, rows, weights, rows),
    (rows, weights, rows),
  )(g_K, *residuals)
  return dvalues_BK, None, dw_SD, dtarget_BD


_nested_errors.defvjp(_forward, _backward)


def nested_errors(
  values_BK: jax.Array,
  index_BK: jax.Array,
  w_SD: jax.Array,
  target_BD: jax.Array,
  *,
  batch_axis: str | None = None,
  axis: str | None = None,
) -> jax.Array:
  """Σ_b ‖target − Σ_{k ≤ j} values_k · w[index_k]‖² of every prefix j [K].

  The loss of HierarchicalTopK (Balagansky et al., arXiv 2505.24473),
  for codes that lie largest first. All of its gradients take O(B·K·D) time
  and O((B + S)·D) memory.

  Args:
    values_BK: codes, in the order in which they are added.
    index_BK: their concepts; S or more means padding, which adds nothing.
    w_SD: the dictionary.
    target_BD: what the codes are to reconstruct.
    batch_axis: mesh axis that splits B, if any.
    axis: mesh axis that splits S, if any.
  """
  args = map(jnp.asarray, (values_BK, index_BK, w_SD, target_BD))
  return _nested_errors(*args, batch_axis, axis)
