"""What training did to norms and rows, moved into weights and codes."""

from collections.abc import Sequence

import jax
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


def fold_whitening(
  variables: types.ArrayTree,
  center_MD: jax.Array,
  w_DD: jax.Array,
  inverse_DD: jax.Array,
  modality_of: Sequence[int],
) -> types.ArrayTree:
  """The same function of rows as they are, of one of (x − c) W.

  Exact where `fold_norms` is, which gives decoder rows their unit norm back.

  Args:
    variables: trained on whitened rows, without a centre or scale.
    center_MD: c of each stream.
    w_DD: W.
    inverse_DD: W⁻¹.
    modality_of: of each stream, its place in the constants.
  """
  params, constants = variables['params'], variables['constants']
  params = params | {
    'w_enc': params['w_enc'] @ w_DD.T,
    'w_dec': params['w_dec'] @ inverse_DD,
    'b_dec': params['b_dec'] @ inverse_DD,
  }
  center = constants['center'].at[jnp.asarray(modality_of)].set(center_MD)
  return variables | {
    'params': fold_norms(params),
    'constants': constants | {'center': center},
  }
