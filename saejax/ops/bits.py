"""The n-th largest of positive floats, by bisection over their bits."""

from collections.abc import Callable

import jax
from jax import lax
import jax.numpy as jnp

MOST = 2**31 - 1  # Above the bits of every float.


def of(x: jax.Array) -> jax.Array:
  """Floats as integers of the same order; 0 for those that are not positive."""
  x = jnp.maximum(x, 0).astype(jnp.float32)
  return lax.bitcast_convert_type(x, jnp.int32)


def ordered(x: jax.Array) -> jax.Array:
  """Floats of any sign as integers of the same order."""
  i = lax.bitcast_convert_type(x.astype(jnp.float32), jnp.int32)
  return jnp.where(i < 0, i ^ MOST, i)


def largest(
  count_at_least: Callable[[jax.Array], jax.Array],
  n: int | jax.Array,
  high: int,
  low: int | jax.Array = 1,
) -> jax.Array:
  """The largest t in [low, high) with at least n entries ≥ t; low if none has.

  `count_at_least(t)` falls as t rises. Stops early once it is n exactly.
  """

  def undecided(state):
    low, high, count = state
    return (high - low > 1) & (count != n)

  def halve(state):
    low, high, count = state
    middle = low + (high - low) // 2
    at_middle = count_at_least(middle)
    enough = at_middle >= n
    return (
      jnp.where(enough, middle, low),
      jnp.where(enough, high, middle),
      jnp.where(enough, at_middle, count),
    )

  low = jnp.asarray(low, jnp.int32)
  start = low, jnp.int32(high), count_at_least(low)
  return lax.while_loop(undecided, halve, start)[0]
