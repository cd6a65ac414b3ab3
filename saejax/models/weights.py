"""Parameters to and from the names and layouts of Hugging Face checkpoints.

A Linen path is the checkpoint's name but for three rules: `layers_3` is
`layers.3`; kernels, scales and embeddings are all called `weight`; kernels are
transposed (dense) or have their output channel first (convolution).
"""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import Protocol

import flax
import jax
import jax.numpy as jnp
import numpy as np

from saejax import errors
from saejax import sharding
from saejax import types

TOWERS = ('vision_model', 'text_model')
_WEIGHTS = ('kernel', 'scale', 'embedding')
_BUFFERS = ('position_ids',)  # Saved by some versions; not parameters.
_LISTED = 5  # Names that an error spells out.

Path = tuple[str, ...]  # Of a parameter in a Linen tree.


class Tensor(Protocol):
  """A tensor of a checkpoint, read where it is indexed; an array is one."""

  @property
  def shape(self) -> tuple[int, ...]: ...

  @property
  def dtype(self) -> np.dtype: ...

  def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray: ...


def hf_name(path: Path) -> str:
  """The checkpoint's name of a parameter: `('a', 'layers_0', 'kernel')`."""
  parts = [p.replace('layers_', 'layers.') for p in path]
  if parts[-1] in _WEIGHTS:
    parts[-1] = 'weight'
  return '.'.join(parts)


def _axes(path: Path, ndim: int) -> tuple[int, ...]:
  """Which axis of the checkpoint's tensor each axis of a parameter is."""
  axes = tuple(range(ndim))
  return (*axes[2:], 1, 0) if path[-1] == 'kernel' else axes


def _to_hf(path: Path, items: Sequence[Any]) -> tuple[Any, ...]:
  """What is said of a parameter's axes, in the order of the tensor's."""
  axes = _axes(path, len(items))
  return tuple(items[axes.index(axis)] for axis in range(len(items)))


def export(params: types.ArrayTree) -> dict[str, np.ndarray]:
  """Linen parameters as a flat checkpoint."""
  flat = flax.traverse_util.flatten_dict(jax.device_get(params))
  return {
    hf_name(path): np.transpose(array, _to_hf(path, range(np.ndim(array))))
    for path, array in flat.items()
  }


def of_tower(
  checkpoint: Mapping[str, Tensor], prefix: str
) -> Mapping[str, Tensor]:
  """The tensors of one tower, by their names in the tower.

  Files of two towers put `prefix` before them, and so does `transformers` 4 in
  a tower's own file, but not version 5.

  Args:
    checkpoint: a tower's own tensors, or those of a model that has it.
    prefix: 'vision_model' or 'text_model'.
  """
  inside = {
    name.removeprefix(f'{prefix}.'): tensor
    for name, tensor in checkpoint.items()
    if name.startswith(f'{prefix}.')
  }
  return inside or checkpoint


def _listed(names: Sequence[str], joint: str = ', ') -> str:
  more = f' and {len(names) - _LISTED} more' if len(names) > _LISTED else ''
  return joint.join(names[:_LISTED]) + more


def match(
  checkpoint: Mapping[str, Tensor], expected: types.ArrayTree, source: str
) -> dict[Path, Tensor]:
  """The tensor of every parameter; reads none of them.

  Args:
    checkpoint: tensors by Hugging Face name: the model's own, with or without
      the prefix of a tower; or, for a tower, those of a model that has it, of
      which the others are left alone.
    expected: the module's parameters, as shapes.
    source: what to call the checkpoint in errors.

  Raises:
    UserError: a parameter is missing, has another shape or is not of floating
      point, or a tensor of the checkpoint is left over.
  """
  flat = flax.traverse_util.flatten_dict(expected)
  paths = {hf_name(path): path for path in flat}
  found = max(
    (checkpoint, *(of_tower(checkpoint, prefix) for prefix in TOWERS)),
    key=lambda tensors: len(paths.keys() & tensors.keys()),
  )
  missing = [name for name in paths if name not in found]
  left = sorted(
    n for n in found.keys() - paths if n.rpartition('.')[2] not in _BUFFERS
  )
  misfits = []
  for name in paths.keys() & found.keys():
    shape = _to_hf(paths[name], flat[paths[name]].shape)
    tensor = found[name]
    if tensor.shape != shape:
      misfits.append(
        f'{name} has shape {tensor.shape}, which does not fit {shape} of the '
        'configured model'
      )
    elif not jnp.issubdtype(tensor.dtype, jnp.floating):
      misfits.append(f'{name} has type {tensor.dtype}, not floating point')
  problems = [
    *([f'lacks the tensor {_listed(missing)}'] if missing else []),
    *([_listed(sorted(misfits), '; ')] if misfits else []),
    *([f'has tensors the model does not use: {_listed(left)}'] if left else []),
  ]
  if problems:
    raise errors.UserError(f'{source}: {"; ".join(problems)}.')
  return {path: found[name] for name, path in paths.items()}


