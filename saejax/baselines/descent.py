"""Convex problems with a constraint or an L1 weight, by accelerated descent.

FISTA (Beck and Teboulle, 2009) with restarts (O'Donoghue and Candès, arXiv
1204.3982). Its proximal step gives exact zeros, which multiplicative updates
never reach.
"""

from collections.abc import Callable
import functools

import jax
from jax import lax
import jax.numpy as jnp

_SQUARINGS = 5


def largest_eigenvalue(gram_DD: jax.Array) -> jax.Array:
  """A bound from above, at most D^(1/64) times the eigenvalue itself.

  The Frobenius norm of G to the 32nd, to the 1/32: no start to choose, unlike
  power iteration, and a descent at its inverse as rate never overshoots.
  """
  log = jnp.zeros(())
  for i in range(_SQUARINGS):
    norm = jnp.maximum(jnp.linalg.norm(gram_DD), 1e-30)
    log += jnp.log(norm) / 2**i
    gram_DD = gram_DD / norm
    gram_DD = gram_DD @ gram_DD
  norm = jnp.maximum(jnp.linalg.norm(gram_DD), 1e-30)
  return jnp.exp(log + jnp.log(norm) / 2**_SQUARINGS)


def descend(
  start: jax.Array,
  step: Callable[[jax.Array], jax.Array],
  iterations: int,
  is_by_row: bool = True,
) -> jax.Array:
  """Repeats a proximal gradient step with momentum.

  Args:
    start: [B, S].
    step: one step of plain descent, with its projection or threshold.
    iterations: how many.
    is_by_row: whether rows are problems of their own, and restart alone.
  """
  axes = 1 if is_by_row else (0, 1)

  def iterate(_, state):
    z_BS, y_BS, pace_B1 = state
    new_BS = step(y_BS)
    onward_BS = new_BS - z_BS
    # Where momentum points away from the step, it begins again.
    away_B1 = jnp.sum((y_BS - new_BS) * onward_BS, axis=axes, keepdims=True)
    pace_B1 = jnp.where(away_B1 > 0, 1, pace_B1)
    next_B1 = (1 + jnp.sqrt(1 + 4 * pace_B1**2)) / 2
    return new_BS, new_BS + (pace_B1 - 1) / next_B1 * onward_BS, next_B1

  pace_B1 = jnp.ones((len(start) if is_by_row else 1, 1), start.dtype)
  state = start, start, pace_B1
  return lax.fori_loop(0, iterations, iterate, state)[0]


def soft_threshold(z: jax.Array, least: jax.Array) -> jax.Array:
  return jnp.sign(z) * jax.nn.relu(jnp.abs(z) - least)


@functools.partial(jax.jit, static_argnames=('signed', 'iterations', 'refit'))
def lasso(
  x_BD: jax.Array,
  w_SD: jax.Array,
  l1: jax.Array | float,
  *,
  signed: bool,
  iterations: int,
  refit: bool = False,
) -> jax.Array:
  """argmin of ½‖x − zD‖² + l1 Σ|z|, over z ≥ 0 unless signed: [B, S].

  Args:
    x_BD: rows.
    w_SD: atoms, of any norm.
    l1: weight; 0 for least squares.
    signed: whether codes may be negative.
    iterations: of the descent.
    refit: whether those that are not 0 are then fitted without the weight,
      which draws all codes towards 0. Without signed they stay non-negative,
      so that some may become 0.
  """
  rate = 1 / jnp.maximum(largest_eigenvalue(w_SD.T @ w_SD), 1e-30)
  clip = soft_threshold if signed else lambda z, t: jax.nn.relu(z - t)

  def step(z_BS, l1):
    slope_BS = (z_BS @ w_SD - x_BD) @ w_SD.T
    return clip(z_BS - rate * slope_BS, rate * l1)

  zeros_BS = jnp.zeros((len(x_BD), len(w_SD)), x_BD.dtype)
  z_BS = descend(zeros_BS, lambda z: step(z, l1), iterations)
  if not refit:
    return z_BS
  is_on_BS = z_BS != 0
  return descend(
    z_BS, lambda z: jnp.where(is_on_BS, step(z, 0.0), 0), iterations
  )
