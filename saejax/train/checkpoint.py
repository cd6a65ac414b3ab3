"""Checkpoints: asynchronous, kept to n, readable onto another mesh (Orbax)."""

import os

import jax
import orbax.checkpoint as ocp

from saejax import types


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
  manager: ocp.CheckpointManager, step: int, state: types.ArrayTree
) -> None:
  """Starts writing the state; waits only for the write before it."""
  manager.save(step, args=ocp.args.StandardSave(state))


def restore_latest(
  manager: ocp.CheckpointManager, state: types.ArrayTree
) -> tuple[types.ArrayTree, int]:
  """The newest state and its step, or the one given and 0 if there is none."""
  step = manager.latest_step()
  if step is None:
    return state, 0
  abstract = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
    state,
  )
  restored = manager.restore(step, args=ocp.args.StandardRestore(abstract))
  return restored, step
