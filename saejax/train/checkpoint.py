"""Checkpoints: asynchronous, kept to n, readable onto another mesh (Orbax)."""

import errno
import os
import pathlib
import shutil

import jax
from jax.experimental import multihost_utils
import orbax.checkpoint as ocp

from saejax import types

_LEAST_FREE = 1 << 20  # Bytes for what a checkpoint has besides its arrays.


class _Manager(ocp.CheckpointManager):
  """Leaves no half-written checkpoint behind when it is closed."""

  def close(self) -> None:
    try:
      super().close()
    finally:
      pattern = '*.orbax-checkpoint-tmp*'
      for path in pathlib.Path(self.directory).glob(pattern):
        if jax.process_index() == 0:  # Others may still be at work there.
          shutil.rmtree(path, ignore_errors=True)


def open_manager(path: str, keep: int) -> ocp.CheckpointManager:
  """Opens a folder of checkpoints; what a kill left half-written is removed."""
  return _Manager(
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
  """Starts writing the state; waits only for the write before it.

  Of several processes each writes its own shards, and the first decides
  whether there is room: one that raised alone would leave the others waiting.

  Raises:
    OSError: the disk has no room for it. Orbax would find out halfway.
  """
  manager.wait_until_finished()
  disk = shutil.disk_usage(manager.directory)
  bytes_ = sum(x.nbytes for x in jax.tree.leaves(state))
  is_full = disk.total and disk.free < bytes_ + _LEAST_FREE  # 0: not known.
  if jax.process_count() > 1:
    is_full = multihost_utils.broadcast_one_to_all(bool(is_full))
  if is_full:
    raise OSError(errno.ENOSPC, f'no room for {bytes_} bytes')
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
