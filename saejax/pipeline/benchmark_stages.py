"""The stages of a training step, each compiled and timed by itself.

Their sum is more than the step, whose compiler fuses them; each says where the
time would go.
"""

from collections.abc import Callable
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from saejax import losses
from saejax.pipeline import benchmark_steps
from saejax.pipeline import timing
from saejax.train import step as step_lib


def _updater(ours: benchmark_steps.Ours) -> Callable[[Any], Any]:
  """A function of gradients that moves a copy of the parameters in place."""
  fast = jax.jit(
    lambda held, grads, step: step_lib.move(
      ours.sae, ours.tx, *held, grads, step
    ),
    donate_argnums=0,
  )
  state = ours.state
  held = jax.tree.map(jnp.copy, (state.params, state.opt_state))

  def call(grads):
    nonlocal held
    held = fast(held, grads, state.step)
    return held

  return call


def _aux_loss(ours: benchmark_steps.Ours, batch, dead_S) -> Callable:
  """AuxK as a function of (params, out)."""
  sae, k = ours.sae, ours.aux_k
  return lambda params, out: losses.aux_k(
    batch, out, params, dead_S, k, sae.signed
  )


def _pieces(ours: benchmark_steps.Ours) -> dict[str, Callable[[], Any]]:
  """Calls by stage, their inputs on the device."""
  sae, state, setting = ours.sae, ours.state, ours.setting
  x_BD = ours.x_ND[: setting.shape.b]
  batch = ours.place(x_BD)
  rows = batch.x_BD, batch.modality_B
  encode = jax.jit(functools.partial(sae.apply, method='preactivations'))
  pre_BS = encode(state.variables, *rows)
  select = jax.jit(functools.partial(sae.apply, train=True, method='activate'))
  forward = jax.jit(functools.partial(sae.apply, train=True))
  out = forward(state.variables, *rows)
  decode = jax.jit(functools.partial(sae.apply, method='decode'))
  dead_S = state.idle_S > setting.asked()['dead_after']
  aux_loss = _aux_loss(ours, batch, dead_S)
  aux_weight = setting.asked()['aux_weight']

  def loss_fn(params):
    variables = {'params': params, 'constants': state.constants}
    out = sae.apply(variables, *rows, train=True)
    loss = losses.unexplained(batch, out)
    return loss + aux_weight * aux_loss(params, out) if aux_weight else loss

  loss, pullback = jax.jit(lambda p: jax.vjp(loss_fn, p))(state.params)
  backward = jax.jit(lambda pullback, g: pullback(g)[0])
  one = jnp.ones_like(loss)
  grads = backward(pullback, one)
  update = _updater(ours)
  calls = {
    'load': lambda: ours.place(x_BD),
    'encode': lambda: encode(state.variables, *rows),
    'select': lambda: select(state.variables, pre_BS),
    'decode': lambda: decode(state.variables, out.codes, batch.modality_B),
    'gradients': lambda: backward(pullback, one),
    'optimiser': lambda: update(grads),
  }
  if aux_weight:
    auxk = jax.jit(aux_loss)
    calls['auxk'] = lambda: auxk(state.params, out)
  return calls


def measure(
  ours: benchmark_steps.Ours, rounds: int, label: str
) -> dict[str, np.ndarray]:
  """Seconds [rounds] of each stage, in turns; gradients are those of the loss
  by the parameters, given the forward pass."""
  with jax.set_mesh(ours.mesh):
    return timing.in_turns(_pieces(ours), rounds, label)
