"""The state of training, and how it comes to be: shapes, shardings, arrays."""

from typing import Any

import flax
import jax
import jax.numpy as jnp
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
    constants: centre, scale and threshold; saved with the dictionary, moved by
      no gradient.
    opt_state: the optimiser's.
    idle_S: rows since each concept was last active.
  """

  step: jax.Array
  params: types.ArrayTree
  constants: types.ArrayTree
  opt_state: optax.OptState
  idle_S: jax.Array

  @property
  def variables(self) -> dict[str, Any]:
    return {'params': self.params, 'constants': self.constants}


def make_init(
  sae: nn.LinearSAE,
  tx: optax.GradientTransformation,
  constants: types.ArrayTree,
):
  """Returns init(key) -> TrainState; `constants` replace the module's own."""

  def init(key: jax.Array) -> TrainState:
    # Touching one parameter makes them all, without a row to encode: a single
    # row could not be split over a mesh.
    variables = sae.init(key, method=lambda module: module.w_dec)
    return TrainState(
      step=jnp.int32(0),
      params=variables['params'],
      constants=variables['constants'] | constants,
      opt_state=tx.init(variables['params']),
      idle_S=jnp.zeros((sae.s,), jnp.int32),
    )

  return init


def create(
  sae: nn.LinearSAE,
  tx: optax.GradientTransformation,
  constants: types.ArrayTree,
  seed: int,
  mesh: jax.sharding.Mesh,
) -> tuple[TrainState, TrainState]:
  """A fresh state, and the tree of its shardings; nothing is made unsharded."""
  init = make_init(sae, tx, constants)
  key = jax.random.key(seed)
  shardings = sharding.infer_shardings(jax.eval_shape(init, key), mesh)
  with jax.set_mesh(mesh):
    state = jax.jit(init, out_shardings=shardings)(key)
  return state, shardings
