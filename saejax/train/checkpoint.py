"""Checkpoints: asynchronous, kept to n, readable onto another mesh (Orbax)."""

import os

import orbax.checkpoint as ocp

from saejax.train import state as state_lib


def open_manager(path: str, keep: int) -> ocp.CheckpointManager:
  """Opens a folder of checkpoints; what a kill left half-written is removed."""
  return ocp.CheckpointManager(
    os.path.abspath(path),
    options=ocp.CheckpointManagerOptions(
      max_to_keep=keep,
      enable_async_checkpointing=True,
      cleanup_tmp_directories=True,
    ),
  )


def save(
  manager: ocp.CheckpointManager, step: int, state: state_lib.TrainState
) -> None:
  """Starts writing the state; waits only for the write before it."""
  manager.save(step, args=ocp.args.StandardSave(state))


def restore_latest(
  manager: ocp.CheckpointManager, state: state_lib.TrainState
) -> tuple[state_lib.TrainState, int]:
  """The newest state and its step, or the one given and 0 if there is none."""
  step = manager.latest_step()
  if step is None:
    return state, 0
  abstract = state_lib.abstract(state)
  restored = manager.restore(step, args=ocp.args.StandardRestore(abstract))
  return restored, step
