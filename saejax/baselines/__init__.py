"""Other linear methods, to hold sparse autoencoders against."""

from collections.abc import Callable
import dataclasses

from saejax.baselines import convex_nmf
from saejax.baselines import ica
from saejax.baselines import kmeans
from saejax.baselines import pca
from saejax.baselines import random_directions
from saejax.baselines import semi_nmf
from saejax.baselines import sparse_coding
from saejax.baselines.codes import encode
from saejax.baselines.codes import pursue
from saejax.baselines.codes import tune
from saejax.baselines.dictionary import decode
from saejax.baselines.dictionary import Dictionary


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
  """A method by the name that `pareto --methods` uses.

  Attributes:
    fit: `fit(x_ND, s, seed)`, and `l0` and `steps` if it is fitted for an L0.
    for_l0: whether a dictionary is fitted for each L0.
    is_random: whether the seed matters.
    is_capped: whether it has no more atoms than the width.
  """

  fit: Callable[..., Dictionary]
  for_l0: bool = False
  is_random: bool = True
  is_capped: bool = False


METHODS = {
  'pca': Method(fit=pca.fit, is_random=False, is_capped=True),
  'ica': Method(fit=ica.fit, is_capped=True),
  'kmeans': Method(fit=kmeans.fit),
  'semi_nmf': Method(fit=semi_nmf.fit, for_l0=True),
  'convex_nmf': Method(fit=convex_nmf.fit, for_l0=True),
  'sparse_coding': Method(fit=sparse_coding.fit, for_l0=True),
  'random': Method(fit=random_directions.fit),
  'rows': Method(fit=random_directions.fit_rows),
}

__all__ = [
  'METHODS',
  'Dictionary',
  'Method',
  'decode',
  'encode',
  'pursue',
  'tune',
]
