"""Runs a function on the local shards of its arguments, where there are any."""

from collections.abc import Callable

import jax

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
