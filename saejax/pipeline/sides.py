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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rows:
  """Rows of one split of one stream, and which of another belong to them.

  `key_n` is equal for texts that say the same; by default the pair's own.
  """

  stream: store_lib.Stream
  rows_n: np.ndarray
  x_nD: np.ndarray
  group_n: np.ndarray
  pair_n: np.ndarray
  key_n: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side(Rows):
  """Rows with their codes."""

  z_nS: scipy.sparse.csr_matrix
  error_n: np.ndarray

  def labels(self) -> np.ndarray:
    """Known factors of the rows, bool [n, F]."""
    return self.stream.column('labels')[self.rows_n].astype(bool)


def said(
  stream: store_lib.Stream, rows_n: np.ndarray, pair_n: np.ndarray
) -> np.ndarray:
  """Equal for texts that say the same: by meaning, by words, else by pair."""
  if 'meaning' in stream.spec.columns:
    return stream.column('meaning')[rows_n]
  places: dict[str | int, int] = {}
  keys = (
    words.get('caption', pair)
    for words, pair in zip(stream.words(rows_n), pair_n.tolist(), strict=True)
  )
  return np.array([places.setdefault(key, len(places)) for key in keys])


def read_rows(store: store_lib.Store, name: str, split: str) -> Rows:
  """A split of a stream as it is; texts of the same words have one key."""
  stream = store[name]
  rows_n = pair_n = stream.rows(split)
  if 'pair' in stream.spec.columns:
    pair_n = stream.column('pair')[rows_n]
  return Rows(
    stream=stream,
    rows_n=rows_n,
    x_nD=stream.take(rows_n).astype(np.float32, copy=False),
    group_n=stream.column('group')[rows_n],
    pair_n=pair_n,
    key_n=said(stream, rows_n, pair_n) if name == 'text' else pair_n,
  )


def check_width(
  stream: store_lib.Stream, path: str, image: store_lib.Stream
) -> None:
  """UserError unless a stream of the store at `path` is as wide as images."""
  if stream.d != image.d:
    raise errors.UserError(
      f'Stream {stream.name} of {path} has width {stream.d}, the images '
      f'{image.d}: they are of different models.'
    )


def encode_side(
  sae: nn.LinearSAE,
  variables: types.ArrayTree,
  stream: store_lib.Stream,
  split: str,
  rows_n: np.ndarray | None = None,
) -> Side:
  """Encodes rows of a stream: by default, every row of a split."""
  rows_n = stream.rows(split) if rows_n is None else rows_n
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


def check_rows(stream: store_lib.Stream, path: str, split: str) -> None:
  """UserError unless a stream of the store at `path` has rows in the split."""
  if not len(stream.rows(split)):
    remedy = ', or use --split=all' if split == 'test' else ''
    raise errors.UserError(
      f'Stream {stream.name} of {path} has no rows in {split}. Give its store '
      f'larger splits{remedy}.'
    )


def check_pairs(
  store: store_lib.Store,
  split: str,
  needs_train: bool = True,
  names: tuple[str, str] = _STREAMS,
) -> None:
  """UserError unless the store has images and their texts in the split.

  Without rows in train, too, there are no means to measure from.
  """
  missing = [name for name in names if name not in store.streams]
  if missing:
    raise errors.UserError(
      f'{store.path} has no stream {" and no ".join(missing)}; this needs '
      f'paired images and texts. It has {list(store.streams)}.'
    )
  parts = ('train', split) if needs_train else (split,)
  for name, part in itertools.product(names, parts):
    check_rows(store[name], store.path, part)
  pairs = [store[n].column('pair')[store[n].rows(split)] for n in names]
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


def encode_some_pairs(
  sae: nn.LinearSAE,
  variables: types.ArrayTree,
  store: store_lib.Store,
  split: str,
  most: int,
  seed: int = 0,
) -> tuple[Side, Side]:
  """Images and all their texts of up to `most` pairs of a split, at random."""
  check_pairs(store, split, needs_train=False)
  streams = [store[name] for name in _STREAMS]
  rows = [stream.rows(split) for stream in streams]
  pair_of = [
    stream.column('pair')[rows_n]
    for stream, rows_n in zip(streams, rows, strict=True)
  ]
  pairs = np.intersect1d(*pair_of)
  if len(pairs) > most:
    pairs = np.random.default_rng(seed).choice(pairs, most, replace=False)
  image, text = (
    encode_side(sae, variables, stream, split, rows_n[np.isin(pair_n, pairs)])
    for stream, rows_n, pair_n in zip(streams, rows, pair_of, strict=True)
  )
  return image, text
