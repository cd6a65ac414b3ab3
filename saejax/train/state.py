"""The state of training, and how it comes to be: shapes, shardings, arrays."""

from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax

from saejax import nn
from saejax import sharding
from saejax import types


@flax.struct.dataclass
class TrainState:
  """All that a step reads and writes.

  Attributes:
    step: steps taken.
    params: trained parameters.
    constants: centre, scale and threshold, saved with the dictionary, and what
      parameters are mixtures of; moved by no gradient.
    opt_state: the optimiser's.
    idle_S: rows since each concept was last active.
    ema: the moving average of `params`, or None where none is kept.
  """

  step: jax.Array
  params: types.ArrayTree
  constants: types.ArrayTree
  opt_state: optax.OptState
  idle_S: jax.Array
  ema: types.ArrayTree | None = None

  @property
  def variables(self) -> dict[str, Any]:
    return {'params': self.params, 'constants': self.constants}


def _start_at(params: types.ArrayTree, b_dec_D: jax.Array) -> types.ArrayTree:
  """A decoder bias, and the encoder's that makes it read x − b_dec."""
  # The encoder is still the decoder's transpose.
  return {'b_dec': b_dec_D, 'b_enc': -params['w_enc'] @ b_dec_D}


def make_init(
  sae: nn.LinearSAE,
  tx: optax.GradientTransformation,
  constants: types.ArrayTree,
  *,
  b_dec_D: np.ndarray | None = None,
  with_ema: bool = False,
):
  """Returns init(key) -> TrainState; `constants` replace the module's own."""

  def init(key: jax.Array) -> TrainState:
    # Touching one parameter makes them all, without a row to encode: a single
    # row could not be split over a mesh.
    variables = sae.init(key, method=lambda module: module.w_dec)
    made = variables | {'constants': variables['constants'] | constants}
    made = sae.parametrise(made, key)
    params = made['params']
    if b_dec_D is not None:
      params = params | _start_at(params, jnp.asarray(b_dec_D))
    return TrainState(
      step=jnp.int32(0),
      params=params,
      constants=made['constants'],
      opt_state=tx.init(params),
      idle_S=jnp.zeros((sae.s,), jnp.int32),
      ema=jax.tree.map(jnp.copy, params) if with_ema else None,
    )

  return init


def create(
  sae: nn.LinearSAE,
  tx: optax.GradientTransformation,
  constants: types.ArrayTree,
  seed: int,
  mesh: jax.sharding.Mesh,
  *,
  b_dec_D: np.ndarray | None = None,
  with_ema: bool = False,
) -> tuple[TrainState, TrainState]:
  """A fresh state, and the tree of its shardings; nothing is made unsharded.

  Args:
    constants: in place of the module's own.
    b_dec_D: where the decoder's bias starts, if not at 0; the encoder then
      reads rows less it.
    with_ema: whether to keep a moving average of the parameters.
  """
  init = make_init(sae, tx, constants, b_dec_D=b_dec_D, with_ema=with_ema)
  key = jax.random.key(seed)
  shardings = sharding.infer_shardings(jax.eval_shape(init, key), mesh)
  with jax.set_mesh(mesh):
    state = jax.jit(init, out_shardings=shardings)(key)
  return state, shardings
