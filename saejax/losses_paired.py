"""Losses of matched rows: what an image and its text should share.

The M rows of a pair lie side by side in a batch [G·M], G being pairs, so that
no mesh parts a pair. Codes are compared on the encoder's scale.
"""

import jax
import jax.numpy as jnp

from saejax import losses
from saejax import nn
from saejax import ops
from saejax import sharding
from saejax import types

_TINY = 1e-12


def by_pair(out: types.Output, m: int) -> jax.Array:
  """Codes of pairs, dense, on the encoder's scale: [G, M, S]."""
  codes = out.aux['codes']
  if isinstance(codes, types.Dense):
    z_BS = codes.z_BS
  else:
    z_BS = ops.to_dense(
      codes.values_BK,
      codes.index_BK,
      out.aux['pre_BS'].shape[1],
      row_BK=codes.row_BK,
      batch_axis=sharding.axis(sharding.DATA),
      axis=sharding.axis(sharding.MODEL),
    )
  b, s = z_BS.shape
  return z_BS.reshape(b // m, m, s)


def alignment(z_GMS: jax.Array) -> jax.Array:
  """1 − the mean cosine of the codes of matched rows, over pairs of sides.

  The alignment term of Dhimoïla et al., arXiv 2602.06218, −β·cos(z_ι, z_τ) in
  their code (β = 0.03), moved to lie in 0…1 for codes that are not negative;
  theirs leaves out the strongest concept of each row, this does not. Where all
  matched rows share their codes, a concept has the same energy on every side,
  which is the paper's assumption (iso-energy); the converse does not hold.
  """
  m = z_GMS.shape[1]
  square_GM = jnp.sum(z_GMS**2, axis=2)
  # The gradient of a norm is infinite at 0, where a row has no active concept.
  unit_GMS = z_GMS * jax.lax.rsqrt(square_GM + _TINY)[..., None]
  sum_GS = jnp.sum(unit_GMS, axis=1)
  # Σ over ordered pairs of unlike sides: ‖Σ_m û_m‖² − Σ_m ‖û_m‖².
  cross_G = jnp.sum(sum_GS**2, axis=1) - jnp.sum(unit_GMS**2, axis=(1, 2))
  return 1 - jnp.mean(cross_G) / (m * (m - 1))


def group_sparsity(z_GMS: jax.Array) -> jax.Array:
  """Σ_i √(Σ_m z_mi²), the L2,1 norm of a pair's codes; the mean over pairs.

  The group lasso (Yuan and Lin, 2006) with a group for each concept of a pair:
  two sides that share a concept pay √2 where two that do not pay 2. For
  autoencoders of two modalities: Kaushik et al., arXiv 2601.20028.
  """
  square_GS = jnp.sum(z_GMS**2, axis=1)
  is_on_GS = square_GS > 0
  norm_GS = jnp.sqrt(jnp.where(is_on_GS, square_GS, 1.0))
  return jnp.sum(jnp.where(is_on_GS, norm_GS, 0.0)) / z_GMS.shape[0]


def make_penalty(
  align: float, group_sparse: float, m: int = 2
) -> losses.Penalty | None:
  """align·alignment + group_sparse·group_sparsity, or None if both are 0.

  The group norm is of z_i ‖d_i‖ in units of the rows' spread, as L1 is.
  """
  if not align and not group_sparse:
    return None

  def penalty(sae: nn.LinearSAE, batch, out, params, progress) -> jax.Array:
    del sae, progress
    z_GMS = by_pair(out, m)
    total = jnp.float32(0)
    if align:
      total += align * alignment(z_GMS)
    if group_sparse:
      g, _, s = z_GMS.shape
      flat_BS = losses.norms(batch, out, params, z_GMS.reshape(g * m, s))
      total += group_sparse * group_sparsity(flat_BS.reshape(g, m, s))
    return total

  return penalty
