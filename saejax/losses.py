"""Losses: functions of (batch, out, params), dimensionless, on the mean row."""

import jax
from jax import lax
import jax.numpy as jnp

from saejax import ops
from saejax import sharding
from saejax import types
from saejax.nn import linear


def residual(batch: types.Batch, out: types.Output) -> jax.Array:
  """What the reconstruction misses [B, D], on the encoder's scale."""
  return (batch.target_BD - out.xhat_BD) * out.aux['scale_B1']


def unexplained(batch: types.Batch, out: types.Output) -> jax.Array:
  """Σ‖u − û‖² / Σ‖u − ū‖², the share of the batch's variance not explained."""
  u_BD = out.aux['u_BD']
  spread_BD = u_BD - jnp.mean(u_BD, axis=0, keepdims=True)
  return jnp.sum(residual(batch, out) ** 2) / jnp.sum(spread_BD**2)


def aux_k(
  batch: types.Batch,
  out: types.Output,
  params: types.ArrayTree,
  dead_S: jax.Array,
  k: int,
) -> jax.Array:
  """AuxK: dead concepts reconstruct the residual (arXiv 2406.04093, A.2).

  The k largest pre-activations of dead concepts in each row are decoded to
  predict what the live ones missed. Gradients reach encoder and decoder of the
  dead alone.

  Returns:
    ‖e − ê‖² / ‖e‖², or 0 while none is dead.
  """
  e_BD = lax.stop_gradient(residual(batch, out))
  dead_BS = jnp.broadcast_to(dead_S[None], out.aux['pre_BS'].shape)
  values_BK, index_BK = ops.top_k(
    jnp.where(dead_BS, out.aux['pre_BS'], -jnp.inf),
    k,
    batch_axis=sharding.axis(sharding.DATA),
    axis=sharding.axis(sharding.MODEL),
  )
  # Fewer than k may be dead. No ReLU: a concept that is dead because all its
  # pre-activations are negative would get no gradient through one.
  is_dead_BK = jnp.isfinite(values_BK)
  codes = types.Sparse(
    values_BK=jnp.where(is_dead_BK, values_BK, 0),
    index_BK=jnp.where(is_dead_BK, index_BK, dead_S.shape[0]),
  )
  ehat_BD = linear.decode_with(codes, params['w_dec'])
  loss = jnp.sum((e_BD - ehat_BD) ** 2) / jnp.sum(e_BD**2)
  return jnp.where(jnp.any(dead_S), loss, 0.0)
