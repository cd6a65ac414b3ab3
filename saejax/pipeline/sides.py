"""The two sides of a paired store, encoded: what every analysis starts from."""

import dataclasses
import itertools

import numpy as np
import scipy.sparse

from saejax import encode
from saejax import errors
from saejax import nn
from saejax import store as store_lib
from saejax import types

_STREAMS = ('image', 'text')


@dataclasses.dataclass(frozen=True)
class Side:
  """Rows of one split of one stream, with their codes.

  `key_n` is equal for texts that say the same; by default the pair's own.
  """

  stream: store_lib.Stream
  rows_n: np.ndarray
  x_nD: np.ndarray
  z_nS: scipy.sparse.csr_matrix
  error_n: np.ndarray
  group_n: np.ndarray
  pair_n: np.ndarray
  key_n: np.ndarray

  def labels(self) -> np.ndarray:
    """Known factors of the rows, bool [n, F]."""
    return self.stream.column('labels')[self.rows_n].astype(bool)


def encode_side(
  sae: nn.LinearSAE,
  variables: types.ArrayTree,
  stream: store_lib.Stream,
  split: str,
) -> Side:
  """Encodes every row of a split of a stream."""
  rows_n = stream.rows(split)
  encoded = encode.encode(sae, variables, stream, rows_n)
  column = lambda name: stream.column(name)[rows_n]
  has_key = 'meaning' in stream.spec.columns
  return Side(
    stream=stream,
    rows_n=rows_n,
    x_nD=encoded.x_nD,
    z_nS=encoded.z_nS,
    error_n=encoded.error_n,
    group_n=column('group'),
    pair_n=column('pair'),
    key_n=column('meaning' if has_key else 'pair'),
  )


def check_pairs(store: store_lib.Store, split: str) -> None:
  """UserError unless the store has images and texts in train and the split.

  Without rows in train there are no means to measure from.
  """
  missing = [name for name in _STREAMS if name not in store.streams]
  if missing:
    raise errors.UserError(
      f'{store.path} has no stream {" and no ".join(missing)}; this needs '
      f'paired images and texts. It has {list(store.streams)}.'
    )
  for name, part in itertools.product(('image', 'text'), ('train', split)):
    if not len(store[name].rows(part)):
      remedy = ', or use --split=all' if part == 'test' else ''
      raise errors.UserError(
        f'Stream {name} of {store.path} has no rows in {part}. Give its store '
        f'larger splits{remedy}.'
      )
  pairs = [store[n].column('pair')[store[n].rows(split)] for n in _STREAMS]
  if not np.isin(*pairs).any():
    raise errors.UserError(
      f'No text of {store.path} belongs to any of its images in {split}: their '
      'pair columns share no number.'
    )


def encode_pairs(
  sae: nn.LinearSAE,
  variables: types.ArrayTree,
  store: store_lib.Store,
  split: str,
) -> tuple[Side, Side]:
  """Images and texts of a split."""
  check_pairs(store, split)
  image, text = (
    encode_side(sae, variables, store[name], split) for name in _STREAMS
  )
  return image, text
