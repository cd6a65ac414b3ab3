"""Rows that probes read, and the classes they are to tell.

Rows are single tokens, or the mean over those of an example. An SAE reads
tokens: its codes, not what it reads, are averaged.
"""

import collections
from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import re

import numpy as np

from saejax import encode
from saejax import errors
from saejax import nn
from saejax import store as store_lib
from saejax import types
from saejax.analysis import bootstrap
from saejax.data import captions
from saejax.data import scenes
from saejax.data import specs

NONE = -1  # Of a row without a class.
_LABEL, _CLASS = 'label', 'class'
_ROWS = 1 << 16  # Read at once.
_LEFT_OUT = ('pair',)  # Says no more than colour and shape.
_LAYER = re.compile(r'layer(\d+)\.(\w+)')


@dataclasses.dataclass(frozen=True)
class Classes:
  """Classes of one factor, and that of each row of a stream.

  Attributes:
    names: of the classes.
    label_N: the row's class, NONE of rows that have none or several.
  """

  names: tuple[str, ...]
  label_N: np.ndarray


@dataclasses.dataclass(frozen=True)
class Rows:
  """Some rows of a stream.

  Attributes:
    x_nD: activations, or codes.
    example_n: which example each is of.
    group_n: equal for one image.
    place_n: a row of the stream that each is of, for its labels.
  """

  x_nD: np.ndarray
  example_n: np.ndarray
  group_n: np.ndarray
  place_n: np.ndarray

  def take(self, kept) -> 'Rows':
    return Rows(**{k: v[kept] for k, v in vars(self).items()})


def layers(store: store_lib.Store, context: str) -> dict[int, str]:
  """Streams of a context by layer, or one stream of that name, as layer 0."""
  found = {}
  for name in store.streams:
    match = _LAYER.fullmatch(name)
    if match and match[2] == context:
      found[int(match[1])] = name
  if not found and context in store.streams:
    return {0: context}
  if not found:
    raise errors.UserError(
      f'{store.path} has no streams layerNN.{context} and none that is called '
      f'{context}; it has {", ".join(store.streams)}.'
    )
  return dict(sorted(found.items()))


def _grouped(names: Sequence[str], has_NF: np.ndarray) -> dict[str, Classes]:
  """Factors from columns `kind=value`; any other column is one by itself."""
  kinds = collections.defaultdict(list)
  for f, name in enumerate(names):
    kinds[name.partition('=')[0]].append(f)
  found = {}
  for kind, columns in kinds.items():
    if kind in _LEFT_OUT:
      continue
    has_NC = has_NF[:, columns].astype(bool)
    if len(columns) == 1:
      found[kind] = Classes(('no', 'yes'), has_NC[:, 0].astype(np.int64))
      continue
    label_N = np.where(has_NC.sum(1) == 1, has_NC.argmax(1), NONE)
    values = tuple(names[f].partition('=')[2] for f in columns)
    found[kind] = Classes(values, label_N)
  return found


def _of_scenes(store: store_lib.Store, stream: store_lib.Stream):
  """Factors of the scenes that rows are of, which a store need not hold."""
  about = {k: v for k, v in store.about['dataset'].items() if k != 'name'}
  data = specs.SceneSet(**(about | {'splits': tuple(about['splits'])}))
  index_P, place_N = np.unique(stream.column('pair'), return_inverse=True)
  sampled = scenes.sample(data.world, index_P)
  if stream.modality == 'image':
    return scenes.present(sampled)[place_N]
  return captions.caption(data.world, sampled).mentioned_NF[place_N]


def classes(
  store: store_lib.Store, stream: store_lib.Stream
) -> dict[str, Classes]:
  """Factors of a stream: its labels, its classes, or what its scenes hold."""
  dataset = store.about.get('dataset')
  dataset = dataset if isinstance(dataset, dict) else {}
  found = {}
  if stream.labels:
    found |= _grouped(stream.labels, stream.column('labels'))
  elif dataset.get('name') == 'scenes' and 'pair' in stream.spec.columns:
    found |= _grouped(scenes.FACTORS, _of_scenes(store, stream))
  if _LABEL in stream.spec.columns:
    label_N = stream.column(_LABEL).astype(np.int64)
    named = dataset.get('classes') or range(label_N.max(initial=-1) + 1)
    found[_CLASS] = Classes(tuple(map(str, named)), label_N)
  if not found:
    raise errors.UserError(
      f'Stream {stream.name} of {store.path} has no labels: probes need a '
      'store of scenes, or of a data set with classes.'
    )
  return found


