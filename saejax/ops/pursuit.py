"""Matching pursuit: concepts are chosen one by one, on what is left of a row.

Choosing has no gradient; the codes have that of the whole chain of steps. On
the way back a row is given its concepts again, last first, so that of its k
residuals one [B, D] is held.
"""

import functools

import jax
from jax import lax
import jax.numpy as jnp

from saejax.ops import manual

P = jax.P
# Of a row's norm: smaller products are the rounding of ⟨residual, w⟩ = 0, as of
# the concept that was taken last.
ROUNDING = 1e-6


def best(residual_BD, w_SD, dtype, axis, held_BK=None) -> jax.Array:
  """The concept [B] of largest ⟨residual, w⟩, but for those held already."""
  score_BS = jnp.einsum(
    'BD,SD->BS',
    residual_BD.astype(dtype),
    w_SD.astype(dtype),
    preferred_element_type=jnp.float32,
  )
  if held_BK is not None:
    held_BK = manual.localise(held_BK, w_SD.shape[0], axis)
    rows_B1 = jnp.arange(len(held_BK))[:, None]
    score_BS = score_BS.at[rows_B1, held_BK].set(-jnp.inf, mode='drop')
  index_B = jnp.argmax(score_BS, axis=1)
  if axis is None:
    return index_B
  index_B += lax.axis_index(axis) * w_SD.shape[0]
  # Of equal scores the first shard's comes first, so ties go as on one device.
  score_MB = lax.all_gather(jnp.max(score_BS, axis=1), axis)
  index_MB = lax.all_gather(index_B, axis)
  winner_1B = jnp.argmax(score_MB, axis=0, keepdims=True)
  return jnp.take_along_axis(index_MB, winner_1B, axis=0)[0]


def _pursue(u_BD, w_SD, k: int, dtype: str, axis):
  """k steps: merged codes, their concepts, and what going back needs."""
  s = w_SD.shape[0] * (1 if axis is None else lax.axis_size(axis))
  least_B = ROUNDING * jnp.linalg.norm(u_BD, axis=1)

  def step(state, t):
    residual_BD, codes_BK, held_BK = state
    index_B = best(residual_BD, w_SD, dtype, axis)
    row_BD = manual.take_rows(w_SD, index_B, axis)
    value_B = jnp.sum(residual_BD * row_BD, axis=1)
    value_B = jnp.where(value_B > least_B, value_B, 0)
    index_B = jnp.where(value_B > 0, index_B, s)
    residual_BD -= value_B[:, None] * row_BD
    # A concept that was chosen before keeps its place, and its code grows.
    same_BK = held_BK == index_B[:, None]
    again_B = jnp.any(same_BK, axis=1)
    place_B = jnp.where(again_B, jnp.argmax(same_BK, axis=1), t)
    here_BK = place_B[:, None] == jnp.arange(k)[None]
    codes_BK += jnp.where(here_BK, value_B[:, None], 0)
    held_BK = jnp.where(here_BK, index_B[:, None], held_BK)
    return (residual_BD, codes_BK, held_BK), (value_B, index_B, place_B)

  start = u_BD, jnp.zeros((len(u_BD), k)), jnp.full((len(u_BD), k), s)
  (residual_BD, codes_BK, held_BK), steps = lax.scan(step, start, jnp.arange(k))
  return codes_BK, held_BK, residual_BD, *(a.T for a in steps)


def _retrace(
  g_BK, w_SD, residual_BD, value_BK, index_BK, place_BK, batch_axis, axis
):
  """Gradients of codes to rows and dictionary, the last step first."""
  g_BK = jnp.take_along_axis(g_BK, place_BK, axis=1)

  def back(state, taken):
    residual_BD, g_BD, dw_SD = state
    value_B, index_B, g_B = taken
    row_BD = manual.take_rows(w_SD, index_B, axis)
    residual_BD += value_B[:, None] * row_BD  # As it was before the step.
    # Both ways on from ⟨residual, row⟩: the code, and what the step left.
    g_B = jnp.where(value_B > 0, g_B - jnp.sum(g_BD * row_BD, axis=1), 0)
    row_g_BD = g_B[:, None] * residual_BD - value_B[:, None] * g_BD
    dw_SD = manual.add_rows(dw_SD, index_B, row_g_BD, axis)
    return (residual_BD, g_BD + g_B[:, None] * row_BD, dw_SD), None

  start = residual_BD, jnp.zeros_like(residual_BD), jnp.zeros_like(w_SD)
  steps = value_BK.T, index_BK.T, g_BK.T
  (_, du_BD, dw_SD), _ = lax.scan(back, start, steps, reverse=True)
  return du_BD, manual.psum(dw_SD, batch_axis)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4, 5))
def _matching_pursuit(u_BD, w_SD, k, dtype, batch_axis, axis):
  return _forward(u_BD, w_SD, k, dtype, batch_axis, axis)[0]


def _forward(u_BD, w_SD, k, dtype, batch_axis, axis):
  rows = P(batch_axis, None)
  codes_BK, held_BK, *trace = manual.over_shards(
    functools.partial(_pursue, k=k, dtype=dtype, axis=axis),
    (rows, P(axis, None)),
    (rows,) * 6,
  )(u_BD, w_SD)
  return (codes_BK, held_BK), (w_SD, *trace)


def _backward(k, dtype, batch_axis, axis, residuals, cotangents):
  del k, dtype
  rows, weights = P(batch_axis, None), P(axis, None)
  return manual.over_shards(
    functools.partial(_retrace, batch_axis=batch_axis, axis=axis),
    (rows, weights, rows, rows, rows, rows),
    (rows, weights),
  )(cotangents[0], *residuals)


_matching_pursuit.defvjp(_forward, _backward)


def matching_pursuit(
  u_BD: jax.Array,
  w_SD: jax.Array,
  k: int,
  *,
  dtype: str = 'float32',
  batch_axis: str | None = None,
  axis: str | None = None,
) -> tuple[jax.Array, jax.Array]:
  """Codes of k greedy steps (Mallat and Zhang, 1993), none of them negative.

  Each step takes the concept of largest ⟨residual, w_i⟩, adds that to its
  code, and takes its part from the residual. A row ends early once no concept
  is positive. Takes O(k·B·S·D) time, and O(k·B·D) for the gradients.

  Args:
    u_BD: rows.
    w_SD: unit rows of a dictionary.
    k: how many steps.
    dtype: of the matmul that chooses; codes are read in float32.
    batch_axis: mesh axis that splits B, if any.
    axis: mesh axis that splits S, if any.

  Returns:
    Values [B, k], through which gradients reach both arrays, and their
    concepts [B, k], each of them once; padding is (0, S).
  """
  u_BD, w_SD = jnp.asarray(u_BD), jnp.asarray(w_SD)
  return _matching_pursuit(u_BD, w_SD, k, dtype, batch_axis, axis)
