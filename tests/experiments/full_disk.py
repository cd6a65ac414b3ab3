"""Disks that are full at a chosen moment, as the libraries report it."""

import errno
import os
import shutil

import safetensors
import safetensors.numpy


def arrays(n: int) -> None:
  """The n-th file of arrays is written by half, then refused."""
  save, count = safetensors.numpy.save_file, 0

  def save_file(tensors, path):
    nonlocal count
    count += 1
    save(tensors, path)
    if count == n:
      os.truncate(path, os.path.getsize(path) // 2)
      raise safetensors.SafetensorError(
        'Error while serializing: I/O error: No space left on device'
      )

  safetensors.numpy.save_file = save_file


def files(n: int) -> None:
  """The n-th file of any kind cannot be brought to the disk."""
  sync, count = os.fsync, 0

  def fsync(descriptor):
    nonlocal count
    count += 1
    if count == n:
      raise OSError(errno.ENOSPC, 'No space left on device')
    sync(descriptor)

  os.fsync = fsync


def checkpoints(n: int) -> None:
  """There is no room from the n-th checkpoint on."""
  usage, count = shutil.disk_usage, 0

  def disk_usage(path):
    nonlocal count
    count += 1
    found = usage(path)
    return found if count < n else found._replace(free=0)

  shutil.disk_usage = disk_usage


KINDS = {'arrays': arrays, 'files': files, 'checkpoints': checkpoints}
