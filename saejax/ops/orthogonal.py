"""Orthogonal matching pursuit: codes are fitted anew after every choice."""

import functools

import jax
from jax import lax
import jax.numpy as jnp

from saejax.ops import manual
from saejax.ops import pursuit

P = jax.P
_ITERATIONS = 32  # Of each fit, which starts from the one before.


def _overlaps(x_BD, index_BK, w_SD, axis):
  """⟨x, w[index]⟩ [B, K], a concept of every row at a time."""

  def one(index_B):
    return jnp.sum(x_BD * manual.local_rows(w_SD, index_B, axis), axis=1)

  return manual.psum(lax.map(one, index_BK.T), axis).T


def _decode(values_BK, index_BK, w_SD, axis):
  """Σ_k values · w[index] [B, D], a concept of every row at a time."""

  def add(x_BD, concept):
    value_B, index_B = concept
    row_BD = manual.local_rows(w_SD, index_B, axis)
    return x_BD + value_B[:, None] * row_BD, None

  zeros_BD = jnp.zeros((len(values_BK), w_SD.shape[1]), w_SD.dtype)
  x_BD, _ = lax.scan(add, zeros_BD, (values_BK.T, index_BK.T))
  return manual.psum(x_BD, axis)


def _nonnegative_fit(gram_BKK, overlap_BK, z_BK):
  """argmin of ½ zGz − ⟨overlap, z⟩ over z ≥ 0, by accelerated projection."""
  # No eigenvalue of a Gram matrix exceeds its largest row sum.
  bound_B1 = jnp.max(jnp.sum(jnp.abs(gram_BKK), axis=2), axis=1, keepdims=True)
  rate_B1 = 1 / jnp.maximum(bound_B1, pursuit.ROUNDING)

  def iterate(_, state):
    z_BK, y_BK, pace_B1 = state
    slope_BK = jnp.einsum('BKk,Bk->BK', gram_BKK, y_BK) - overlap_BK
    new_BK = jax.nn.relu(y_BK - rate_B1 * slope_BK)
    # A row that overshoots starts its momentum again (O'Donoghue and Candès,
    # arXiv 1204.3982), which makes the fit exact within few iterations.
    onward_BK = new_BK - z_BK
    away_B1 = jnp.sum((y_BK - new_BK) * onward_BK, axis=1, keepdims=True)
    pace_B1 = jnp.where(away_B1 > 0, 1, pace_B1)
    next_B1 = (1 + jnp.sqrt(1 + 4 * pace_B1**2)) / 2
    y_BK = new_BK + (pace_B1 - 1) / next_B1 * onward_BK
    return new_BK, y_BK, next_B1

  start = z_BK, z_BK, jnp.ones_like(rate_B1)
  return lax.fori_loop(0, _ITERATIONS, iterate, start)[0]


def _pursue(u_BD, w_SD, k: int, dtype: str, axis):
  b, s = len(u_BD), w_SD.shape[0]
  s *= 1 if axis is None else lax.axis_size(axis)
  least_B = pursuit.ROUNDING * jnp.linalg.norm(u_BD, axis=1)

  def step(t, state):
    residual_BD, z_BK, held_BK, gram_BKK, overlap_BK = state
    index_B = pursuit.best(residual_BD, w_SD, dtype, axis, held_BK)
    row_BD = manual.take_rows(w_SD, index_B, axis)
    is_found_B = jnp.sum(residual_BD * row_BD, axis=1) > least_B
    row_BD = jnp.where(is_found_B[:, None], row_BD, 0)
    held_BK = held_BK.at[:, t].set(jnp.where(is_found_B, index_B, s))
    new_BK = _overlaps(row_BD, held_BK, w_SD, axis)
    gram_BKK = gram_BKK.at[:, t].set(new_BK).at[:, :, t].set(new_BK)
    overlap_BK = overlap_BK.at[:, t].set(jnp.sum(u_BD * row_BD, axis=1))
    z_BK = _nonnegative_fit(gram_BKK, overlap_BK, z_BK)
    residual_BD = u_BD - _decode(z_BK, held_BK, w_SD, axis)
    return residual_BD, z_BK, held_BK, gram_BKK, overlap_BK

  zeros_BK = jnp.zeros((b, k), u_BD.dtype)
  gram_BKK = jnp.zeros((b, k, k), u_BD.dtype)
  start = u_BD, zeros_BK, jnp.full((b, k), s), gram_BKK, zeros_BK
  _, z_BK, held_BK, *_ = lax.fori_loop(0, k, step, start)
  return z_BK, jnp.where(z_BK > 0, held_BK, s)


def orthogonal_pursuit(
  u_BD: jax.Array,
  w_SD: jax.Array,
  k: int,
  *,
  dtype: str = 'float32',
  batch_axis: str | None = None,
  axis: str | None = None,
) -> tuple[jax.Array, jax.Array]:
  """Codes of k greedy choices, none of them negative; they have no gradient.

  Each step takes the concept of largest ⟨residual, w_i⟩ that has not been
  taken (Pati et al., 1993) and fits the codes of all so far to the row by
  least squares, kept from going negative. Takes O(k·B·S·D + k²·B·D) time and
  O(B·(S + k²)) memory.

  Args:
    u_BD: rows.
    w_SD: unit rows of a dictionary.
    k: how many steps.
    dtype: of the matmul that chooses.
    batch_axis: mesh axis that splits B, if any.
    axis: mesh axis that splits S, if any.

  Returns:
    Values [B, k] and their concepts [B, k]; padding is (0, S).
  """
  rows = P(batch_axis, None)
  return manual.over_shards(
    functools.partial(_pursue, k=k, dtype=dtype, axis=axis),
    (rows, P(axis, None)),
    (rows, rows),
  )(*map(lax.stop_gradient, map(jnp.asarray, (u_BD, w_SD))))
