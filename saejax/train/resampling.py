"""Dead concepts begin anew, at rows that the others reconstruct badly.

Bricken et al., *Towards monosemanticity* (Anthropic, October 2023), appendix
"Neuron resampling". Here rows are drawn without replacement, so that no two
concepts begin as one: of more dead than the batch has rows, some wait.
"""

import jax
import jax.numpy as jnp

from saejax import losses
from saejax import nn
from saejax import ops
from saejax import sharding
from saejax import types
from saejax.train import state as state_lib

_ENCODER = 0.2  # Norm of a new encoder row, in units of the live ones' mean.
_TINY = 1e-30


def _ranked_rows(key: jax.Array, error_B: jax.Array) -> jax.Array:
  """Rows in the order in which they are drawn, by chance ∝ error²."""
  noise_B = jax.random.gumbel(key, error_B.shape)
  return jnp.argsort(-2 * jnp.log(error_B + _TINY) - noise_B)


def _fresh(
  params: types.ArrayTree, direction_SD: jax.Array, live_S: jax.Array
) -> types.ArrayTree:
  """Parameters as those of new concepts would be; b_dec has none."""

  def mean(x_S):
    live = jnp.sum(live_S)
    return jnp.sum(jnp.where(live_S, x_S, 0)) / jnp.maximum(live, 1)

  axis = sharding.concept_axis('w_enc')
  norm_S = jnp.linalg.norm(params['w_enc'], axis=1 - axis)
  fresh = jax.tree.map(jnp.zeros_like, params)
  fresh['w_dec'] = direction_SD
  fresh['w_enc'] = jnp.moveaxis(_ENCODER * mean(norm_S) * direction_SD, 0, axis)
  if 'threshold' in params:
    fresh['threshold'] = jnp.full_like(
      params['threshold'], _ENCODER * mean(params['threshold'])
    )
  return fresh


def _put(name: str, new_S: jax.Array, fresh: jax.Array, old: jax.Array):
  """Takes the new concepts' part of a leaf from `fresh`."""
  axis = sharding.concept_axis(name)
  if axis is None:
    return old
  others = tuple(a for a in range(old.ndim) if a != axis)
  return jnp.where(jnp.expand_dims(new_S, others), fresh, old)


def _resample(
  sae: nn.LinearSAE,
  state: state_lib.TrainState,
  batch: types.Batch,
  key: jax.Array,
  dead_after: int,
) -> state_lib.TrainState:
  out = sae.apply(state.variables, batch.x_BD, batch.modality_B, train=True)
  error_B = jnp.sum(losses.residual(batch, out) ** 2, axis=1)
  rows_B = _ranked_rows(key, error_B)
  u_BD = out.aux['u_BD']
  if sae.use_b_dec:
    u_BD -= state.params['b_dec'][None]
  dead_S = state.idle_S > dead_after
  turn_S = jnp.cumsum(dead_S) - 1  # Of the dead, in order.
  new_S = dead_S & (turn_S < len(rows_B))
  chosen_S = rows_B[jnp.clip(turn_S, 0, len(rows_B) - 1)]
  fresh = _fresh(state.params, ops.unit_rows(u_BD[chosen_S]), ~dead_S)
  params = {n: _put(n, new_S, fresh[n], p) for n, p in state.params.items()}

  def restart(path, leaf):
    name = jax.tree_util.keystr(path[-1:], simple=True)
    if name not in params or leaf.shape != params[name].shape:
      return leaf
    # `z` of a schedule-free optimiser are parameters; the rest are moments.
    is_z = any(getattr(part, 'name', None) == 'z' for part in path)
    return _put(name, new_S, fresh[name] if is_z else 0, leaf)

  ema = state.ema and {
    n: _put(n, new_S, fresh[n], a) for n, a in state.ema.items()
  }
  return state.replace(
    params=params,
    opt_state=jax.tree_util.tree_map_with_path(restart, state.opt_state),
    idle_S=jnp.where(new_S, 0, state.idle_S),
    ema=ema,
  )


def resample(
  sae: nn.LinearSAE,
  state: state_lib.TrainState,
  batch: types.Batch,
  key: jax.Array,
  dead_after: int,
) -> state_lib.TrainState:
  """Gives dead concepts a new start; the live ones stay as they are.

  A row is drawn by chance proportional to its squared loss. Its direction, less
  the decoder's bias, becomes the concept's decoder row, and its encoder's at a
  fifth of the live ones' mean norm, as is a threshold of its own; its other
  parameters and the optimiser's moments become 0.

  Args:
    sae: the module.
    state: of training.
    batch: rows to draw from.
    key: of the draw.
    dead_after: rows after which an idle concept is dead.
  """

  def run(state, batch, key):
    return _resample(sae, state, batch, key, dead_after)

  return sharding.compiler_placed(run, state)(state, batch, key)


def is_due(step: int, every: int | None, steps: int) -> bool:
  """Whether to resample after a step: in the first half alone, as they did."""
  return bool(every) and step % every == 0 and 2 * step <= steps
