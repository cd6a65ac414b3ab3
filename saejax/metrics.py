"""Metrics of training: sums on the device, divided once, on the host."""

import operator

import flax
import jax
import jax.numpy as jnp

from saejax import losses
from saejax import ops
from saejax import sharding
from saejax import types


@flax.struct.dataclass
class Metrics:
  """Additive sums over rows; `merge` is +, `compute` divides."""

  rows: jax.Array
  error: jax.Array  # Σ‖u − û‖², u being the standardised target.
  sum_D: jax.Array  # Σ u.
  square: jax.Array  # Σ‖u‖².
  active: jax.Array  # Non-zero codes.

  @classmethod
  def of(cls, batch: types.Batch, out: types.Output) -> 'Metrics':
    u_BD = losses.standardised(batch, out)
    return cls(
      rows=jnp.float32(u_BD.shape[0]),
      error=jnp.sum(losses.residual(batch, out) ** 2),
      sum_D=jnp.sum(u_BD, axis=0),
      square=jnp.sum(u_BD**2),
      active=jnp.sum(active(out.codes)).astype(jnp.float32),
    )

  def merge(self, other: 'Metrics') -> 'Metrics':
    return jax.tree.map(operator.add, self, other)

  def compute(self) -> dict[str, float]:
    """R² about the mean of the rows summed here, and L0."""
    m = jax.device_get(self)
    spread = m.square - (m.sum_D**2).sum() / m.rows
    return {
      'r2': float(1 - m.error / spread),
      'l0': float(m.active / m.rows),
    }


def active(codes: types.Codes) -> jax.Array:
  """Which codes are non-zero: [B, S], or of entries, [B, K]."""
  if isinstance(codes, types.Dense):
    return codes.z_BS != 0
  return codes.values_BK != 0


def fired(codes: types.Codes, s: int) -> jax.Array:
  """Which of s concepts were active in any row: bool [S]."""
  if isinstance(codes, types.Dense):
    return jnp.any(codes.z_BS != 0, axis=0)
  return ops.fired(
    codes.values_BK,
    codes.index_BK,
    s,
    row_BK=codes.row_BK,
    batch_axis=sharding.axis(sharding.DATA),
    axis=sharding.axis(sharding.MODEL),
  )
