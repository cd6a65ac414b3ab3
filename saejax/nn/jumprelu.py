"""JumpReLU: z_i = pre_i where pre_i > θ_i, a threshold learned by concept.

Rajamanoharan et al., *Jumping ahead*, arXiv 2407.14435; gradients reach θ
through a rectangle (`ops.jump_relu`). Unlike BatchTopK, the threshold is a
parameter, and L0 is a loss: (L0/k − 1)², so that k is the mean, or λ·L0.
"""

import statistics

import jax
import jax.numpy as jnp

from saejax import ops
from saejax import types
from saejax.nn import linear


class JumpReLU(linear.LinearSAE):
  """Keeps what exceeds its concept's threshold.

  Attributes:
    l0: λ of a loss λ·L0 in place of the target k; None for the target.
    bandwidth: ε of the rectangle, in units of `rms`.
    rms: root mean square of an entry of the standardised rows.
  """

  l0: float | None = None
  bandwidth: float = 0.1
  rms: float = 1.0
  derived = ('rms',)

  def setup(self):
    super().setup()
    # What k of s random directions exceed in a row, if rows are Gaussian.
    share = min(max(1 - self.k / self.s, 0.5), 1 - 1e-6)
    start = self.rms * statistics.NormalDist().inv_cdf(share)
    # θ itself rather than its logarithm, in float32 whatever the compute type:
    # neither crawls where θ is small.
    self.threshold = self.param(
      'threshold', lambda _: jnp.full((self.s,), start, jnp.float32)
    )

  @property
  def width(self) -> float:
    """ε on the scale that the encoder reads."""
    return self.bandwidth * self.rms

  def activate(self, pre_BS: jax.Array, *, train: bool) -> types.Dense:
    del train  # The same rule at inference.
    return types.Dense(ops.jump_relu(pre_BS, self.threshold, self.width))
