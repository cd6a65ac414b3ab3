"""One step of training, a pure function."""

from collections.abc import Callable

import jax
from jax import lax
import jax.numpy as jnp
import optax

from saejax import losses
from saejax import metrics as metrics_lib
from saejax import nn
from saejax import types
from saejax.train import averaging
from saejax.train import schedules
from saejax.train import state as state_lib

TrainState = state_lib.TrainState
Logs = dict[str, jax.Array]
TrainStep = Callable[
  [TrainState, types.Batch], tuple[TrainState, metrics_lib.Metrics, Logs]
]
_THRESHOLD_DECAY = 0.99
_IDLE_MOST = 2**30  # Rows; keeps the counter from wrapping around.


def follow_threshold(
  constants: types.ArrayTree, step: jax.Array, values: jax.Array
) -> types.ArrayTree:
  """Moves the threshold towards the smallest code this batch kept."""
  smallest = jnp.min(jnp.where(values > 0, values, jnp.inf))
  old = constants['threshold']
  moved = _THRESHOLD_DECAY * old + (1 - _THRESHOLD_DECAY) * smallest
  new = jnp.where(step == 0, smallest, moved)
  new = jnp.where(jnp.isfinite(smallest), new, old)
  return constants | {'threshold': new.astype(jnp.float32)}


def _after(
  f: Callable[[types.ArrayTree], types.ArrayTree],
  x: types.ArrayTree,
  step: jax.Array,
) -> types.ArrayTree:
  """f(x), where XLA on a CPU makes x once: it fuses nothing into a branch."""
  branch = lambda x: lax.cond(step >= 0, f, lambda x: x, x)
  return lax.platform_dependent(x, cpu=branch, default=f)


def move(
  sae: nn.LinearSAE,
  tx: optax.GradientTransformation,
  params: types.ArrayTree,
  opt_state: optax.OptState,
  grads: types.ArrayTree,
  step: jax.Array,
  free_norms: bool = False,
) -> tuple[types.ArrayTree, optax.OptState]:
  """Parameters after the update of a step, where they may be: as the module
  says unless decoder norms are free, thresholds not negative."""
  if not free_norms:
    grads = sae.tangent(grads, params)
  updates, opt_state = tx.update(grads, opt_state, params)
  params = optax.apply_updates(params, updates)
  if not free_norms:
    # Else norms and rows would each compute the update anew.
    decoder = {name: params[name] for name in sae.decoder}
    params = params | _after(sae.constrain, decoder, step)
  if 'threshold' in params:
    params = params | {'threshold': jnp.maximum(params['threshold'], 0)}
  return params, opt_state


def make_train_step(
  sae: nn.LinearSAE,
  tx: optax.GradientTransformation,
  *,
  steps: int,
  aux_weight: float,
  aux_k: int,
  dead_after: int,
  extra_loss: losses.Penalty | None = None,
  anneal: schedules.Annealing | None = None,
  multi_topk: float = 0.0,
  ema: float = 0.0,
  free_norms: bool = False,
  k: jax.Array | None = None,
  stack: str | None = None,
) -> TrainStep:
  """Returns step(state, batch) -> (state, metrics, logs); jit it once.

  The loss is the unexplained share of variance, plus the variant's penalty,
  plus `aux_weight` times AuxK over concepts idle for more than `dead_after`
  rows, plus `extra_loss` if there is one. Schedules of penalties are over
  `steps`. `anneal` moves k, of variants that select it; `multi_topk` weighs
  MultiTopK; `ema` is the decay of the state's average, if it has one;
  `free_norms` leaves decoder rows any norm. `k` is a mean number of codes to
  select in place of the module's, which is at least as large; `stack` names
  the axis along which steps of several SAEs are vmapped, if they are.
  """
  penalty = losses.PENALTIES.get(type(sae))
  # Shapes are those of the largest k that is ever selected.
  wide = sae if anneal is None else sae.clone(k=max(sae.k, anneal.start))

  def budget(step):
    if anneal is None:
      return {} if k is None else {'budget': k}
    return {'budget': anneal.k(step, steps, sae.k if k is None else k)}

  def loss_fn(params, state, batch, with_aux):
    trained = {'params': params, 'constants': state.constants}
    variables = sae.materialise(trained)
    params = variables['params']
    out = wide.apply(
      variables,
      batch.x_BD,
      batch.modality_B,
      train=True,
      **budget(state.step),
    )
    loss = losses.unexplained(batch, out)
    if penalty:
      loss += penalty(sae, batch, out, params, state.step / steps)
    if extra_loss:
      loss += extra_loss(sae, batch, out, params, state.step / steps)
    if multi_topk:
      loss += multi_topk * losses.multi_top_k(sae, batch, out, params)
    if with_aux:
      dead_S = state.idle_S > dead_after
      aux = losses.aux_k(batch, out, params, dead_S, aux_k, sae.signed)
      loss = loss + aux_weight * aux
    seen = out.codes, out.aux['codes'], metrics_lib.Metrics.of(batch, out)
    return loss, seen

  def gradients(state: TrainState, batch: types.Batch):
    grad = jax.value_and_grad(loss_fn, has_aux=True)
    if not aux_weight:
      return grad(state.params, state, batch, False)
    is_any_dead = jnp.any(state.idle_S > dead_after)
    if stack:  # One answer for all: vmap would compute both branches of two.
      is_any_dead = lax.pmax(is_any_dead.astype(jnp.int32), stack) > 0
    # While no concept is dead, AuxK costs nothing.
    return lax.cond(
      is_any_dead,
      lambda *a: grad(*a, True),
      lambda *a: grad(*a, False),
      state.params,
      state,
      batch,
    )

  def train_step(state: TrainState, batch: types.Batch):
    (loss, (codes, unscaled, metrics)), grads = gradients(state, batch)
    params, opt_state = move(
      sae, tx, state.params, state.opt_state, grads, state.step, free_norms
    )
    constants = state.constants
    if 'threshold' in constants:
      constants = follow_threshold(constants, state.step, unscaled.values_BK)
    idle_S = jnp.minimum(state.idle_S + batch.x_BD.shape[0], _IDLE_MOST)
    idle_S = jnp.where(metrics_lib.fired(codes, sae.s), 0, idle_S)
    state = TrainState(
      step=state.step + 1,
      params=params,
      constants=constants,
      opt_state=opt_state,
      idle_S=idle_S,
      ema=averaging.follow(state.ema, params, state.step, ema),
    )
    logs = {'loss': loss, 'dead': jnp.mean(idle_S > dead_after)}
    return state, metrics, logs

  return train_step
