"""What is probed: places along a model, their rows, and classes to tell."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import os

import numpy as np

from saejax import errors
from saejax import io
from saejax import store as store_lib
from saejax.pipeline import probing_rows
from saejax.train import probes as probes_lib

STANDARDISE = ('own', 'train')
_TOWER = 'tower.image'  # What a model's own vision tower gives.
# What stands for val, of train's groups; drawn apart from the splits.
_TUNED, _TUNED_SEED = 0.1, 0x7A11
LEAST = {'train': 10, 'val': 3, 'test': 3}  # Rows of a class that is probed.


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbeConfig:
  """Flags of `probe`.

  Attributes:
    labels: factors whose classes are told; empty for all there are.
    layers: that are probed; empty for all of the store.
    probes: kinds, of `train.probes.KINDS`.
    train_stream: context of the streams that probes are fitted on.
    test_stream: context of those that they are measured on; None for the same.
    tokens: whether rows are tokens; else the mean over those of an example.
    rows: of train, at most.
    shuffles: labellings by chance.
    standardise: whether rows of the stream that is measured on have the mean
      and variance of their own training rows taken, or those of the fit.
    features: columns that a sparse probe may choose from, at most.
    seed: of the shuffles.
  """

  labels: tuple[str, ...] = ()
  layers: tuple[int, ...] = ()
  probes: tuple[str, ...] = probes_lib.KINDS
  train_stream: str = 'image'
  test_stream: str | None = None
  tokens: bool = False
  rows: int = 4096
  shuffles: int = 10
  standardise: str = 'own'
  features: int = 1024
  seed: int = 0

  def __post_init__(self):
    for name in self.probes or ('',):
      if name not in probes_lib.KINDS:
        raise errors.UserError(
          f'--probes: {name!r} is unknown; choose of '
          f'{", ".join(probes_lib.KINDS)}.'
        )
    for name, least in (
      ('rows', 2), ('shuffles', 2), ('features', 1), ('seed', 0),
    ):  # fmt: skip
      if getattr(self, name) < least:
        raise errors.UserError(
          f'--{name}={getattr(self, name)} must be at least {least}.'
        )


@dataclasses.dataclass(frozen=True)
class Site:
  """A place that is probed.

  Attributes:
    name: in results.
    layer: None of a reference.
    store: of its rows.
    streams: that probes are fitted on, and measured on.
    sae: folder of the SAE whose codes are read; None for rows themselves.
  """

  name: str
  layer: int | None
  store: store_lib.Store
  streams: tuple[str, str]
  sae: str | None = None


@dataclasses.dataclass(frozen=True)
class Task:
  """Rows of one site and factor, by split; columns of mean 0 and variance 1.

  Rows of train have label NONE where they are of no class that is probed; of
  the other splits, only those of a class are here. `val` is what is tuned on,
  of the split `tuned`.
  """

  names: tuple[str, ...]
  x: Mapping[str, np.ndarray]
  label: Mapping[str, np.ndarray]
  example_n: np.ndarray  # Of train.
  group_n: np.ndarray  # Of the reported split.
  tuned: str = 'val'


def sites(
  store: store_lib.Store,
  config: ProbeConfig,
  saes: Mapping[int, str],
  references: Sequence[str],
) -> list[Site]:
  """What is probed, in order; UserError for what is not there."""
  contexts = (config.train_stream, config.test_stream or config.train_stream)
  first, second = (probing_rows.layers(store, c) for c in contexts)
  known = [n for n in first if n in second]
  named = ' and '.join(dict.fromkeys(contexts))
  for n in (*config.layers, *saes):
    if n not in known:
      raise errors.UserError(
        f'{store.path} has no layer {n} of {named}; it has '
        f'{", ".join(map(str, known))}.'
      )
  chosen = config.layers or tuple(known)
  found = []
  if _TOWER in store.streams and set(contexts) == {'image'}:
    found.append(Site('tower', None, store, (_TOWER, _TOWER)))
  for n in chosen:
    streams = first[n], second[n]
    found.append(Site(f'layer{n:02d}', n, store, streams))
    if n in saes:
      for name in streams:
        probing_rows.check_tokens(
          store[name], io.read_config(saes[n])['d'], saes[n]
        )
      found.append(Site(f'layer{n:02d}.sae', n, store, streams, saes[n]))
  for path in references:
    other = store_lib.Store(path)
    streams = tuple(probing_rows.layers(other, c) for c in contexts)
    for n in streams[0]:
      if n in streams[1]:
        name = os.path.basename(os.path.normpath(path))
        name = f'{name}.{streams[0][n]}' if len(streams[0]) > 1 else name
        found.append(Site(name, None, other, (streams[0][n], streams[1][n])))
  names = [site.name for site in found]
  if len(set(names)) < len(names):
    twice = next(name for name in names if names.count(name) > 1)
    raise errors.UserError(
      f'--references: two things that are probed would be called {twice}: '
      'rename the folder of one.'
    )
  return found


def tuned_on(stream: store_lib.Stream, split: str) -> str:
  """val; train where val is what is reported on, or has no rows."""
  return 'val' if split != 'val' and len(stream.rows('val')) else 'train'


def _parts(stream: store_lib.Stream, split: str) -> dict[str, np.ndarray]:
  """Numbers of rows to fit on and to tune on: of train and val.

  Without val, a tenth of train's groups is tuned on and not fitted on.
  """
  rows = {part: stream.rows(part) for part in ('train', 'val')}
  if tuned_on(stream, split) == 'val':
    return rows
  group_n = stream.column('group')[rows['train']]
  fractions = (1 - _TUNED, _TUNED, 0.0)
  part_n = store_lib.assign_splits(group_n, fractions, seed=_TUNED_SEED)
  return {p: rows['train'][part_n == i] for i, p in enumerate(rows)}


def _read(site: Site, config: ProbeConfig, split: str):
  """Rows of a site by split, and the factors of its two streams."""
  fit, seen = (site.store[name] for name in site.streams)
  labels = [probing_rows.classes(site.store, s) for s in (fit, seen)]
  coders = [None, None]
  if site.sae is not None:
    sae, variables = io.load(site.sae)
    coders = [probing_rows.coder(sae, variables, s) for s in (fit, seen)]
  take = lambda which, part, most=None: probing_rows.read(
    (fit, seen)[which], part, config.tokens, most, coders[which]
  )
  parts = _parts(fit, split)
  rows = {
    'train': take(0, parts['train'], config.rows),
    'val': take(0, parts['val']),
    'test': take(1, split),
  }
  of = {'train': 'train', 'val': tuned_on(fit, split), 'test': split}
  for part, which in (('train', 0), ('val', 0), ('test', 1)):
    if not len(rows[part].x_nD):
      name = site.streams[which]
      hint = ', or measure on val: --split=val' if split == 'test' else ''
      raise errors.UserError(
        f'Stream {name} of {site.store.path} has no rows in {of[part]}. Give '
        f'its store larger splits{hint}.'
      )
  own = rows['train']
  if fit is not seen and config.standardise == 'own':
    own = take(1, _parts(seen, split)['train'], config.rows)
  return rows, own, labels


def _standardised(x_nD: np.ndarray, by: probing_rows.Rows) -> np.ndarray:
  mean_D, std_D = by.x_nD.mean(0), by.x_nD.std(0)
  # A column that is the same in all of train tells nothing.
  return np.where(std_D > 1e-8, (x_nD - mean_D) / np.maximum(std_D, 1e-8), 0)


def tasks(
  site: Site, config: ProbeConfig, split: str
) -> Iterator[tuple[str, Task]]:
  """Each factor of which two classes have enough rows in every split."""
  rows, own, labels = _read(site, config, split)
  tuned = tuned_on(site.store[site.streams[0]], split)
  by = {'train': rows['train'], 'val': rows['train'], 'test': own}
  x = {part: _standardised(r.x_nD, by[part]) for part, r in rows.items()}
  for factor in config.labels or labels[0]:
    if any(factor not in known for known in labels):
      raise errors.UserError(
        f'--labels: stream {site.streams[0]} of {site.store.path} has no '
        f'factor {factor!r}; it has {", ".join(labels[0])}.'
      )
    first, second = (known[factor] for known in labels)
    if first.names != second.names:
      raise errors.UserError(
        f'Streams {" and ".join(site.streams)} have other classes of {factor}.'
      )
    label = {
      part: (second if part == 'test' else first).label_N[r.place_n]
      for part, r in rows.items()
    }
    counts = {
      part: np.bincount(own_n[own_n >= 0], minlength=len(first.names))
      for part, own_n in label.items()
    }
    kept_C = np.all([counts[p] >= least for p, least in LEAST.items()], axis=0)
    if kept_C.sum() < 2:
      continue
    # Numbers of the classes that are kept; of the others, NONE.
    to_C = np.where(kept_C, np.cumsum(kept_C) - 1, probing_rows.NONE)
    to_C = np.append(to_C, probing_rows.NONE)
    label = {part: to_C[own_n] for part, own_n in label.items()}
    has = {part: own_n >= 0 for part, own_n in label.items()}
    has['train'][:] = True
    yield (
      factor,
      Task(
        names=tuple(np.array(first.names)[kept_C].tolist()),
        x={part: x[part][has[part]] for part in x},
        label={part: label[part][has[part]] for part in x},
        example_n=rows['train'].example_n,
        group_n=rows['test'].group_n[has['test']],
        tuned=tuned,
      ),
    )


def shuffled(
  label_n: np.ndarray, example_n: np.ndarray, shuffles: int, seed: int
) -> np.ndarray:
  """Labels of other examples, all rows of an example alike: [J, n].

  Those without a label stay so.
  """
  _, first_E, place_n = np.unique(
    example_n, return_index=True, return_inverse=True
  )
  rng = np.random.default_rng(seed)
  of_E = label_n[first_E]
  has_E = of_E >= 0
  found = []
  for _ in range(shuffles):
    new_E = of_E.copy()
    new_E[has_E] = rng.permutation(of_E[has_E])
    found.append(new_E[place_n])
  return np.stack(found)


def strongest(task: Task, most: int) -> np.ndarray:
  """Columns that are most correlated with a class in train."""
  has_n = task.label['train'] >= 0
  x_nD, label_n = task.x['train'][has_n], task.label['train'][has_n]
  is_nC = np.eye(len(task.names))[label_n]
  is_nC = (is_nC - is_nC.mean(0)) / np.maximum(is_nC.std(0), 1e-8)
  shared_D = np.abs(x_nD.T @ is_nC).max(1)
  return np.sort(np.argsort(-shared_D, kind='stable')[:most])
