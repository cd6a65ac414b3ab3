"""Schedulers that take a machine back: a signal comes, then the step ends.

Slurm, Kubernetes and preemptible machines send SIGTERM some seconds before
they kill; Slurm sends SIGUSR1 as early as one likes (`--signal=USR1@300`).
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import signal
import threading

import jax
from jax.experimental import multihost_utils


@contextlib.contextmanager
def watch() -> Iterator[Callable[[int], bool]]:
  """Heeds SIGTERM and SIGUSR1; yields `should_stop(step)`.

  It is to be asked after every step, and is true from the end of the step at
  which to stop. In several processes one signal to one of them stops them all
  at the same step, on which JAX's coordination service agrees in the
  background: a second or two later, while they train on, and at the cost of
  microseconds a step.

  Outside the main thread, where Python takes no signals, none is heeded.
  """
  came = False

  def note(*_) -> None:
    nonlocal came
    came = True

  def forward(*_) -> None:
    signal.raise_signal(signal.SIGTERM)

  if jax.distributed.is_initialized():
    # JAX listens to SIGTERM since then; a handler of ours would take its place.
    should_stop = multihost_utils.reached_preemption_sync_point
    handlers = {signal.SIGUSR1: forward}
  else:
    should_stop = lambda step: came
    handlers = {signal.SIGTERM: note, signal.SIGUSR1: note}
  if threading.current_thread() is not threading.main_thread():
    handlers = {}
  before = {number: signal.signal(number, f) for number, f in handlers.items()}
  try:
    yield should_stop
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
