"""NestedTopK: TopK whose loss is that of a few nested budgets.

  loss = Σ_i α_i · what the k_i largest codes of a row leave unexplained

Zaigrajew, Baniecki and Biecek, *Interpreting CLIP with hierarchical sparse
autoencoders* (MSAE), arXiv 2502.20578. Unlike HierarchicalTopK, budgets are
few, and α is uniform, or reverse: n, …, 2, 1, the most for the smallest. Here α
adds up to 1, so that the loss has the size of the other variants'. The paper's
largest budget is near the width, and all of it encodes; here it is k.
"""

from collections.abc import Sequence
from typing import ClassVar

from saejax.nn import hierarchical_topk


class NestedTopK(hierarchical_topk.HierarchicalTopK):
  """Keeps the k largest positive pre-activations of each row.

  Attributes:
    budgets: shares of k that reconstruct by themselves; 1, the whole, is always
      one more.
    weighting: 'uniform', or 'reverse' for the most weight on small budgets.
  """

  budgets: Sequence[float] = (1 / 8, 1 / 4, 1 / 2)
  weighting: str = 'uniform'

  WEIGHTINGS: ClassVar[tuple[str, ...]] = ('uniform', 'reverse')

  @property
  def sizes(self) -> tuple[int, ...]:
    """Rising budgets, the last of them k."""
    shares = (*self.budgets, 1.0)
    return tuple(sorted({max(round(share * self.k), 1) for share in shares}))

  @property
  def weights(self) -> tuple[float, ...]:
    """Weights of budgets 1…k in the loss; they add up to 1."""
    n = len(self.sizes)
    rank = range(n, 0, -1) if self.weighting == 'reverse' else (1,) * n
    of = dict(zip(self.sizes, rank, strict=True))
    return tuple(of.get(j, 0) / sum(rank) for j in range(1, self.k + 1))
