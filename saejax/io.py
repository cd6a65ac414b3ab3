"""Dictionaries on disk: a folder of `config.json` and `sae.safetensors`.

The only owner of the format, which a dozen lines of NumPy can read.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import os
from typing import Any

import jax
import numpy as np

from saejax import errors
from saejax import nn
from saejax import types
from saejax.store import files
from saejax.store import manifest

FORMAT = 'saejax-sae'
VERSION = 1
CONFIG, WEIGHTS = 'config.json', 'sae.safetensors'
# What a module is made of; the rest of `config.json` says where it came from.
_FIELDS = ('d', 's', 'k', 'modalities', 'use_b_dec')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Site:
  """One of the streams that a dictionary is for, if it is for several at once.

  A crosscoder reads the rows of its sites side by side, each times its scale.
  A transcoder has two: what it reads, and what it reconstructs.
  """

  stream: str
  d: int
  scale: float = 1.0


def save(
  path: str,
  sae: nn.LinearSAE,
  variables: types.ArrayTree,
  provenance: Mapping[str, Any] | None = None,
  sites: Sequence[Site] = (),
) -> None:
  """Writes a dictionary; the folder appears whole or not at all.

  Args:
    path: a folder, made if need be.
    sae: the module.
    variables: what `sae.apply` takes, or what is trained: 'params' and
      'constants'.
    provenance: anything JSON that says how it was made.
    sites: of a crosscoder or transcoder, in the order of their rows.
  """
  arch = next(k for k, v in nn.ARCHITECTURES.items() if type(sae) is v)
  arrays = {
    name: np.asarray(jax.device_get(array))
    for collection in sae.materialise(variables).values()
    for name, array in collection.items()
  }
  if sae.tied:  # The format holds an encoder of every dictionary.
    arrays['w_enc'] = arrays['w_dec']
    arrays['b_enc'] = np.zeros(sae.s, np.float32)
  arrays['threshold'] = np.float32(arrays.get('threshold', 0.0))[...]
  if 'w_enc' in arrays:  # [D, S] in the format; contiguous for safetensors.
    arrays['w_enc'] = np.ascontiguousarray(arrays['w_enc'].T)
  config = {
    'format': FORMAT,
    'version': VERSION,
    'arch': arch,
    **{name: getattr(sae, name) for name in (*_FIELDS, *nn.own_fields(arch))},
    'provenance': dict(provenance or {}),
  }
  if sites:
    config['sites'] = [dataclasses.asdict(site) for site in sites]
  os.makedirs(path, exist_ok=True)
  files.write_arrays(os.path.join(path, WEIGHTS), arrays)
  manifest.write_json(os.path.join(path, CONFIG), config)


def read_config(path: str) -> dict[str, Any]:
  """Reads and checks a dictionary's `config.json`."""
  file = os.path.join(path, CONFIG)
  if not os.path.exists(file):
    raise errors.UserError(
      f'There is no dictionary at {path}: it has no {CONFIG}. '
      'A run keeps its dictionary in its folder sae/.'
    )
  config = manifest.read_json(file, errors.UserError)
  if config.get('format') != FORMAT or config.get('version') != VERSION:
    raise errors.UserError(
      f'{file} has format {config.get("format")!r} version '
      f'{config.get("version")}; expected {FORMAT!r} version {VERSION}.'
    )
  if config.get('arch') not in tuple(nn.ARCHITECTURES):
    raise errors.UserError(
      f'{file} has arch {config.get("arch")!r}; known are '
      f'{sorted(nn.ARCHITECTURES)}.'
    )
  return config


def read_sites(path: str) -> tuple[Site, ...]:
  """The sites of a crosscoder or transcoder; () for any other dictionary."""
  try:
    return tuple(Site(**site) for site in read_config(path).get('sites', ()))
  except TypeError as e:
    raise errors.UserError(
      f'{os.path.join(path, CONFIG)} lacks or misnames a field: {e}.'
    ) from e


def load(path: str | os.PathLike[str]) -> tuple[nn.LinearSAE, types.ArrayTree]:
  """Reads a dictionary: `sae, params = load(path)`; `sae.apply(params, x)`.

  Raises:
    UserError: no dictionary there, or one that is damaged.
  """
  path = os.fspath(path)
  config = read_config(path)
  try:
    arch = config['arch']
    # What older files lack of a variant's own fields has its default.
    own = [name for name in nn.own_fields(arch) if name in config]
    as_tuple = lambda v: tuple(v) if isinstance(v, list) else v
    sae = nn.ARCHITECTURES[arch](
      **{name: as_tuple(config[name]) for name in (*_FIELDS, *own)}
    )
    expected = jax.eval_shape(
      lambda: sae.init(jax.random.key(0), method=lambda module: module.w_dec)
    )
  except (KeyError, TypeError, ValueError) as e:
    raise errors.UserError(
      f'{os.path.join(path, CONFIG)} lacks or misnames a field: {e}.'
    ) from e
  if not 1 <= sae.k <= sae.s:
    raise errors.UserError(
      f'{os.path.join(path, CONFIG)} has k {sae.k} for {sae.s} concepts.'
    )
  try:
    arrays = files.map_arrays(os.path.join(path, WEIGHTS))
  except (FileNotFoundError, ValueError) as e:
    raise errors.UserError(f'The dictionary at {path} is damaged: {e}') from e
  variables: dict[str, dict[str, jax.Array]] = {}
  for collection, leaves in expected.items():
    for name, leaf in leaves.items():
      found = arrays[name].shape if name in arrays else None
      asked = leaf.shape[::-1] if name == 'w_enc' else leaf.shape
      if found != asked:
        raise errors.UserError(
          f'The dictionary at {path} has {name} of shape {found}; its '
          f'{CONFIG} asks for {asked}.'
        )
      array = arrays[name].T if name == 'w_enc' else arrays[name]
      array = jax.numpy.asarray(array, leaf.dtype)
      variables.setdefault(collection, {})[name] = array
  return sae, variables
