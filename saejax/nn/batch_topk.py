"""BatchTopK: z = the k·B largest of ReLU(pre) over the whole batch.

Bussmann, Leask and Nanda, *BatchTopK sparse autoencoders*, arXiv 2412.06410.
Unlike TopK, rows share the budget: k is the mean. A row must not depend on its
neighbours once training is over, so inference keeps `pre > threshold`, one
number that is estimated in training and calibrated at its end.
"""

import jax
import jax.numpy as jnp

from saejax import ops
from saejax import sharding
from saejax import types
from saejax.nn import linear


class BatchTopK(linear.LinearSAE):
  """Keeps the k·B largest positive pre-activations of the global batch."""

  def setup(self):
    super().setup()
    # Float32 whatever the compute type: in bfloat16 it could not move.
    self.threshold = self.variable(
      'constants', 'threshold', jnp.zeros, (), jnp.float32
    )

  def activate(
    self,
    pre_BS: jax.Array,
    *,
    train: bool,
    budget: jax.Array | None = None,
  ) -> types.Codes:
    if train:
      b = pre_BS.shape[0]
      count = None if budget is None else jnp.round(budget * b)
      values_BK, index_BK, row_BK = ops.packed_batch_top_k(
        pre_BS,
        self.k * b,
        count=count,
        batch_axis=sharding.axis(sharding.DATA),
        axis=sharding.axis(sharding.MODEL),
      )
      return types.Sparse(values_BK, index_BK, row_BK)
    kept_BS = pre_BS > jnp.maximum(self.threshold.value, 0)
    return types.Dense(jnp.where(kept_BS, pre_BS, 0))
