"""Steps of training a small model, with its metrics and checkpoints."""

from collections.abc import Callable
import contextlib
import dataclasses
import os
from typing import Any

import jax

from saejax import types
from saejax.data import batches
from saejax.pipeline import vlm_losses
from saejax.train import checkpoint
from saejax.train import contrastive
from saejax.train import logging

P = jax.P


def start(begun: vlm_losses.Start, mesh: jax.sharding.Mesh):
  """The state before the first step, and the jitted step, on the mesh."""
  params, loss, tx = begun
  state = contrastive.ContrastiveState(
    step=jax.numpy.int32(0), params=params, opt_state=tx.init(params)
  )
  # The towers leave their layout to the compiler: an embedding lookup is
  # ambiguous under Explicit axes.
  step = jax.sharding.auto_axes(
    contrastive.make_step(loss, tx), out_sharding=P()
  )
  state = jax.device_put(state, jax.NamedSharding(mesh, P()))
  return state, jax.jit(step, donate_argnums=0)


@dataclasses.dataclass(frozen=True)
class Phase:
  """One of the trainings of a run: its first batch, its length, its files."""

  offset: int
  steps: int
  metrics: str
  checkpoints: str
  show: str  # The metric that the progress bar has beside the loss.


def run(
  config: Any,
  make: Callable[[int], Any],
  started: tuple[contrastive.ContrastiveState, Callable],
  phase: Phase,
  mesh: jax.sharding.Mesh,
  out: str,
) -> types.ArrayTree:
  """Trains from the last checkpoint on; the trained parameters, on the host.

  Args:
    config: its `log_every`, `checkpoint_every` and `batch` are read.
    make: the batch of a step, on the mesh.
    started: of `start`.
    phase: which steps, and where they are kept.
    mesh: over which the batch is split.
    out: the run's folder.
  """
  state, step_fn = started
  metrics = os.path.join(out, phase.metrics)
  manager = checkpoint.open_manager(
    os.path.join(out, phase.checkpoints), keep=2
  )
  with contextlib.closing(manager):
    state, first = checkpoint.restore_latest(manager, state)
    logging.truncate(metrics, first)
    writer = logging.MetricsWriter(
      metrics,
      start=first,
      steps=phase.steps,
      every=config.log_every,
      batch=config.batch,
      show=lambda m: f'loss {m["loss"]:.3f}, {phase.show} {m[phase.show]:.2f}',
    )
    todo = range(phase.offset + first, phase.offset + phase.steps)
    with writer, jax.set_mesh(mesh):
      ahead = batches.prefetch(make, todo)
      for step, batch in enumerate(ahead, start=first + 1):
        state, logs = step_fn(state, batch)
        writer.add(step, logs)
        if step % config.checkpoint_every == 0 or step == phase.steps:
          checkpoint.save(manager, step, state)
    manager.wait_until_finished()
  return jax.device_get(state.params)
