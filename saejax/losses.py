"""Losses: functions of (batch, out, params), dimensionless, on the mean row."""

from collections.abc import Callable

import jax
from jax import lax
import jax.numpy as jnp

from saejax import nn
from saejax import ops
from saejax import sharding
from saejax import types
from saejax.nn import linear

# Concepts over AuxK's codes, up to which a matmul with all decoder rows is less
# than sums of some.
_FEW = 8


def residual(batch: types.Batch, out: types.Output) -> jax.Array:
  """What the reconstruction misses [B, D], on the encoder's scale."""
  return (batch.target_BD - out.xhat_BD) * out.aux['scale_B1']


def standardised(batch: types.Batch, out: types.Output) -> jax.Array:
  """The target u [B, D] on the encoder's scale."""
  if batch.y_BD is None:
    return out.aux['u_BD']
  return (batch.y_BD - out.aux['center_BD']) * out.aux['scale_B1']


def spread(batch: types.Batch, out: types.Output) -> jax.Array:
  """Σ‖u − ū‖² of the batch's targets."""
  u_BD = standardised(batch, out)
  return jnp.sum((u_BD - jnp.mean(u_BD, axis=0, keepdims=True)) ** 2)


def unexplained(batch: types.Batch, out: types.Output) -> jax.Array:
  """Σ‖u − û‖² / Σ‖u − ū‖², the share of the batch's variance not explained."""
  return jnp.sum(residual(batch, out) ** 2) / spread(batch, out)


def _dead_codes(
  out: types.Output,
  params: types.ArrayTree,
  dead_S: jax.Array,
  k: int,
  signed: bool,
) -> types.Codes:
  """The k largest pre-activations of dead concepts in each row.

  Fewer than k may be dead. No ReLU: a concept that is dead because all its
  pre-activations are negative would get no gradient through one.
  """
  pre_BS = out.aux['pre_BS']
  never = 0.0 if signed else -jnp.inf
  of_dead_BS = jnp.where(dead_S[None], pre_BS, never)
  if dead_S.shape[0] <= _FEW * k:
    kept_BS = lax.cond(
      jnp.sum(dead_S) <= k,
      lambda x_BS: x_BS != never,
      lambda x_BS: ops.is_among_top_k(jnp.abs(x_BS) if signed else x_BS, k),
      lax.stop_gradient(of_dead_BS),
    )
    return types.Dense(jnp.where(kept_BS, pre_BS, 0))
  values_BK, index_BK = ops.top_k(
    of_dead_BS,
    k,
    by_magnitude=signed,
    batch_axis=sharding.axis(sharding.DATA),
    axis=sharding.axis(sharding.MODEL),
  )
  is_dead_BK = values_BK != never
  codes = types.Sparse(
    values_BK=jnp.where(is_dead_BK, values_BK, 0),
    index_BK=jnp.where(is_dead_BK, index_BK, dead_S.shape[0]),
  )
  if 'w_enc' not in params:  # Gradients pass through all of pre_BS.
    return codes
  return linear.encode_with(
    codes, out.aux['u_BD'], params['w_enc'], params['b_enc']
  )


def aux_k(
  batch: types.Batch,
  out: types.Output,
  params: types.ArrayTree,
  dead_S: jax.Array,
  k: int,
  signed: bool = False,
) -> jax.Array:
  """AuxK: dead concepts reconstruct the residual (arXiv 2406.04093, A.2).

  The k largest pre-activations of dead concepts in each row are decoded to
  predict what the live ones missed. Gradients reach encoder and decoder of the
  dead alone. Where codes are signed, the largest are those of largest |pre|.

  Returns:
    ‖e − ê‖² / ‖e‖², or 0 while none is dead.
  """
  e_BD = lax.stop_gradient(residual(batch, out))
  codes = _dead_codes(out, params, dead_S, k, signed)
  ehat_BD = linear.decode_with(codes, params['w_dec'])
  loss = jnp.sum((e_BD - ehat_BD) ** 2) / jnp.sum(e_BD**2)
  return jnp.where(jnp.any(dead_S), loss, 0.0)


def multi_top_k(
  sae: nn.LinearSAE,
  batch: types.Batch,
  out: types.Output,
  params: types.ArrayTree,
) -> jax.Array:
  """The unexplained share when four times as many codes stay.

  MultiTopK (arXiv 2406.04093, A.3): a second reconstruction, by the 4k largest
  positive pre-activations of each row, keeps codes beyond the k-th meaningful.
  """
  values_BK, index_BK = ops.top_k(
    out.aux['pre_BS'],
    min(_MORE * sae.k, sae.s),
    batch_axis=sharding.axis(sharding.DATA),
    axis=sharding.axis(sharding.MODEL),
  )
  live_BK = values_BK > 0
  codes = types.Sparse(
    values_BK=jnp.where(live_BK, values_BK, 0),
    index_BK=jnp.where(live_BK, index_BK, sae.s),
  )
  codes = linear.encode_with(
    codes, out.aux['u_BD'], params['w_enc'], params['b_enc']
  )
  return _unexplained_by(sae, batch, out, params, codes, params['w_dec'])


Penalty = Callable[
  [nn.LinearSAE, types.Batch, types.Output, types.ArrayTree, jax.Array],
  jax.Array,
]
_MORE = 4  # Codes of MultiTopK, in units of k.
_SMALL, _TINY = 1e-3, 1e-12


