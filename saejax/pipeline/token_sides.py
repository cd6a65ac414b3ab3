"""The two sides of a store of tokens: what stands at images, and at captions.

A row is a token. What is known of an example, such as which concepts its image
and its caption share, is told by its strongest token.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np
import scipy.sparse

from saejax import encode
from saejax import errors
from saejax import nn
from saejax import store as store_lib
from saejax import types
from saejax.analysis import bootstrap
from saejax.analysis import heat
from saejax.pipeline import sides
from saejax.pipeline import trained_on

_ROWS = 65_536  # Encoded at a time: rows are many, and only codes are kept.
_MEASURED = 50_000  # Tokens of a side whose vectors are looked at.


@dataclasses.dataclass(frozen=True)
class Tokens:
  """All tokens of a split of a stream, those of an example together.

  Attributes:
    stream: where they are.
    rows_n: rows of it.
    z_nS: codes.
    error_n: ‖x − x̂‖² of each.
    example_n: whose each is, from 0.
    mean_ND: the mean vector of each example.
  """

  stream: store_lib.Stream
  rows_n: np.ndarray
  z_nS: scipy.sparse.csr_matrix
  error_n: np.ndarray
  example_n: np.ndarray
  mean_ND: np.ndarray

  def column(self, name: str) -> np.ndarray | None:
    """A column of the stream, of these rows; None where it has none such."""
    if name not in self.stream.spec.columns:
      return None
    return self.stream.column(name)[self.rows_n]


def are_in(store: store_lib.Store) -> bool:
  """Whether a store is of layers of a language model."""
  return not {'image', 'text'} <= set(store.streams) and any(
    trained_on.STREAM.fullmatch(name) for name in store.streams
  )


def streams(sae_path: str, store: store_lib.Store) -> tuple[str, str]:
  """The streams of images and texts that a dictionary is of.

  Texts are the bare captions, if it was trained on them: a caption that follows
  its image knows of it.

  Raises:
    UserError: it is not of one layer's images and texts.
  """
  layer, contexts = trained_on.layer(sae_path)
  texts = [c for c in ('text', 'caption') if c in contexts]
  if not texts:
    raise errors.UserError(
      f'{sae_path} was trained on images of layer {layer} alone; expected its '
      f'texts too, such as layer{layer:02d}.text.'
    )
  return f'layer{layer:02d}.image', f'layer{layer:02d}.{texts[0]}'


def read(
  sae: nn.LinearSAE,
  variables: types.ArrayTree,
  stream: store_lib.Stream,
  split: str,
) -> Tokens:
  """Encodes every token of a split."""
  rows_n = stream.rows(split)
  pair_n = stream.column('pair')[rows_n]
  order = np.argsort(pair_n, kind='stable')
  rows_n, pair_n = rows_n[order], pair_n[order]
  _, example_n = np.unique(pair_n, return_inverse=True)
  n = int(example_n.max(initial=-1)) + 1
  sum_ND, codes, misses = np.zeros((n, stream.d)), [], []
  for start in range(0, len(rows_n), _ROWS):
    run = slice(start, start + _ROWS)
    found = encode.encode(sae, variables, stream, rows_n[run])
    own, sum_D = bootstrap.sum_by(example_n[run], found.x_nD)
    sum_ND[own] += sum_D
    codes.append(found.z_nS)
    misses.append(found.error_n)
  return Tokens(
    stream=stream,
    rows_n=rows_n,
    z_nS=scipy.sparse.vstack(codes, format='csr'),
    error_n=np.concatenate(misses),
    example_n=example_n,
    mean_ND=sum_ND / np.bincount(example_n, minlength=n)[:, None],
  )


def measured(t: Tokens) -> sides.Side:
  """Tokens as rows; of more than 50,000 so many, evenly spread."""
  n = len(t.rows_n)
  at = np.linspace(0, n - 1, min(n, _MEASURED)).astype(int)
  rows_n = t.rows_n[at]
  pair_n = t.stream.column('pair')[rows_n]
  return sides.Side(
    stream=t.stream,
    rows_n=rows_n,
    x_nD=t.stream.take(rows_n).astype(np.float32, copy=False),
    z_nS=t.z_nS[at],
    error_n=t.error_n[at],
    group_n=t.stream.column('group')[rows_n],
    pair_n=pair_n,
    key_n=pair_n,
  )


def examples(t: Tokens) -> sides.Side:
  """Examples as rows: the mean vector, and of each code the largest.

  Each stands at its first token. Captions of the same words have one key.
  """
  rows_N = t.rows_n[np.unique(t.example_n, return_index=True)[1]]
  pair_N = t.stream.column('pair')[rows_N]
  n = len(rows_N)
  total_N = np.bincount(t.example_n, weights=t.error_n, minlength=n)
  return sides.Side(
    stream=t.stream,
    rows_n=rows_N,
    x_nD=t.mean_ND.astype(np.float32),
    z_nS=heat.strongest(t.z_nS, t.example_n, n),
    error_n=total_N / np.bincount(t.example_n, minlength=n),
    group_n=t.stream.column('group')[rows_N],
    pair_n=pair_N,
    key_n=pair_N
    if t.stream.modality == 'image'
    else sides.said(t.stream, rows_N, pair_N),
  )


def pair(
  sae: nn.LinearSAE,
  variables: types.ArrayTree,
  store: store_lib.Store,
  names: Sequence[str],
  split: str,
) -> tuple[Tokens, Tokens]:
  """Images and texts of a split."""
  image, text = (read(sae, variables, store[name], split) for name in names)
  return image, text
