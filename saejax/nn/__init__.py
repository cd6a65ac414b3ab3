"""Sparse autoencoders as Linen modules, one variant a file."""

from saejax.nn.batch_topk import BatchTopK
from saejax.nn.linear import LinearSAE
from saejax.nn.topk import TopK

# By the name that `--arch` and `config.json` use.
ARCHITECTURES: dict[str, type[LinearSAE]] = {
  'topk': TopK,
  'batch_topk': BatchTopK,
}

__all__ = ['ARCHITECTURES', 'BatchTopK', 'LinearSAE', 'TopK']
