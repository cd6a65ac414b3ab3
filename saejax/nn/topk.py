"""TopK: z = the k largest of ReLU(pre), row by row.

Gao et al., *Scaling and evaluating sparse autoencoders*, arXiv 2406.04093.
Unlike BatchTopK, every row has the same number of active concepts.
"""

import jax
import jax.numpy as jnp

from saejax import ops
from saejax import sharding
from saejax import types
from saejax.nn import linear


class TopK(linear.LinearSAE):
  """Keeps the k largest positive pre-activations of each row."""

  def activate(
    self,
    pre_BS: jax.Array,
    *,
    train: bool,
    budget: jax.Array | None = None,
  ) -> types.Sparse:
    del train  # The same rule at inference.
    values_BK, index_BK = ops.top_k(
      pre_BS,
      self.k,
      batch_axis=sharding.axis(sharding.DATA),
      axis=sharding.axis(sharding.MODEL),
    )
    # A row with fewer than k positive entries is padded.
    live_BK = values_BK > 0
    if budget is not None:
      live_BK &= jnp.arange(self.k)[None] < jnp.round(budget)
    return types.Sparse(
      values_BK=jnp.where(live_BK, values_BK, 0),
      index_BK=jnp.where(live_BK, index_BK, self.s),
    )