def read(
  stream: store_lib.Stream,
  split: str | np.ndarray,
  tokens: bool = False,
  most: int | None = None,
  read_rows: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Rows:
  """Rows of a split: the mean of each example, or its tokens one by one.

  Args:
    stream: of a store.
    split: of store.SPLITS, or numbers of rows.
    tokens: whether tokens are rows.
    most: examples, or tokens, at most; spread evenly over the split.
    read_rows: what stands for rows, by their numbers; by default themselves.
  """
  if read_rows is None:
    read_rows = lambda rows_n: stream.take(rows_n).astype(np.float32)
  rows_n = stream.rows(split) if isinstance(split, str) else split
  key = 'pair' if 'pair' in stream.spec.columns else 'group'
  example_n = stream.column(key)[rows_n]
  if tokens:
    kept_n = _evenly(len(rows_n), most)
    rows_n, example_n = rows_n[kept_n], example_n[kept_n]
    x_nD = [_dense(read_rows(part_n)) for part_n in _parts(rows_n)]
    x_nD = np.concatenate([np.zeros((0, stream.d)), *x_nD][bool(x_nD) :])
    return Rows(x_nD, example_n, stream.column('group')[rows_n], rows_n)
  every_E = np.unique(example_n)
  kept_n = np.isin(example_n, every_E[_evenly(len(every_E), most)])
  rows_n, example_n = rows_n[kept_n], example_n[kept_n]
  example_E, first_E, place_n = np.unique(
    example_n, return_index=True, return_inverse=True
  )
  sums_ED = np.zeros((0, stream.d))
  for start, part_n in enumerate(_parts(rows_n)):
    at_b = place_n[start * _ROWS : start * _ROWS + len(part_n)]
    at_e, sums_eD = bootstrap.sum_by(at_b, read_rows(part_n))
    sums_eD = _dense(sums_eD)
    if not start:
      sums_ED = np.zeros((len(example_E), sums_eD.shape[1]))
    sums_ED[at_e] += sums_eD
  count_E1 = np.bincount(place_n, minlength=len(example_E))[:, None]
  return Rows(
    x_nD=(sums_ED / count_E1).astype(np.float32),
    example_n=example_E,
    group_n=stream.column('group')[rows_n[first_E]],
    place_n=rows_n[first_E],
  )


def _dense(x_nD) -> np.ndarray:
  return x_nD.toarray() if hasattr(x_nD, 'toarray') else np.asarray(x_nD)


def _evenly(n: int, most: int | None) -> np.ndarray:
  if most is None or n <= most:
    return np.arange(n)
  return np.linspace(0, n - 1, most).astype(int)


def _parts(rows_n: np.ndarray):
  return [rows_n[i : i + _ROWS] for i in range(0, len(rows_n), _ROWS)]


def check_tokens(stream: store_lib.Stream, d: int, path: str) -> None:
  """UserError unless an SAE of width d, at `path`, can read a stream's rows.

  A pooled row is no token, and almost nothing of an SAE fires on it.
  """
  if 'position' not in stream.spec.columns:
    raise errors.UserError(
      f'Stream {stream.name} holds means over positions, and an SAE reads '
      'tokens: cache activations without --pool.'
    )
  if stream.d != d:
    raise errors.UserError(
      f'The SAE at {path} reads rows of width {d}; stream {stream.name} has '
      f'width {stream.d}.'
    )


def coder(
  sae: nn.LinearSAE, variables: types.ArrayTree, stream: store_lib.Stream
) -> Callable[[np.ndarray], np.ndarray]:
  """Codes of rows of a stream, by their numbers."""
  return lambda rows_n: encode.encode(sae, variables, stream, rows_n).z_nS
