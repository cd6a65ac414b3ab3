"""Matryoshka: BatchTopK whose first concepts reconstruct by themselves.

Bussmann et al., *Learning multi-level features with Matryoshka sparse
autoencoders*, arXiv 2503.17547. Unlike BatchTopK, the loss is the sum of those
of nested prefixes of the dictionary, so that general concepts come first and
are not absorbed by special ones. Codes are chosen once, over all concepts.
"""

from collections.abc import Sequence

from saejax.nn import batch_topk


class Matryoshka(batch_topk.BatchTopK):
  """Keeps the k·B largest positive pre-activations of the global batch.

  Attributes:
    groups: rising shares of the dictionary that are prefixes; 1, the whole, is
      always one more.
  """

  groups: Sequence[float] = (1 / 16, 1 / 8, 1 / 4, 1 / 2)

  @property
  def prefixes(self) -> tuple[int, ...]:
    """Sizes of the prefixes, without the whole."""
    sizes = sorted({max(round(share * self.s), 1) for share in self.groups})
    return tuple(size for size in sizes if size < self.s)
