"""Where a concept fires within an example: its tokens, one by one.

Rows are tokens and lie together by example. Of a concept only what fires is
kept: cells with a byte each, for the examples that are shown.
"""

import dataclasses

import numpy as np
import scipy.sparse

STEPS = 254  # Of a byte: 0 is silent, STEPS the largest; 255 means nothing.


def strongest(
  z_nS: scipy.sparse.csr_matrix, example_n: np.ndarray, n: int
) -> scipy.sparse.csr_matrix:
  """The largest code of each example's tokens: [n, S].

  Args:
    z_nS: codes of tokens, not negative.
    example_n: whose each is, from 0.
    n: how many examples there are.
  """
  z, s = z_nS.tocoo(), z_nS.shape[1]
  key = example_n[z.row].astype(np.int64) * s + z.col
  order = np.argsort(key, kind='stable')
  key, first = np.unique(key[order], return_index=True)
  largest = z.data[order]
  if len(key):
    largest = np.maximum.reduceat(largest, first)
  return scipy.sparse.csr_matrix((largest, (key // s, key % s)), shape=(n, s))


def quantise(values: np.ndarray, scale: np.ndarray | float) -> np.ndarray:
  """Positive values as bytes from 1 to STEPS, which is the scale."""
  share = values / np.maximum(scale, 1e-30)
  return np.clip(np.round(share * STEPS), 1, STEPS).astype(np.uint8)


@dataclasses.dataclass(frozen=True)
class Cells:
  """What fires where, in the shown examples of every concept.

  Attributes:
    starts: int64 [S·X + 1]; example x of concept s has the entries from
      starts[s·X + x] to the next.
    cell: where in the example, rising.
    q: bytes, see `quantise`.
    scale_S: what STEPS stands for: the largest of the concept's shown examples.
  """

  starts: np.ndarray
  cell: np.ndarray
  q: np.ndarray
  scale_S: np.ndarray


def cells(
  z_nS: scipy.sparse.csr_matrix,
  example_n: np.ndarray,
  cell_n: np.ndarray,
  shown_SX: np.ndarray,
) -> Cells:
  """Cells of the shown examples; of several tokens at one, the strongest.

  Args:
    z_nS: codes of tokens, not negative.
    example_n: whose each is, from 0.
    cell_n: where in its example each is; −1 for nowhere.
    shown_SX: examples of each concept, −1 for none.
  """
  z, (s, x) = z_nS.tocsc(), shown_SX.shape
  n = int(example_n.max(initial=-1)) + 1
  size = int(cell_n.max(initial=0)) + 1
  place_n, scale_S = np.full(n + 1, -1), np.zeros(s, np.float32)
  counts, found = np.zeros((s, x), np.int64), []
  for i in range(s):
    shown = np.flatnonzero(shown_SX[i] >= 0)
    place_n[shown_SX[i, shown]] = shown
    run = slice(z.indptr[i], z.indptr[i + 1])
    rows, values = z.indices[run], z.data[run]
    at, cell = place_n[example_n[rows]], cell_n[rows]
    scale_S[i] = values[at >= 0].max(initial=0)
    kept = (at >= 0) & (cell >= 0)
    key, inverse = np.unique(at[kept] * size + cell[kept], return_inverse=True)
    largest = np.zeros(len(key), np.float32)
    np.maximum.at(largest, inverse, values[kept])
    counts[i] = np.bincount(key // size, minlength=x)
    found.append((key % size, quantise(largest, scale_S[i])))
    place_n[shown_SX[i, shown]] = -1
  join = lambda parts, dtype: np.concatenate([np.zeros(0, dtype), *parts])
  return Cells(
    starts=np.concatenate([[0], np.cumsum(counts.ravel())]).astype(np.int64),
    cell=join([c for c, _ in found], np.int64).astype(np.int16),
    q=join([q for _, q in found], np.uint8),
    scale_S=scale_S,
  )
