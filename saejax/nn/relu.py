"""ReLU: z = ReLU(pre), made sparse by an L1 penalty.

The penalty is λ Σ z_i ‖d_i‖, weighted by the norms of the decoder's rows, so
that codes cannot shrink at the cost of longer rows (Conerly et al., *Update on
how we train SAEs*, Anthropic, April 2024). λ rises over the first steps.
Unlike TopK, nothing sets the number of active concepts: λ does, and `k` is
ignored.
"""

import jax

from saejax import types
from saejax.nn import linear


class ReLU(linear.LinearSAE):
  """Keeps every positive pre-activation.

  Attributes:
    l1: λ, for codes in units of the rows' spread √E‖u − ū‖². The paper's λ,
      for rows of norm √D, is l1·√D.
    sparsity_warmup: share of the steps over which λ rises to its value.
  """

  l1: float = 0.1
  sparsity_warmup: float = 0.05
  meets_k = False

  def activate(self, pre_BS: jax.Array, *, train: bool) -> types.Dense:
    del train  # The same rule at inference.
    return types.Dense(jax.nn.relu(pre_BS))
