"""Rows of the streams that `caching` keeps, and the columns beside them.

Every row has its image's group and split, and `pair`, its example's number; a
token also says where it is. Of a data set of classes there is the column
`label`, as `embed` writes it: an index into the manifest's class names, −1 of
an image without one. It is the class of the example, so that a caption's rows
have that of its image.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np

from saejax import store as store_lib
from saejax.pipeline import caching_places as places_lib
from saejax.pipeline import examples as examples_lib

LABEL = 'label'
_POOLED = ('group', 'split', 'pair')
_TOKENS = (*_POOLED, 'position', 'token_id')
_NONE = -1  # No class.


@dataclasses.dataclass
class Rows:
  """Rows of one stream, as they come.

  Attributes:
    x: activations, by example [n, D].
    columns: of every row, in the stream's order but for `label`.
    label: the class of every row.
    factors: of a scene, one array [F] for every row.
    words: of every row, for the sidecar.
  """

  x: list[np.ndarray] = dataclasses.field(default_factory=list)
  columns: list[tuple[int, ...]] = dataclasses.field(default_factory=list)
  label: list[int] = dataclasses.field(default_factory=list)
  factors: list[np.ndarray] = dataclasses.field(default_factory=list)
  words: list[dict[str, Any]] = dataclasses.field(default_factory=list)


def columns(context: str, pool: bool, has_classes: bool) -> tuple[str, ...]:
  """Integer columns of a context's streams."""
  own = _POOLED if pool else (*_TOKENS, *places_lib.COLUMNS[context])
  return (*own, LABEL) if has_classes else own


def add(
  rows: Rows,
  example: examples_lib.Example,
  context: str,
  x_nD: np.ndarray,
  own_nK: np.ndarray,
  pool: bool,
) -> None:
  """Adds what is kept of an example in one context: all of it, or its mean.

  Args:
    rows: of the stream.
    example: that the rows are of.
    context: which they are.
    x_nD: activations; of none nothing is added.
    own_nK: position, token and place of each.
    pool: whether the mean is kept.
  """
  if not len(x_nD):
    return
  shared = (example.group, example.split, example.index)
  words = {'caption': example.caption} if example.caption else {}
  if pool:
    rows.x.append(x_nD.mean(0, keepdims=True))
    rows.columns.append(shared)
    if example.labels is not None:
      rows.factors.append(example.labels[context != 'image'])
    rows.words.append(words | dict(example.words))
  else:
    rows.x.append(x_nD)
    rows.columns += [(*shared, *own_K) for own_K in own_nK.tolist()]
    own = example.words if context == 'image' else words
    rows.words += [dict(own)] * len(x_nD)
  label = _NONE if example.label is None else example.label
  rows.label += [label] * (len(rows.words) - len(rows.label))


def write(
  writer: store_lib.StoreWriter,
  index: int,
  rows: Mapping[str, Rows],
  notes: Sequence[Mapping[str, Any]],
) -> None:
  """Writes a shard of every stream.

  Args:
    writer: with the streams.
    index: the shard's.
    rows: by stream.
    notes: to keep with it.
  """
  for name, found in rows.items():
    spec = writer.streams[name]
    own = [c for c in spec.columns if c != LABEL]
    table = np.array(found.columns, np.int64).reshape(-1, len(own))
    columns = {c: table[:, i] for i, c in enumerate(own)}
    if LABEL in spec.columns:
      columns[LABEL] = np.array(found.label, np.int64)
    if spec.labels:
      columns['labels'] = np.array(found.factors, np.uint8).reshape(
        -1, len(spec.labels)
      )
    x_nD = np.concatenate([np.zeros((0, spec.d), np.float32), *found.x])
    writer.write(name, index, x_nD, columns, found.words or None, notes)
