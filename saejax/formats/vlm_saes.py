"""SAEs of LLaVA-NeXT's residual stream, as `flybamboo/vlm-saes` has them.

Of arXiv 2506.04706: each is a file of one layer's input,

  sae_final_layer24_8x_norm13.996978.pkl

the state dict, saved by torch, of two linear layers `fc1` [S, D] and `fc2`
[D, S] with biases; names may begin with `module.`. Of a row x and the mean norm
of rows n, which only the name of the file tells:

  u = x·64/n,   f = ReLU(fc1 u),   û = fc2 f,   x̂ = û·n/64

Nothing is centred. It is `nn.ReLU` with the scale 64/n, once the norms of
decoder rows are moved into the codes. The same tensors are read from a file
`….safetensors` of that name, for which no pickle is opened.
"""

from collections.abc import Mapping
import dataclasses
import math
import os
import re

import numpy as np

from saejax import errors
from saejax import nn
from saejax import types
from saejax.store import files
from saejax.torch_bridge import bin_files

NORM = 64.0  # Mean norm of the rows that they were trained on.
SAFE, PICKLE = '.safetensors', '.pkl'
_NAME = re.compile(
  r'sae_final_layer(?P<layer>\d+)(?:_\d+x)?(?:_norm(?P<norm>[\d.]*))?'
)
_TENSORS = ('fc1.weight', 'fc1.bias', 'fc2.weight', 'fc2.bias')


@dataclasses.dataclass(frozen=True)
class Released:
  """A dictionary with what its file's name says.

  Attributes:
    sae: of the residual's width.
    variables: its parameters and constants.
    path: of the file.
    layer: whose input it reconstructs; None if the name does not say.
    norm: the mean norm of rows.
  """

  sae: nn.ReLU
  variables: types.ArrayTree
  path: str
  layer: int | None
  norm: float


def _told(path: str) -> tuple[int | None, float | None]:
  """The layer and the mean norm in a file's name."""
  found = _NAME.match(os.path.splitext(os.path.basename(path))[0])
  if not found:
    return None, None
  try:
    norm = float(found['norm'] or 'nan')
  except ValueError:
    norm = math.nan
  return int(found['layer']), norm if norm > 0 else None


def find(path: str, layer: int | None = None) -> str:
  """The file of a layer.

  Args:
    path: a file, or a folder of them.
    layer: which, of a folder; None where there is but one.

  Raises:
    UserError: there is none, or more than one, or it is of another layer.
  """
  if os.path.isfile(path):
    told = _told(os.path.basename(path))[0]
    if None not in (layer, told) and layer != told:
      raise errors.UserError(
        f'--layer={layer}: {path} is of layer {told}. Leave --layer out, or '
        'name the file of that layer.'
      )
    return path
  if not os.path.isdir(path):
    raise errors.UserError(
      f'There is no file or folder {path}: download the released files first.'
    )
  names = [
    name
    for name in sorted(os.listdir(path))
    if name.endswith((SAFE, PICKLE)) and _told(name)[0] is not None
  ]
  safe = {name.removesuffix(SAFE) for name in names}
  # What was converted stands for what it was made of.
  names = [name for name in names if name.removesuffix(PICKLE) not in safe]
  chosen = [name for name in names if layer in (None, _told(name)[0])]
  if len(chosen) != 1:
    layers = sorted({_told(name)[0] for name in names})
    wanted = 'one' if layer is None else f'one of layer {layer}'
    raise errors.UserError(
      f'{path} has {len(chosen)} files sae_final_layerL_….pkl or .safetensors, '
      f'not {wanted}: choose by --layer of '
      f'{", ".join(map(str, layers)) or "none"}, or name a file.'
    )
  return os.path.join(path, chosen[0])


def _read(path: str, allow_pickle: bool) -> Mapping[str, np.ndarray]:
  if path.endswith(SAFE):
    try:
      return files.map_arrays(path)
    except ValueError as e:
      raise errors.UserError(f'{path} cannot be read: {e}') from e
  if not allow_pickle:
    raise errors.UserError(
      f'{path} is not {SAFE}: it would be opened as a pickle, a kind of file '
      'that can run code. With --allow_pickle torch reads its tensors alone.'
    )
  return bin_files.load(path)


def _tensors(path: str, allow_pickle: bool) -> dict[str, np.ndarray]:
  """The four tensors in float32, whose shapes fit each other."""
  read = _read(path, allow_pickle)
  found = {name.removeprefix('module.'): a for name, a in read.items()}
  if set(found) != set(_TENSORS):
    raise errors.UserError(
      f'{path} holds {", ".join(sorted(found)[:6]) or "nothing"}; expected '
      f'{", ".join(_TENSORS)} and nothing else.'
    )
  shape = found['fc1.weight'].shape
  s, d = shape if len(shape) == 2 else (0, 0)
  wanted = dict(zip(_TENSORS, ((s, d), (s,), (d, s), (d,)), strict=True))
  for name, asked in wanted.items():
    if found[name].shape != asked or not found[name].size:
      raise errors.UserError(
        f'{path} has {name} of shape {found[name].shape}; expected {asked}.'
      )
  arrays = {n: np.asarray(a, np.float32) for n, a in found.items()}
  for name, array in arrays.items():
    if not np.isfinite(array).all():
      raise errors.UserError(f'{path} has NaN or infinite values in {name}.')
  return arrays


def load(
  path: str,
  *,
  layer: int | None = None,
  norm: float | None = None,
  allow_pickle: bool = False,
) -> Released:
  """Reads a released SAE; codes are on the scale of x, decoder rows of norm 1.

  Args:
    path: a file, or a folder of them.
    layer: of a folder, which.
    norm: the mean norm of rows; None takes the one in the file's name.
    allow_pickle: read a .pkl; tensors alone are accepted, no code runs.

  Raises:
    UserError: it is not there, is a pickle that was not allowed, holds other
      tensors, or its name tells no norm.
  """
  file = find(path, layer)
  told_layer, told_norm = _told(file)
  norm = told_norm if norm is None else norm
  if norm is None or not 0 < norm < math.inf:
    raise errors.UserError(
      f'{file} does not say the mean norm of rows in its name, as '
      'sae_final_layer24_8x_norm13.996978.pkl does: give it by --norm, '
      'positive.'
    )
  t = _tensors(file, allow_pickle)
  s, d = t['fc1.weight'].shape
  w_dec = t['fc2.weight'].T
  norm_S = np.linalg.norm(w_dec, axis=1)
  # z d = (z ‖d‖)(d / ‖d‖), and a ReLU lets positive factors through. A row of
  # zeros reconstructs nothing, whatever its code: it gets none.
  unit = w_dec / np.where(norm_S > 0, norm_S, 1)[:, None]
  params = {
    'w_enc': t['fc1.weight'] * norm_S[:, None],
    'b_enc': t['fc1.bias'] * norm_S,
    'w_dec': np.ascontiguousarray(unit),
    'b_dec': t['fc2.bias'],
  }
  constants = {
    'center': np.zeros((1, d), np.float32),
    'scale': np.full(1, NORM / norm, np.float32),
  }
  return Released(
    sae=nn.ReLU(d=d, s=s, k=1),  # The variant meets no k.
    variables={'params': params, 'constants': constants},
    path=file,
    layer=told_layer,
    norm=norm,
  )
