"""MP: k steps of matching pursuit, each on what the others left of the row.

  r = u − b_dec;  k times:  i = argmax_i ⟨r, d_i⟩,  z_i += ⟨r, d_i⟩,
                            r −= ⟨r, d_i⟩ d_i

Costa et al., *From flat to hierarchical: extracting sparse representations with
matching pursuit*, arXiv 2506.03093. Unlike TopK, a concept is chosen given
those before it, and the dictionary encodes: there is no `w_enc` and no `b_enc`.
As in the paper, a concept may be chosen again, which adds to its code, so that
a row has at most k; gradients pass through all steps, but not the choice. A row
ends early once no ⟨r, d_i⟩ is positive, so that codes never are negative. `pre`
is ⟨u, d_i⟩, what the first step sees but for b_dec.
"""

import jax

from saejax import ops
from saejax import sharding
from saejax import types
from saejax.nn import linear


class MP(linear.LinearSAE):
  """Keeps what k greedy steps find in each row."""

  tied = True
  pursue = staticmethod(ops.matching_pursuit)

  def codes(
    self, u_BD: jax.Array, pre_BS: jax.Array, *, train: bool
  ) -> types.Sparse:
    del pre_BS, train  # The same steps at inference.
    values_BK, index_BK = self.pursue(
      self.without_bias(u_BD),
      self.w_dec,
      self.k,
      dtype=self.dtype,
      batch_axis=sharding.axis(sharding.DATA),
      axis=sharding.axis(sharding.MODEL),
    )
    return types.Sparse(values_BK=values_BK, index_BK=index_BK)

  def without_bias(self, u_BD: jax.Array) -> jax.Array:
    """What the dictionary is to reconstruct of standardised rows [B, D]."""
    return u_BD - self.b_dec[None] if self.use_b_dec else u_BD
