"""HierarchicalTopK: TopK whose every smaller budget reconstructs as well.

  loss = (1/k) Σ_{j ≤ k} what the j largest codes of a row leave unexplained

Balagansky et al., *Train one sparse autoencoder across multiple sparsity
budgets*, arXiv 2505.24473. Unlike TopK, the loss is the mean over all budgets,
so that one dictionary serves every k up to its own. Codes are those of TopK.
"""

from saejax.nn import topk


class HierarchicalTopK(topk.TopK):
  """Keeps the k largest positive pre-activations of each row."""

  @property
  def weights(self) -> tuple[float, ...]:
    """Weights of budgets 1…k in the loss; they add up to 1."""
    return (1 / self.k,) * self.k
