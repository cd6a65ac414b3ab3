"""Gated: one head says which concepts are active, another how much.

  z_i = ReLU(exp(r_i)·(u W_enc)_i + b_mag_i)  where (u W_enc)_i + b_enc_i > 0

Rajamanoharan et al., *Improving dictionary learning with gated sparse
autoencoders*, arXiv 2404.16014. Unlike ReLU, the L1 penalty falls on the gate
ReLU(pre) alone, so it does not shrink the codes. The gate learns from it and
from reconstructing through the decoder, held fixed. `k` is ignored.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from saejax import types
from saejax.nn import linear


class Gated(linear.LinearSAE):
  """Keeps the magnitudes of concepts whose gate is open.

  Attributes:
    l1: λ, as of ReLU, on the gate's pre-activations.
    sparsity_warmup: share of the steps over which λ rises to its value.
  """

  l1: float = 0.3
  sparsity_warmup: float = 0.05
  meets_k = False

  def setup(self):
    super().setup()
    self.r_mag = self.param('r_mag', nn.initializers.zeros, (self.s,))
    self.b_mag = self.param('b_mag', nn.initializers.zeros, (self.s,))

  def activate(self, pre_BS: jax.Array, *, train: bool) -> types.Dense:
    del train  # The same rule at inference.
    shared_BS = pre_BS - self.b_enc[None]  # Both heads have its weights.
    magnitude_BS = jnp.exp(self.r_mag)[None] * shared_BS + self.b_mag[None]
    return types.Dense(jnp.where(pre_BS > 0, jax.nn.relu(magnitude_BS), 0))
