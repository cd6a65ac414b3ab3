"""The weights of a model folder, by tensor, in whatever format it keeps them.

Every format is one file, or an index of shards. Tensors have the names and
layouts of torch's modules, and are read where they are indexed.
"""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import json
import os
from typing import Any

import flax
import ml_dtypes
import numpy as np
import safetensors

from saejax import errors
from saejax.models import weights
from saejax.torch_bridge import bin_files

# In order of preference.
FORMATS = {
  'safetensors': 'model.safetensors',
  'flax': 'flax_model.msgpack',
  'torch': 'pytorch_model.bin',
}
_ALL = tuple(FORMATS)
_INDEX = '.index.json'
_TYPES = {
  'F16': np.dtype(np.float16),
  'BF16': np.dtype(ml_dtypes.bfloat16),
  'F32': np.dtype(np.float32),
  'F64': np.dtype(np.float64),
  'I32': np.dtype(np.int32),
  'I64': np.dtype(np.int64),
}
_LFS = b'version https://git-lfs'


@dataclasses.dataclass(frozen=True)
class _Lazy:
  """A tensor of an open safetensors file."""

  file: Any
  name: str
  shape: tuple[int, ...]
  dtype: np.dtype

  def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
    return self.file.get_slice(self.name)[index]


def choose(
  names: Collection[str], source: str, formats: Sequence[str] = _ALL
) -> tuple[str, str]:
  """The preferred format among the names of files, and the file to open.

  Args:
    names: of files.
    source: what to call the place that has them in errors.
    formats: those to look for, of `FORMATS`.

  Raises:
    UserError: there is none.
  """
  for name in formats:
    for file in (FORMATS[name], FORMATS[name] + _INDEX):
      if file in names:
        return name, file
  looked = ', '.join(FORMATS[name] for name in formats)
  raise errors.UserError(
    f'{source} has no weights: looked for {looked}, whole or with '
    f'{_INDEX} and shards.'
  )


def patterns(format_: str, file: str) -> list[str]:
  """What `fnmatch` finds a chosen file and its shards by."""
  if not file.endswith(_INDEX):
    return [file]
  stem, extension = os.path.splitext(FORMATS[format_])
  return [file, f'{stem}-*{extension}']


def _names(path: str) -> list[str]:
  # Without the links of a hub cache that lead nowhere.
  return [n for n in os.listdir(path) if os.path.isfile(os.path.join(path, n))]


def files(path: str, formats: Sequence[str] = _ALL) -> list[str]:
  """The names of the files that hold the weights; reads the index alone.

  Raises:
    UserError: there are none, shards are missing, or the index is damaged.
  """
  _, file = choose(_names(path), path, formats)
  if not file.endswith(_INDEX):
    return [file]
  return [file, *_shards(path, file)]


def _shards(path: str, index: str) -> dict[str, list[str]]:
  """The tensors that an index says each shard has."""
  file = os.path.join(path, index)
  try:
    with open(file, encoding='utf-8') as f:
      placed = json.load(f)['weight_map']
    shards: dict[str, list[str]] = {shard: [] for shard in placed.values()}
    for name, shard in placed.items():  # KeyError: one in another folder.
      shards[os.path.basename(shard)].append(name)
  except (AttributeError, KeyError, TypeError, ValueError) as e:
    raise errors.UserError(
      f'{file} is damaged: expected JSON with a weight_map from tensors to '
      'files beside it.'
    ) from e
  missing = [s for s in shards if not os.path.exists(os.path.join(path, s))]
  if missing:
    raise errors.UserError(
      f'{path} lacks {len(missing)} of the {len(shards)} shards that {index} '
      f'names: {", ".join(missing[:3])}{" …" if len(missing) > 3 else ""}.'
    )
  return shards


def open_folder(
  path: str, formats: Sequence[str] = _ALL
) -> Mapping[str, weights.Tensor]:
  """The tensors of a folder, by Hugging Face name.

  From safetensors, read slice by slice; else from what a Flax model of
  `transformers` 4 saved, which is read whole; else from what torch saved, where
  torch is installed.

  Args:
    path: a model folder.
    formats: those to look for, of `FORMATS`, in this order.

  Raises:
    UserError: no weights there, a file is missing or damaged, or a tensor has
      a type that cannot be read.
  """
  format_, file = choose(_names(path), path, formats)
  if not file.endswith(_INDEX):
    return _read(format_, os.path.join(path, file))
  tensors: dict[str, weights.Tensor] = {}
  for shard, names in _shards(path, file).items():
    found = _read(format_, os.path.join(path, shard))
    if format_ == 'flax':
      names = [weights.hf_name(tuple(name.split('/'))) for name in names]
    if absent := [name for name in names if name not in found]:
      raise errors.UserError(
        f'{os.path.join(path, shard)} lacks the tensor {absent[0]}, which '
        f'{file} says it has ({len(absent)} such).'
      )
    tensors |= {name: found[name] for name in names}
  return tensors


def _read(format_: str, path: str) -> Mapping[str, weights.Tensor]:
  with open(path, 'rb') as f:
    if f.read(len(_LFS)) == _LFS:
      raise errors.UserError(
        f'{path} is a pointer of git-lfs, not the file: run git lfs pull.'
      )
  return _READERS[format_](path)


def _damaged(path: str, why: object) -> errors.UserError:
  return errors.UserError(
    f'{path} is damaged, or not what its name says: {why}.'
  )


def _read_safetensors(path: str) -> Mapping[str, weights.Tensor]:
  try:
    file = safetensors.safe_open(path, framework='numpy')
  except safetensors.SafetensorError as e:
    raise _damaged(path, e) from e
  tensors = {}
  names = file.keys()
  for name in names:
    described = file.get_slice(name)
    type_name = described.get_dtype()
    if type_name not in _TYPES:
      raise errors.UserError(
        f'{path}: {name} has type {type_name}, which cannot be read; known '
        f'are {", ".join(_TYPES)}.'
      )
    shape = tuple(described.get_shape())
    tensors[name] = _Lazy(file, name, shape, _TYPES[type_name])
  if (file.metadata() or {}).get('format') != 'flax':
    return tensors
  flat = {tuple(name.split('.')): file.get_tensor(name) for name in tensors}
  return weights.export(flax.traverse_util.unflatten_dict(flat))


def _read_msgpack(path: str) -> Mapping[str, weights.Tensor]:
  with open(path, 'rb') as f:
    data = f.read()
  try:
    tree = flax.serialization.msgpack_restore(data)
  except (TypeError, ValueError) as e:
    raise _damaged(path, e) from e
  if not isinstance(tree, dict):
    raise _damaged(path, f'it holds a {type(tree).__name__}')
  return weights.export(tree)


_READERS: dict[str, Callable[[str], Mapping[str, weights.Tensor]]] = {
  'safetensors': _read_safetensors,
  'flax': _read_msgpack,
  'torch': bin_files.load,
}
