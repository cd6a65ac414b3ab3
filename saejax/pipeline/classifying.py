"""Zero-shot classification of a store's images by prompts of a store."""

import collections
from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np

from saejax import errors
from saejax import results
from saejax import store as store_lib
from saejax.analysis import bootstrap
from saejax.analysis import retrieval
from saejax.analysis import zero_shot
from saejax.pipeline import sides

PROMPTS, LABEL, TEMPLATE = 'prompts', 'label', 'template'
KS = (1, 5)
_UNLABELLED = -1
Entries = dict[str, dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Classes:
  """Classes as rows of unit length, and what they are called.

  Attributes:
    names: of the classes, by index.
    templates: how many prompts a class has.
    ensemble_CD: from all prompts of each class.
    single_CD: from the prompt of the first template alone.
  """

  names: Sequence[str]
  templates: int
  ensemble_CD: np.ndarray
  single_CD: np.ndarray


@dataclasses.dataclass(frozen=True)
class Classified:
  """Results, and accuracy by class: by all prompts, and by a single one."""

  entries: Entries
  names: Sequence[str]
  ensemble: zero_shot.ByClass
  single: zero_shot.ByClass


def class_names(store: store_lib.Store) -> list[str] | None:
  """Names of a store's classes, by label; None where it does not tell."""
  dataset = store.about.get('dataset')
  names = dataset.get('classes') if isinstance(dataset, dict) else None
  return list(map(str, names)) if names else None


def has_labels(store: store_lib.Store) -> bool:
  return LABEL in store['image'].spec.columns


def _check_model(store: store_lib.Store, other: store_lib.Store) -> None:
  """UserError unless two stores come from one model and class list."""
  for what in ('model', 'revision'):
    ours, theirs = store.about.get(what), other.about.get(what)
    if ours != theirs:
      raise errors.UserError(
        f'--classes_store={other.path} is of {what} {theirs!r}, {store.path} '
        f'of {ours!r}: embed prompts and images with one model.'
      )
  ours, theirs = class_names(store), class_names(other)
  if ours and theirs and ours != theirs:
    if len(ours) != len(theirs):
      difference = f'{len(theirs)} classes, {store.path} {len(ours)}'
    else:
      i = next(i for i, name in enumerate(ours) if name != theirs[i])
      difference = (
        f'class {i} {theirs[i]!r}, which in {store.path} is {ours[i]!r}'
      )
    raise errors.UserError(
      f'--classes_store={other.path} has {difference}: labels of one mean '
      'nothing in the other. Embed the prompts of the same classes.'
    )


def read_classes(
  store: store_lib.Store, classes_path: str | None = None
) -> Classes:
  """Classes from a store's own prompts, or another's of the same model.

  Raises:
    UserError, StoreError: there are no prompts, they are of another model, or
      not every class has one of every template.
  """
  source = store
  if classes_path is not None:
    source = store_lib.Store(classes_path)
    if PROMPTS not in source.streams:
      raise errors.UserError(
        f'--classes_store={classes_path} has no stream {PROMPTS}; it has '
        f'{list(source.streams)}. Embed a data set with class names.'
      )
    _check_model(store, source)
  stream = source[PROMPTS]
  sides.check_width(stream, source.path, store['image'])
  label_n, template_n = (
    stream.column(name).astype(np.int64) for name in (LABEL, TEMPLATE)
  )
  names = class_names(source) or [
    f'class {c}' for c in range(label_n.max(initial=-1) + 1)
  ]
  templates = int(template_n.max(initial=-1)) + 1
  every = np.arange(len(names) * templates)
  place_n = label_n * templates + template_n
  if not len(every) or not np.array_equal(np.sort(place_n), every):
    raise errors.UserError(
      f'Stream {PROMPTS} of {source.path} has {len(label_n)} rows; expected '
      f'one for each of {len(names)} classes and {templates} templates. Embed '
      'the data set again.'
    )
  prompt_nD = stream.take(stream.rows('all')).astype(np.float32)
  first_n = template_n == 0
  return Classes(
    names=names,
    templates=templates,
    ensemble_CD=zero_shot.class_rows(prompt_nD, label_n),
    single_CD=zero_shot.class_rows(prompt_nD[first_n], label_n[first_n]),
  )


def read_labels(
  store: store_lib.Store, classes: Classes, split: str
) -> np.ndarray:
  """Labels of the images of a split, -1 where there is none.

  Raises:
    UserError: none of them has one, or one is no class.
  """
  stream = store['image']
  label_N = stream.column(LABEL).astype(np.int64)
  most = len(classes.names) - 1
  outside = np.flatnonzero((label_N < _UNLABELLED) | (label_N > most))
  if len(outside):
    raise errors.UserError(
      f'Row {outside[0]} of stream image of {store.path} has label '
      f'{label_N[outside[0]]}; expected a class, 0…{most}, or {_UNLABELLED} '
      'for none.'
    )
  label_n = label_N[stream.rows(split)]
  if (label_n == _UNLABELLED).all():
    raise errors.UserError(
      f'No image of {store.path} in {split} has a label: all are {_UNLABELLED}.'
    )
  return label_n


def classify(
  image: sides.Rows, label_n: np.ndarray, classes: Classes, split: str
) -> Classified:
  """Accuracy of the nearest class, by all prompts and by a single one.

  Args:
    image: unit rows.
    label_n: their classes; rows of -1 are left out.
    classes: what to choose from.
    split: what the rows are.
  """
  kept = np.flatnonzero(label_n != _UNLABELLED)
  label_n, group_n = label_n[kept], image.group_n[kept]
  n, c = len(kept), len(classes.names)
  entry = lambda v, **k: results.entry(v, **k, split=split)
  entries, top_nK, by_class = {}, {}, {}
  for kind, class_CD in (
    ('', classes.ensemble_CD),
    ('single/', classes.single_CD),
  ):
    rank_n = zero_shot.ranks(image.x_nD[kept], label_n, class_CD)
    top_nK[kind] = (rank_n[:, None] < np.asarray(KS)).astype(np.int8)
    by_class[kind] = zero_shot.by_class(rank_n < 1, label_n, group_n, c)
    entries[f'{kind}mean_per_class'] = entry(by_class[kind].mean)
  top_nK['gain/'] = top_nK[''] - top_nK['single/']
  means = bootstrap.means(np.concatenate([*top_nK.values()], 1), group_n)
  names = [f'{kind}top{k}' for kind in top_nK for k in KS]
  entries |= {name: entry(e) for name, e in zip(names, means, strict=True)}
  chances = retrieval.chance(np.ones(1, int), c, KS)
  for k, chance in zip(KS, chances, strict=True):
    entries[f'chance_top{k}'] = entry(float(chance), n=n)
  times = collections.Counter(classes.names)
  largest = by_class[''].images_C.max() / n
  entries |= {
    'classes': entry(c),
    'templates': entry(classes.templates),
    'namesakes': entry(sum(t for t in times.values() if t > 1), n=c),
    'largest_class': entry(float(largest), n=n),
  }
  return Classified(
    entries=entries,
    names=classes.names,
    ensemble=by_class[''],
    single=by_class['single/'],
  )
