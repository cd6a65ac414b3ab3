"""Optimisers and laws of their learning rate, by name.

Learning rates do not mean the same to all: `lion` and `signum`, whose entries
move by the whole of it, want a smaller one than AdamW, and `muon` a larger.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from saejax import sharding
from saejax import types

_END = 1e-6  # Learning rate that a falling schedule ends with.
_FALL = 0.2  # Share of the steps over which 'wsd' falls.
_LAW_WIDTH = 2**14  # Dictionary size at which the law 'width' changes nothing.
_UPDATE_RMS = 0.2  # Of an entry of Muon's update: that of AdamW's.


def rate(lr: float, law: str, s: int) -> float:
  """The peak learning rate of a dictionary of s concepts.

  'width' is lr/√(s/2¹⁴): the best rate falls as 1/√s (Gao et al., arXiv
  2406.04093, A.3); the reference size is that of `dictionary_learning`
  (Marks, Karvonen and Mueller, 2024).
  """
  return {'none': lr, 'width': lr / (s / _LAW_WIDTH) ** 0.5}[law]


def schedule_of(
  name: str, lr: float, steps: int, warmup: float
) -> optax.Schedule:
  """Linear warm-up over a share of the steps, then a law by name.

  Args:
    name: 'cosine' and 'linear' fall to 1e-6; 'wsd' stays, and falls linearly
      over the last fifth (warm-up, stable, decay; arXiv 2404.06395);
      'constant' stays.
    lr: peak learning rate.
    steps: of the whole training.
    warmup: share of the steps; 0 starts at the peak.
  """
  start = max(int(steps * warmup), 1) if warmup else 0
  after = max(steps - start, 1)
  end = min(_END, lr)
  if name == 'cosine':
    fall = optax.cosine_decay_schedule(lr, after, alpha=min(_END / lr, 1.0))
  elif name == 'linear':
    fall = optax.linear_schedule(lr, end, after)
  elif name == 'wsd':
    last = min(max(round(steps * _FALL), 1), after)
    fall = optax.linear_schedule(lr, end, last, after - last)
  else:
    fall = optax.constant_schedule(lr)
  if not start:
    return fall
  rise = optax.linear_schedule(0.0, lr, start)
  return optax.join_schedules([rise, fall], [start])


def _compiler_placed(
  tx: optax.GradientTransformation,
) -> optax.GradientTransformation:
  """The same, whose contractions the compiler places on an Explicit mesh."""

  def update(grads, state, params=None):
    inside = sharding.compiler_placed(tx.update, (grads, state))
    return inside(grads, state, params)

  return optax.GradientTransformation(tx.init, update)


def _muon(schedule, weight_decay):
  return _compiler_placed(
    contrib.muon(
      schedule,
      weight_decay=weight_decay,
      adam_weight_decay=weight_decay,
      # Of this size, matrices want AdamW's learning rate (arXiv 2502.16982);
      # and which of their axes is the input no longer matters.
      consistent_rms=_UPDATE_RMS,
    )
  )


def _schedule_free(schedule, weight_decay):
  return contrib.schedule_free_adamw(schedule, weight_decay=weight_decay)


# From a schedule and a weight decay, which AdamW (arXiv 1711.05101), Lion
# (2302.06675), Muon (2502.16982; it leaves vectors to AdamW) and schedule-free
# AdamW (2405.15682) take; Adam (1412.6980) and signum (1802.04434) do not.
OPTIMISERS: dict[str, Callable[..., optax.GradientTransformation]] = {
  'adamw': lambda lr, decay: optax.adamw(lr, weight_decay=decay),
  'adam': lambda lr, decay: optax.adam(lr),
  'lion': lambda lr, decay: optax.lion(lr, weight_decay=decay),
  'signum': lambda lr, decay: optax.signum(lr),
  'muon': _muon,
  'schedule_free': _schedule_free,
}
SCHEDULES = ('cosine', 'linear', 'wsd', 'constant')
OWN_SCHEDULE = {'schedule_free': 'constant'}  # Others are 'cosine' by default.
LAWS = ('none', 'width')


def clip_by_global_norm(most: float) -> optax.GradientTransformation:
  """optax's, as one product rather than a quotient and a choice.

  A compiler fuses products into what reads them, where it would write clipped
  gradients to memory.
  """

  def update(grads, state, params=None):
    del params
    factor = jnp.minimum(1.0, most / optax.tree.norm(grads))
    return jax.tree.map(lambda g: g * factor, grads), state

  return optax.GradientTransformation(lambda _: optax.EmptyState(), update)


def make_optimiser(
  lr: float | optax.Schedule,
  steps: int,
  weight_decay: float,
  clip: float,
  *,
  name: str = 'adamw',
  schedule: str = 'cosine',
  warmup: float = 0.05,
) -> optax.GradientTransformation:
  """An optimiser by name.

  Args:
    lr: peak learning rate; or the rate by step, in place of a schedule.
    steps: of the whole training.
    weight_decay: of every parameter, times the learning rate.
    clip: global norm to which gradients are clipped; 0 leaves them.
    name: of `OPTIMISERS`.
    schedule: of `SCHEDULES`.
    warmup: share of the steps over which the learning rate rises.
  """
  rates = lr if callable(lr) else schedule_of(schedule, lr, steps, warmup)
  return optax.chain(
    clip_by_global_norm(clip) if clip else optax.identity(),
    OPTIMISERS[name](rates, weight_decay),
  )


def averaged(
  opt_state: optax.OptState, params: types.ArrayTree
) -> types.ArrayTree | None:
  """The average that a schedule-free optimiser keeps, or None for others."""
  is_it = lambda x: isinstance(x, contrib.ScheduleFreeState)
  for part in jax.tree.leaves(opt_state, is_leaf=is_it):
    if is_it(part):
      return contrib.schedule_free_eval_params(part, params)
  return None
