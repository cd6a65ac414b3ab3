"""Reads what a site is made from: analyses, names, stability."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
import os
import re
from typing import Any

import numpy as np

from saejax import errors
from saejax import store as store_lib
from saejax.store import files
from saejax.store import manifest

# The files of an analysis' folder and of others; `saejax.results` and the
# pipelines own them, which need more than this package may.
RUN, RESULTS = 'run.json', 'results.json'
CONCEPTS, BRIDGES = 'concepts.safetensors', 'bridges.safetensors'
EVIDENCE, ABOUT = 'evidence.safetensors', 'evidence.json'
NAMES, MATCHED = 'names.json', 'matched.safetensors'
VERSIONS = (1, 2)  # Of the evidence that can be read; 1 has no heat-maps.
Json = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Analysed:
  """A dictionary with its analysis, and what else was measured of it.

  Attributes:
    path: the analysis' folder.
    sae: the dictionary's folder, as `analyse` was told.
    config: its config.json; {} if it is gone.
    store: the store that it was analysed on.
    about: evidence.json.
    record: run.json.
    names: names.json, or {}.
    stability_S: by concept, or None.
    stability_over: what the mean is over, in words.
  """

  path: str
  sae: str
  config: Json
  store: store_lib.Store
  about: Json
  record: Json
  names: Json
  stability_S: np.ndarray | None
  stability_over: str

  def _arrays(self, name: str) -> Mapping[str, np.ndarray]:
    try:
      return files.map_arrays(os.path.join(self.path, name))
    except ValueError as e:
      raise errors.UserError(f'{e} Run analyse again.') from e

  @functools.cached_property
  def concepts(self) -> Mapping[str, np.ndarray]:
    return self._arrays(CONCEPTS)

  @functools.cached_property
  def bridges(self) -> Mapping[str, np.ndarray]:
    return self._arrays(BRIDGES)

  @functools.cached_property
  def evidence(self) -> Mapping[str, np.ndarray]:
    return self._arrays(EVIDENCE)

  def stream(self, side: str) -> store_lib.Stream:
    """The stream of images or texts that was analysed."""
    return self.store[(self.about.get('streams') or {}).get(side, side)]

  @property
  def reads(self) -> str:
    """'tokens', or 'pooled' for one row an example."""
    return self.about.get('reads', 'pooled')

  @functools.cached_property
  def live(self) -> np.ndarray:
    """Numbers of the live concepts, rising."""
    return np.flatnonzero(self.concepts['live'])

  @functools.cached_property
  def index_S(self) -> np.ndarray:
    """Place of each concept among the live ones; -1 where it is dead."""
    index_S = np.full(len(self.concepts['live']), -1)
    index_S[self.live] = np.arange(len(self.live))
    return index_S

  @property
  def model(self) -> str:
    """The model's name; of a folder, its last part."""
    name = str(self.store.about.get('model', 'unknown'))
    return os.path.basename(os.path.normpath(name)) if os.sep in name else name

  @property
  def dataset(self) -> str:
    return str((self.store.about.get('dataset') or {}).get('name', 'unknown'))


def _check_files(path: str) -> None:
  if not os.path.exists(os.path.join(path, RESULTS)):
    raise errors.UserError(
      f'There is no finished analysis at {path}: no {RESULTS}. Give a folder '
      'that analyse wrote.'
    )
  for name in (RUN, CONCEPTS, BRIDGES):
    if not os.path.exists(os.path.join(path, name)):
      raise errors.UserError(
        f'{path} has no {name}: it is not the folder of an analysis.'
      )
  for name in (EVIDENCE, ABOUT):
    if not os.path.exists(os.path.join(path, name)):
      raise errors.UserError(
        f'{path} has no {name}: it was written by an older analyse. Run it '
        'again, with another --out.'
      )


def _read_names(path: str, s: int) -> Json:
  file = os.path.join(path, NAMES)
  if not os.path.exists(file):
    raise errors.UserError(
      f'--names={path} holds no {NAMES}: give the folder that name wrote.'
    )
  found = manifest.read_json(file, errors.UserError)
  last = max((r['concept'] for r in found['concepts']), default=0)
  if last >= s:
    raise errors.UserError(
      f'{file} names concept {last}; the dictionary that was analysed has '
      f'0…{s - 1}. Are they of one dictionary?'
    )
  return found


