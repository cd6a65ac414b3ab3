"""A decoder's free norms, moved into its codes."""

import jax.numpy as jnp

from saejax import ops
from saejax import sharding
from saejax import types

# By the encoder's output; a threshold of JumpReLU is on its scale.
_SCALED = ('b_enc', 'b_mag', 'threshold')


def fold_norms(params: types.ArrayTree) -> types.ArrayTree:
  """The same function with decoder rows of unit norm; codes grow by the norms.

  z_i d_i = (z_i ‖d_i‖) (d_i / ‖d_i‖). Exact for variants that decide by the
  sign of a pre-activation, or by its concept's own threshold: ReLU, Gated,
  PAnneal and JumpReLU. Those that compare concepts would choose others.
  """
  norm_S = jnp.linalg.norm(params['w_dec'], axis=1)
  across = 1 - sharding.concept_axis('w_enc')
  w_enc = params['w_enc'] * jnp.expand_dims(norm_S, across)
  scaled = {n: params[n] * norm_S for n in _SCALED if n in params}
  w_dec = ops.unit_rows(params['w_dec'])
  return params | scaled | {'w_enc': w_enc, 'w_dec': w_dec}