def _read(
  tensor: Tensor, path: Path, index: tuple[slice, ...], dtype: np.dtype
) -> np.ndarray:
  """A part of a parameter, from no more than that part of its tensor."""
  part = np.asarray(tensor[_to_hf(path, index)])
  # A copy: the file may change under a view of it.
  return np.array(part.transpose(_axes(path, len(index))), dtype, order='C')


def _place(
  tensor: Tensor,
  path: Path,
  shape: tuple[int, ...],
  dtype: np.dtype,
  place: jax.sharding.Sharding,
) -> jax.Array:
  parts: dict[tuple, np.ndarray] = {}  # Devices that replicate share one.

  def part(index: tuple[slice, ...]) -> np.ndarray:
    key = tuple((s.start, s.stop) for s in index)
    if key not in parts:
      parts[key] = _read(tensor, path, index, dtype)
    return parts[key]

  array = jax.make_array_from_callback(shape, place, part, dtype)
  return array.block_until_ready()  # Or the host holds what is under way.


def load(
  checkpoint: Mapping[str, Tensor],
  expected: types.ArrayTree,
  source: str,
  shardings: types.ArrayTree | None = None,
  dtype: Any = None,
) -> types.ArrayTree:
  """A flat checkpoint as Linen parameters.

  With `shardings`, parameters are made one at a time and on their devices: the
  host reads the part that a device keeps, and never holds the whole.

  Args:
    checkpoint: tensors by Hugging Face name, see `match`.
    expected: the module's parameters, as shapes.
    source: what to call the checkpoint in errors.
    shardings: where each parameter goes, a tree like `expected`; None for
      NumPy arrays.
    dtype: of the parameters; None for float32, whatever the file has.

  Raises:
    UserError: the checkpoint does not fit, see `match`.
  """
  dtype = np.dtype(jnp.float32 if dtype is None else dtype)
  tensors = match(checkpoint, expected, source)
  flat = flax.traverse_util.flatten_dict(expected)
  if shardings is None:
    params = {
      path: _read(tensor, path, (slice(None),) * len(tensor.shape), dtype)
      for path, tensor in tensors.items()
    }
  else:
    places = flax.traverse_util.flatten_dict(shardings)
    params = {
      path: _place(tensor, path, flat[path].shape, dtype, places[path])
      for path, tensor in tensors.items()
    }
  return flax.traverse_util.unflatten_dict(params)


def shardings(
  expected: types.ArrayTree, mesh: jax.sharding.Mesh
) -> types.ArrayTree:
  """Splits every matrix over the devices of 'model'; the rest is replicated.

  Each is split along its largest axis that those devices divide. Contractions
  over such axes are ambiguous where axes are Explicit: apply the module under
  `jax.sharding.auto_axes`.

  Args:
    expected: a module's parameters, as shapes.
    mesh: one with an axis 'model'.
  """
  devices = mesh.shape[sharding.MODEL]

  def place(leaf) -> jax.NamedSharding:
    spec: list[str | None] = [None] * len(leaf.shape)
    # The last of equal ones: outputs, not inputs.
    axes = [
      a for a in reversed(range(leaf.ndim)) if leaf.shape[a] % devices == 0
    ]
    if devices > 1 and leaf.ndim > 1 and axes:
      spec[max(axes, key=lambda axis: leaf.shape[axis])] = sharding.MODEL
    return jax.NamedSharding(mesh, jax.P(*spec))

  return jax.tree.map(place, expected)