def norms(
  batch: types.Batch, out: types.Output, params: types.ArrayTree, z_BS
) -> jax.Array:
  """z_i ‖d_i‖ in units of the rows' spread √E‖u − ū‖²."""
  norm_S = jnp.linalg.norm(params['w_dec'], axis=1)
  unit = jnp.sqrt(spread(batch, out) / out.xhat_BD.shape[0])
  return z_BS * norm_S[None] / unit


def _warm(sae, progress: jax.Array) -> jax.Array | float:
  warmup = sae.sparsity_warmup
  return jnp.minimum(progress / warmup, 1.0) if warmup else 1.0


def l1(sae, batch, out, params, progress) -> jax.Array:
  """λ Σ z_i ‖d_i‖ of ReLU, the mean over rows."""
  z_BS = out.aux['codes'].z_BS
  total = jnp.sum(norms(batch, out, params, z_BS)) / z_BS.shape[0]
  return sae.l1 * _warm(sae, progress) * total


def annealed(sae, batch, out, params, progress) -> jax.Array:
  """Σ (z_i ‖d_i‖)^p of p-annealing, at the size of the L1 penalty."""
  size = lax.stop_gradient(l1(sae, batch, out, params, progress))
  start = sae.sparsity_warmup
  fallen = jnp.clip((progress - start) / (1 - start), 0.0, 1.0)
  p = 1 - (1 - sae.p) * fallen
  z_BS = norms(batch, out, params, out.aux['codes'].z_BS)
  # The slope of z^p is infinite at 0; from 1e-3 of the spread on it is not.
  total = jnp.sum((z_BS + _SMALL) ** p - _SMALL**p)
  return size * total / jnp.maximum(lax.stop_gradient(total), _TINY)


def target_l0(sae, batch, out, params, progress) -> jax.Array:
  """(L0/k − 1)² of JumpReLU, L0 being the batch's mean; or λ·L0."""
  del batch, progress
  pre_BS = out.aux['pre_BS']
  step_BS = ops.heaviside(pre_BS, params['threshold'], sae.width)
  l0 = jnp.sum(step_BS) / pre_BS.shape[0]
  return (l0 / sae.k - 1) ** 2 if sae.l0 is None else sae.l0 * l0


def _unexplained_by(sae, batch, out, params, codes, w_SD) -> jax.Array:
  """What codes on the encoder's scale leave unexplained, with a dictionary."""
  uhat_BD = linear.decode_with(codes, w_SD)
  if sae.use_b_dec:
    uhat_BD += params['b_dec'][None]
  missed_BD = standardised(batch, out) - uhat_BD
  return jnp.sum(missed_BD**2) / spread(batch, out)


def gate(sae, batch, out, params, progress) -> jax.Array:
  """λ Σ ReLU(pre_i) ‖d_i‖ of Gated, and what the gate alone leaves unexplained.

  Both hold the decoder fixed, so that it learns from the codes alone.
  """
  frozen = jax.tree.map(lax.stop_gradient, params)
  gate_BS = jax.nn.relu(out.aux['pre_BS'])
  total = jnp.sum(norms(batch, out, frozen, gate_BS)) / gate_BS.shape[0]
  error = _unexplained_by(
    sae, batch, out, frozen, types.Dense(gate_BS), frozen['w_dec']
  )
  return sae.l1 * _warm(sae, progress) * total + error


def nested(sae, batch, out, params, progress) -> jax.Array:
  """The sum of what each of Matryoshka's prefixes leaves unexplained."""
  del progress
  codes, total = out.aux['codes'], jnp.float32(0)
  for size in sae.prefixes:
    is_first_BK = codes.index_BK < size
    part = codes.replace(
      values_BK=jnp.where(is_first_BK, codes.values_BK, 0),
      index_BK=jnp.where(is_first_BK, codes.index_BK, sae.s),
    )
    total += _unexplained_by(sae, batch, out, params, part, params['w_dec'])
  return total


def budgets(sae, batch, out, params, progress) -> jax.Array:
  """What makes of the loss the mean over a row's budgets, as `weights` say.

  The whole budget is in the loss already, so its own weight is taken off it.
  """
  del progress
  *smaller, whole = sae.weights
  goal_BD = standardised(batch, out)
  if sae.use_b_dec:
    goal_BD -= params['b_dec'][None]
  codes = out.aux['codes']
  errors_K = ops.nested_errors(
    codes.values_BK[:, :-1],
    codes.index_BK[:, :-1],
    params['w_dec'],
    goal_BD,
    batch_axis=sharding.axis(sharding.DATA),
    axis=sharding.axis(sharding.MODEL),
  )
  mean = jnp.sum(jnp.asarray(smaller) * errors_K) / spread(batch, out)
  return mean + (whole - 1) * unexplained(batch, out)


# What a variant adds to the loss; the others add nothing.
PENALTIES: dict[type[nn.LinearSAE], Penalty] = {
  nn.ReLU: l1,
  nn.PAnneal: annealed,
  nn.JumpReLU: target_l0,
  nn.Gated: gate,
  nn.Matryoshka: nested,
  nn.HierarchicalTopK: budgets,
  nn.NestedTopK: budgets,
}