def _own_key(keys: Sequence[str], sae: str, path: str) -> str:
  """Which run of a stability folder a dictionary is.

  The name after a colon, or the one that stands in the dictionary's path.
  """
  parts = os.path.normpath(os.path.abspath(sae)).split(os.sep)
  own = [k for k in keys if all(p in parts for p in k.split(os.sep) if p)]
  if len(own) != 1:
    raise errors.UserError(
      f'--stability={path} holds the runs {", ".join(keys)}, and which of them '
      f'is {sae} is not clear. Add it after a colon: '
      f'--stability={path}:{keys[0]}.'
    )
  return own[0]


def _read_stability(path: str, sae: str, s: int) -> tuple[np.ndarray, str]:
  """Stability [S] of one run, and what it is over."""
  folder, _, key = path.partition(':')
  file = os.path.join(folder, MATCHED)
  if not os.path.exists(file):
    raise errors.UserError(
      f'--stability={path}: {folder} holds no {MATCHED}; give the folder that '
      'stability wrote for dictionaries of one store.'
    )
  arrays = files.map_arrays(file)
  key = key or _own_key(sorted(arrays), sae, path)
  if key not in arrays:
    raise errors.UserError(
      f'--stability={path}: there is no run {key}; there are '
      f'{", ".join(sorted(arrays))}.'
    )
  if len(arrays[key]) != s:
    raise errors.UserError(
      f'--stability={path}: the run {key} has {len(arrays[key])} concepts, the '
      f'dictionary that was analysed {s}. Are they of one dictionary?'
    )
  others = len(arrays) - 1
  return arrays[key], f'up to {others} other run{"s" * (others != 1)}'


def read(
  path: str, names: str | None = None, stability: str | None = None
) -> Analysed:
  """Reads an analysis, and joins what else is known of its concepts.

  Args:
    path: the folder that `analyse` wrote.
    names: the folder that `name` wrote, if there is one.
    stability: the folder that `stability` wrote; FOLDER:RUN says which of its
      runs the dictionary is.

  Raises:
    UserError, StoreError: something is missing, or does not fit together.
  """
  _check_files(path)
  record = manifest.read_json(os.path.join(path, RUN), errors.UserError)
  asked = record.get('config', {}).get('analyse')
  if not asked:
    raise errors.UserError(
      f'{os.path.join(path, RUN)} does not say which dictionary and store were '
      'analysed: give a folder that analyse wrote.'
    )
  about = manifest.read_json(os.path.join(path, ABOUT), errors.UserError)
  if (version := about.get('version', 1)) not in VERSIONS:
    raise errors.UserError(
      f'{os.path.join(path, ABOUT)} has version {version!r}; this saejax reads '
      f'{" and ".join(map(str, VERSIONS))}. Run analyse again.'
    )
  s = about['latents']
  config_file = os.path.join(asked['sae'], 'config.json')
  config = {}
  if os.path.exists(config_file):
    config = manifest.read_json(config_file, errors.UserError)
  stable_S, over = None, ''
  if stability:
    stable_S, over = _read_stability(stability, asked['sae'], s)
  return Analysed(
    path=path,
    sae=asked['sae'],
    config=config,
    store=store_lib.Store(asked['store']),
    about=about,
    record=record,
    names=_read_names(names, s) if names else {},
    stability_S=stable_S,
    stability_over=over,
  )


def ids(paths: Sequence[str]) -> list[str]:
  """A short id for each folder, of letters, digits and dashes, each once."""
  parts = [os.path.normpath(os.path.abspath(p)).split(os.sep) for p in paths]
  while all(len(p) > 1 for p in parts) and (
    len({p[-1] for p in parts}) == 1 and len(parts) > 1
  ):
    parts = [p[:-1] for p in parts]
  found: list[str] = []
  for p in parts:
    slug = re.sub(r'[^A-Za-z0-9]+', '-', p[-1]).strip('-').lower() or 'sae'
    taken = slug
    number = 2
    while taken in found:
      taken, number = f'{slug}-{number}', number + 1
    found.append(taken)
  return found
