"""Averages of weights along a run, in place of its last weights.

Polyak and Juditsky, *Acceleration of stochastic approximation by averaging*
(1992): the average is nearer to the optimum than any of the noisy iterates.
"""

import jax
import jax.numpy as jnp

from saejax import types
from saejax.train import optimisers
from saejax.train import state as state_lib


def follow(
  ema: types.ArrayTree | None,
  params: types.ArrayTree,
  step: jax.Array,
  decay: float,
) -> types.ArrayTree | None:
  """Moves an exponential moving average towards the parameters.

  The decay rises to its value as (1 + t)/(10 + t), so that the start of the
  run is forgotten (as TensorFlow's ExponentialMovingAverage does).

  Args:
    ema: the average so far, or None where none is kept.
    params: after a step.
    step: steps taken before that one.
    decay: share of the average that a step keeps.
  """
  if ema is None:
    return None
  kept = jnp.minimum(decay, (1 + step) / (10 + step))
  return jax.tree.map(lambda a, b: kept * a + (1 - kept) * b, ema, params)


def average_of(state: state_lib.TrainState) -> types.ArrayTree | None:
  """The average that a run kept of its parameters, or None if it kept none."""
  if state.ema is not None:
    return state.ema
  return optimisers.averaged(state.opt_state, state.params)
