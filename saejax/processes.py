"""Several processes that share the work: who does what, and who waits."""

from collections.abc import Callable
import time

import jax
from jax.experimental import multihost_utils

from saejax import errors

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0  # Seconds between two looks.


def start(
  coordinator: str | None = None,
  num_processes: int | None = None,
  process_id: int | None = None,
  *,
  is_cluster: bool = False,
  watches_signals: bool = False,
) -> None:
  """Joins the processes of one job; does nothing where no argument is given.

  Before anything else is asked of JAX.

  Args:
    coordinator: address of process 0, `host:port`.
    num_processes: how many there are.
    process_id: which this is, from 0.
    is_cluster: take what is not given from the cluster's environment (Slurm,
      Open MPI, TPU pods, ...).
    watches_signals: SIGTERM is left to `preemption.watch`, and ends nothing by
      itself.

  Raises:
    UserError: the arguments do not fit, or the cluster does not tell.
  """
  told = {
    '--coordinator': coordinator,
    '--num_processes': num_processes,
    '--process_id': process_id,
  }
  missing = [name for name, value in told.items() if value is None]
  if len(missing) == len(told) and not is_cluster:
    return
  if missing and not is_cluster:
    raise errors.UserError(
      f'{" and ".join(missing)} is missing: give --coordinator, '
      '--num_processes and --process_id together, or --distributed on a '
      'cluster whose environment tells them.'
    )
  # JAX would listen to SIGTERM, and a process that asks it nothing live on.
  jax.config.update('jax_enable_preemption_service', watches_signals)
  try:
    jax.distributed.initialize(coordinator, num_processes, process_id)
  except (RuntimeError, ValueError) as e:
    raise errors.UserError(f'The processes cannot join: {e}') from e


def is_mine(item: int) -> bool:
  """Whether this process does an item: they go round."""
  return item % jax.process_count() == jax.process_index()


def is_first() -> bool:
  return jax.process_index() == 0


def meet(name: str) -> None:
  """Waits until every process is here; they should not be minutes apart."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)


def wait_for(condition: Callable[[], bool]) -> None:
  """Looks until a condition holds, of files that all processes see.

  For processes that may be hours apart, as no collective can wait so long. If
  one dies meanwhile, JAX's heartbeat ends the others.
  """
  pause = _FIRST_PAUSE
  while not condition():
    time.sleep(pause)
    pause = min(2 * pause, _LONGEST_PAUSE)
