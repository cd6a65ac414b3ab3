"""Weights that torch saved: `pytorch_model.bin` and its shards."""

import warnings
import zipfile

import ml_dtypes
import numpy as np

from saejax import errors

# Before it, "weights only" could be made to run code.
_OLDEST = (2, 6)


def load(path: str) -> dict[str, np.ndarray]:
  """The tensors of a state dict, by name; mapped, not read.

  The file is a pickle, of which torch accepts tensors alone: no code runs.

  Raises:
    UserError: torch is not installed or too old, or the file is damaged or
      holds other things.
  """
  torch = _import_torch(path)
  # The format before torch 1.6 is no zip file, and cannot be mapped.
  is_zip = zipfile.is_zipfile(path)
  try:
    with warnings.catch_warnings(action='ignore'):
      found = torch.load(path, 'cpu', weights_only=True, mmap=is_zip)
  except (OSError, MemoryError):
    raise
  except Exception as e:  # Bytes that are no pickle fail as they please.
    raise errors.UserError(
      f'{path} is damaged, or holds more than tensors ({type(e).__name__}).'
    ) from e
  if not isinstance(found, dict):
    raise errors.UserError(
      f'{path} holds a {type(found).__name__}; expected tensors by name.'
    )
  return {name: _array(torch, path, name, t) for name, t in found.items()}


def _import_torch(path: str):
  try:
    import torch
  except ImportError as e:
    raise errors.UserError(
      f'{path} is read by torch, which is not installed: run ./launch.sh test '
      '--parity or pip install torch, or convert it to safetensors where '
      'torch is.'
    ) from e
  if tuple(map(int, torch.__version__.split('.')[:2])) < _OLDEST:
    raise errors.UserError(
      f'torch {torch.__version__} cannot read {path} safely: install torch '
      f'{_OLDEST[0]}.{_OLDEST[1]} or later.'
    )
  return torch


def _array(torch, path: str, name: str, tensor) -> np.ndarray:
  """A view of a tensor."""
  if not isinstance(tensor, torch.Tensor):
    raise errors.UserError(
      f'{path}: {name} is a {type(tensor).__name__}; expected tensors by name.'
    )
  tensor = tensor.detach()
  try:
    if tensor.dtype == torch.bfloat16:
      return tensor.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()
  except (TypeError, RuntimeError) as e:
    raise errors.UserError(
      f'{path}: {name} has type {tensor.dtype} and layout {tensor.layout}, '
      'which cannot be read.'
    ) from e
