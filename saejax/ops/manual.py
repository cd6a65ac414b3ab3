"""Functions of local shards: running them, and what runs inside of them."""

from collections.abc import Callable

import jax
from jax import lax
import jax.numpy as jnp

Specs = tuple[jax.P, ...]


def over_shards(
  f: Callable[..., jax.Array | tuple[jax.Array, ...]],
  in_specs: Specs,
  out_specs: jax.P | Specs,
) -> Callable[..., jax.Array | tuple[jax.Array, ...]]:
  """`jax.shard_map` over the current mesh, or `f` itself if no axis is named.

  What `f` returns without an axis must be the same on all its shards: `f` has
  summed or gathered over that axis itself.
  """
  if not any(axis for spec in in_specs for axis in spec):
    return f
  return jax.shard_map(
    f, in_specs=in_specs, out_specs=out_specs, check_vma=False
  )


def psum(x: jax.Array, axis: str | None) -> jax.Array:
  """The sum over an axis of the mesh, if one is named."""
  return x if axis is None else lax.psum(x, axis)


def localise(index_B: jax.Array, s: int, axis: str | None) -> jax.Array:
  """Indices within this shard of s rows; those of other shards become s."""
  if axis is None:
    return index_B
  index_B = index_B - lax.axis_index(axis) * s
  return jnp.where((index_B >= 0) & (index_B < s), index_B, s)


def local_rows(
  w_SD: jax.Array, index_B: jax.Array, axis: str | None
) -> jax.Array:
  """w[index] [B, D] of this shard; rows of others and padding are 0."""
  index_B = localise(index_B, w_SD.shape[0], axis)
  return w_SD.at[index_B].get(mode='fill', fill_value=0)


def take_rows(
  w_SD: jax.Array, index_B: jax.Array, axis: str | None
) -> jax.Array:
  """w[index] [B, D] of a dictionary whose rows `axis` splits; padding is 0."""
  return psum(local_rows(w_SD, index_B, axis), axis)


def add_rows(
  w_SD: jax.Array, index_B: jax.Array, rows_BD: jax.Array, axis: str | None
) -> jax.Array:
  """Adds rows to w[index] of such a dictionary; padding is dropped."""
  index_B = localise(index_B, w_SD.shape[0], axis)
  return w_SD.at[index_B].add(rows_BD, mode='drop')
