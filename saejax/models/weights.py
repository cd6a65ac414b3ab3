"""Parameters to and from the names and layouts of Hugging Face checkpoints.

A Linen path is the checkpoint's name but for three rules: `layers_3` is
`layers.3`; kernels, scales and embeddings are all called `weight`; kernels are
transposed (dense) or have their output channel first (convolution).
"""

from collections.abc import Mapping

import flax
import jax
import numpy as np

from saejax import errors
from saejax import types

_WEIGHTS = ('kernel', 'scale', 'embedding')
_BUFFERS = ('position_ids',)  # Saved by some versions; not parameters.


def hf_name(path: tuple[str, ...]) -> str:
  """The checkpoint's name of a parameter: `('a', 'layers_0', 'kernel')`."""
  parts = [p.replace('layers_', 'layers.') for p in path]
  if parts[-1] in _WEIGHTS:
    parts[-1] = 'weight'
  return '.'.join(parts)


def _to_hf(leaf: str, array: np.ndarray) -> np.ndarray:
  if leaf == 'kernel':
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
  return array


def _from_hf(leaf: str, array: np.ndarray) -> np.ndarray:
  if leaf == 'kernel':
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
  return array


def export(params: types.ArrayTree) -> dict[str, np.ndarray]:
  """Linen parameters as a flat checkpoint."""
  flat = flax.traverse_util.flatten_dict(jax.device_get(params))
  return {
    hf_name(path): _to_hf(path[-1], np.asarray(array))
    for path, array in flat.items()
  }


def of_tower(
  checkpoint: Mapping[str, np.ndarray], prefix: str
) -> Mapping[str, np.ndarray]:
  """The tensors of one tower, by their names in the tower.

  Files of two towers put `prefix` before them, and so does `transformers` 4 in
  a tower's own file, but not version 5.

  Args:
    checkpoint: a tower's own tensors, or those of a model that has it.
    prefix: 'vision_model' or 'text_model'.
  """
  inside = {
    name.removeprefix(f'{prefix}.'): array
    for name, array in checkpoint.items()
    if name.startswith(f'{prefix}.')
  }
  return inside or checkpoint


def load(
  checkpoint: Mapping[str, np.ndarray],
  expected: types.ArrayTree,
  source: str,
) -> types.ArrayTree:
  """A flat checkpoint as Linen parameters, float32.

  Args:
    checkpoint: arrays by Hugging Face name.
    expected: the module's parameters, as shapes.
    source: what to call the checkpoint in errors.

  Raises:
    UserError: a parameter is missing or has another shape, or a tensor of the
      checkpoint is left over.
  """
  flat = flax.traverse_util.flatten_dict(expected)
  left = {n for n in checkpoint if n.rpartition('.')[2] not in _BUFFERS}
  params = {}
  for path, leaf in flat.items():
    name = hf_name(path)
    if name not in left:
      raise errors.UserError(f'{source} lacks the tensor {name}.')
    left.remove(name)
    array = _from_hf(path[-1], checkpoint[name])
    if array.shape != leaf.shape:
      raise errors.UserError(
        f'{source}: {name} has shape {checkpoint[name].shape}, which does not '
        f'fit {leaf.shape} of the configured model.'
      )
    params[path] = np.ascontiguousarray(array, np.float32).reshape(leaf.shape)
  if left:
    raise errors.UserError(
      f'{source} has tensors the model does not use: '
      f'{", ".join(sorted(left)[:5])}{" …" if len(left) > 5 else ""}.'
    )
  return flax.traverse_util.unflatten_dict(params)
