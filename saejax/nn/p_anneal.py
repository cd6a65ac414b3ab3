"""p-annealing: ReLU, made sparse by an Lp penalty whose p falls from 1.

Karvonen et al., *Measuring progress in dictionary learning*, arXiv 2408.00113.
Unlike ReLU, the penalty nears L0 as p falls, so it shrinks large codes ever
less. p stays 1 while λ rises and then falls linearly to `p`. At every step the
penalty has the size that L1 would have; the paper keeps its size from one p to
the next, over the last few batches, which would need a state.
"""

from saejax.nn import relu


class PAnneal(relu.ReLU):
  """Keeps every positive pre-activation.

  Attributes:
    l1: λ, as of ReLU.
    p: exponent at the end.
  """

  p: float = 0.2
