"""Sparse autoencoders as Linen modules, one variant a file."""

import dataclasses

from saejax.nn.abs_topk import AbsTopK
from saejax.nn.archetypal import Archetypal
from saejax.nn.batch_topk import BatchTopK
from saejax.nn.gated import Gated
from saejax.nn.hierarchical_topk import HierarchicalTopK
from saejax.nn.jumprelu import JumpReLU
from saejax.nn.linear import LinearSAE
from saejax.nn.matryoshka import Matryoshka
from saejax.nn.modality_encoders import ModalityEncoders
from saejax.nn.mp import MP
from saejax.nn.nested_topk import NestedTopK
from saejax.nn.omp import OMP
from saejax.nn.p_anneal import PAnneal
from saejax.nn.relu import ReLU
from saejax.nn.topk import TopK
from saejax.nn.transcoder import Transcoder

# By the name that `--arch` and `config.json` use.
ARCHITECTURES: dict[str, type[LinearSAE]] = {
  'topk': TopK,
  'batch_topk': BatchTopK,
  'abs_topk': AbsTopK,
  'matryoshka': Matryoshka,
  'hierarchical_topk': HierarchicalTopK,
  'nested_topk': NestedTopK,
  'mp': MP,
  'omp': OMP,
  'archetypal': Archetypal,
  'jumprelu': JumpReLU,
  'relu': ReLU,
  'gated': Gated,
  'p_anneal': PAnneal,
  'modality_encoders': ModalityEncoders,
  'transcoder': Transcoder,
}


def own_fields(arch: str) -> tuple[str, ...]:
  """Names of the fields that a variant has besides those of every SAE."""
  names = lambda cls: [f.name for f in dataclasses.fields(cls)]
  shared = set(names(LinearSAE))
  return tuple(n for n in names(ARCHITECTURES[arch]) if n not in shared)


__all__ = [
  'ARCHITECTURES',
  'MP',
  'OMP',
  'AbsTopK',
  'Archetypal',
  'BatchTopK',
  'Gated',
  'HierarchicalTopK',
  'JumpReLU',
  'LinearSAE',
  'Matryoshka',
  'ModalityEncoders',
  'NestedTopK',
  'PAnneal',
  'ReLU',
  'TopK',
  'Transcoder',
  'own_fields',
]
