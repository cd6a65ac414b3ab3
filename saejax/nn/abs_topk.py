"""AbsTopK: z = the k of largest |pre|, row by row, with their signs.

Zhu et al., *AbsTopK: rethinking sparse autoencoders for bidirectional
features*, arXiv 2510.00404. Unlike TopK, a concept has two ends, one for each
sign of its code: active means not zero, rather than positive.
"""

import jax
import jax.numpy as jnp

from saejax import ops
from saejax import sharding
from saejax import types
from saejax.nn import linear


class AbsTopK(linear.LinearSAE):
  """Keeps the k pre-activations of each row that are largest in magnitude."""

  signed = True

  def activate(self, pre_BS: jax.Array, *, train: bool) -> types.Sparse:
    del train  # The same rule at inference.
    values_BK, index_BK = ops.top_k(
      pre_BS,
      self.k,
      by_magnitude=True,
      batch_axis=sharding.axis(sharding.DATA),
      axis=sharding.axis(sharding.MODEL),
    )
    return types.Sparse(
      values_BK=values_BK,
      index_BK=jnp.where(values_BK != 0, index_BK, self.s),
    )
