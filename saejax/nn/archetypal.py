"""Archetypal: TopK whose concepts lie near the convex hull of the rows.

  D = unit(Λ C + Λ'),   Λ ≥ 0,  Σ_j Λ_ij = 1,  ‖Λ'_i‖ ≤ δ

Fel et al., *Archetypal SAE: adaptive and stable dictionary learning for concept
extraction in large vision models* (RA-SAE), arXiv 2502.12892. C are points of
the rows, which are not learned: centroids of k-means, in units of their root
mean square norm, as δ is. Unlike TopK, a concept is a mixture Λ_i of them, but
for Λ'_i, so that runs from other seeds agree more.

The paper's dictionary has its points' norms, times one learned scalar. Here
rows have unit norm, as those of every other variant, and there is no scalar:
codes of TopK, which the paper uses most, have any size, so that the norms of
the points would but weigh their concepts' gradients.
"""

from typing import ClassVar

from flax import linen as nn
import jax
import jax.numpy as jnp

from saejax import ops
from saejax import sharding
from saejax import types
from saejax.nn import topk

_TINY = 1e-12
_SHARE = (0.25, 0.75)  # Of the first of two points that a concept starts from.


class Archetypal(topk.TopK):
  """Keeps the k largest positive pre-activations of each row.

  Trained are `mix` [S, M], which is Λ, and `relax` [S, D], which is Λ', in
  place of `w_dec`; `cloud` [M, D] is a constant. `apply` takes the dictionary
  that `materialise` makes of them, and files hold it alone.

  Attributes:
    cloud: M, the number of points; None for 8 times the width.
    relax: δ, in units of the points' root mean square norm.
  """

  cloud: int | None = None
  relax: float = 1.0

  decoder: ClassVar[tuple[str, ...]] = ('mix', 'relax')

  @nn.nowrap
  def parametrise(
    self, variables: types.ArrayTree, key: jax.Array
  ) -> types.ArrayTree:
    """A point for each concept, or a mixture of two where points run out."""
    cloud_MD = jnp.asarray(variables['constants']['cloud'])
    mix_SM = _start(key, self.s, len(cloud_MD))
    relax_SD = jnp.zeros((self.s, self.d))
    params = dict(variables['params'])
    params['w_dec'] = params['w_enc'] = _dictionary(mix_SM, cloud_MD, relax_SD)
    del params['w_dec']
    own = {'mix': mix_SM, 'relax': relax_SD}
    return variables | {'params': params | own}

  @nn.nowrap
  def materialise(self, variables: types.ArrayTree) -> types.ArrayTree:
    params, constants = dict(variables['params']), dict(variables['constants'])
    if 'mix' not in params:
      return variables
    mix_SM, relax_SD = params.pop('mix'), params.pop('relax')
    params['w_dec'] = _dictionary(mix_SM, constants.pop('cloud'), relax_SD)
    return variables | {'params': params, 'constants': constants}

  @nn.nowrap
  def tangent(
    self, grads: types.ArrayTree, params: types.ArrayTree
  ) -> types.ArrayTree:
    del params  # Gradients pass through rows of unit norm.
    return grads

  @nn.nowrap
  def constrain(self, params: types.ArrayTree) -> types.ArrayTree:
    """Weights that are positive and sum to 1; relaxations of norm at most δ."""
    mix_SM, relax_SD = params['mix'], params['relax']
    most_S1 = jnp.max(mix_SM, axis=1, keepdims=True)
    # A row without a positive weight keeps its largest.
    mix_SM = jnp.where(most_S1 > 0, jax.nn.relu(mix_SM), mix_SM == most_S1)
    norm_S1 = jnp.linalg.norm(relax_SD, axis=1, keepdims=True)
    return params | {
      'mix': mix_SM / jnp.sum(mix_SM, axis=1, keepdims=True),
      'relax': relax_SD * jnp.minimum(1, self.relax / (norm_S1 + _TINY)),
    }


def _start(key: jax.Array, s: int, m: int) -> jax.Array:
  """Weights [S, M]: points in a random order, and then pairs of points."""
  order_key, pair_key, share_key = jax.random.split(key, 3)
  first_S = jnp.resize(jax.random.permutation(order_key, m), s)
  second_S = (first_S + jax.random.randint(pair_key, (s,), 1, m)) % m
  low, high = _SHARE
  share_S = jax.random.uniform(share_key, (s,), minval=low, maxval=high)
  share_S = jnp.where(jnp.arange(s) < m, 1.0, share_S)
  one = lambda index_S: jax.nn.one_hot(index_S, m)
  return share_S[:, None] * one(first_S) + (1 - share_S[:, None]) * one(
    second_S
  )


def _dictionary(
  mix_SM: jax.Array, cloud_MD: jax.Array, relax_SD: jax.Array
) -> jax.Array:
  hull_SD = jnp.einsum(
    'SM,MD->SD',
    mix_SM,
    cloud_MD,
    out_sharding=sharding.out_spec(sharding.MODEL, None),
  )
  return ops.unit_rows(hull_SD + relax_SD)
