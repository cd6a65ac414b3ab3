"""Retrieval between images and texts, with equivalent captions as hits."""

import bisect
from collections.abc import Sequence
import dataclasses

import numpy as np
import scipy.sparse

_PAIRS = 1 << 25  # Similarities held at once.
_TIE = 1e-6  # Rounding alone sets equal candidates this far apart (unit rows).


@dataclasses.dataclass(frozen=True)
class Hits:
  """Which candidate answers which query: one that says what is asked for.

  Kept as two factors, as all pairs would not fit where many say the same.

  Attributes:
    asks_qk: the keys that each query asks for.
    says_kc: the keys that each candidate says.
  """

  asks_qk: scipy.sparse.csr_matrix
  says_kc: scipy.sparse.csr_matrix

  def turned(self) -> 'Hits':
    """The same with candidates for queries."""
    return Hits(self.says_kc.T.tocsr(), self.asks_qk.T.tocsr())

  def block(self, rows: slice) -> scipy.sparse.csr_matrix:
    """Hits of some queries: bool [rows, c]."""
    return ((self.asks_qk[rows] @ self.says_kc) > 0).tocsr()

  def counts(self) -> np.ndarray:
    """How many candidates answer each query, int64 [q]."""
    queries = self.asks_qk.shape[0]
    rows = _rows(self.says_kc.shape[1])
    counts = [
      np.diff(self.block(slice(start, start + rows)).indptr)
      for start in range(0, queries, rows)
    ]
    return np.concatenate(counts or [np.zeros(0)]).astype(np.int64)


def _rows(candidates: int) -> int:
  """Queries that are compared with all candidates at once."""
  return max(_PAIRS // max(candidates, 1), 1)


def one_hot(key_n: np.ndarray, keys: int) -> scipy.sparse.csr_matrix:
  """int64 [n, keys], a one in each row."""
  n = len(key_n)
  return scipy.sparse.csr_matrix(
    (np.ones(n, np.int64), (np.arange(n), key_n)), shape=(n, keys)
  )


def hits(
  pair_i: np.ndarray, pair_j: np.ndarray, key_j: np.ndarray | None = None
) -> Hits:
  """Which text answers which image.

  A text is a hit for an image if one of the image's own texts has its key;
  without keys, if it is one of the image's own texts.

  Args:
    pair_i: pair of each image.
    pair_j: pair of each text.
    key_j: texts of equal key say the same.
  """
  pairs = np.unique(np.concatenate([pair_i, pair_j]))
  place = lambda p: np.searchsorted(pairs, p)
  if key_j is None:
    key_j = place(pair_j)
  keys, key_place_j = np.unique(key_j, return_inverse=True)
  image_ip = one_hot(place(pair_i), len(pairs))
  text_jp = one_hot(place(pair_j), len(pairs))
  text_jk = one_hot(key_place_j, len(keys))
  return Hits(image_ip @ (text_jp.T @ text_jk), text_jk.T.tocsr())


def ranks(
  query_qD: np.ndarray, candidate_cD: np.ndarray, hit: Hits
) -> np.ndarray:
  """Rank of each query's best hit, 0 the best; int64 [q], -1 without a hit.

  Ties count against: a candidate that is no hit and as near stands before it.
  """
  rank_q = np.full(len(query_qD), -1)
  rows = _rows(len(candidate_cD))
  for start in range(0, len(query_qD), rows):
    block = slice(start, start + rows)
    similarity_bc = query_qD[block] @ candidate_cD.T
    hit_bc = hit.block(block)
    hits_b = np.diff(hit_bc.indptr)
    query_h = np.repeat(np.arange(len(hits_b)), hits_b)
    hit_h = similarity_bc[query_h, hit_bc.indices]
    best_b = np.full(len(hits_b), -np.inf, similarity_bc.dtype)
    with np.errstate(invalid='ignore'):
      np.maximum.at(best_b, query_h, hit_h)
    least_b = best_b - _TIE
    # What is farther is counted, so that an undefined similarity counts
    # against, too.
    farther_b = np.count_nonzero(similarity_bc < least_b[:, None], axis=1)
    late_h = query_h[hit_h < least_b[query_h]]
    farther_b -= np.bincount(late_h, minlength=len(hits_b))
    others_b = len(candidate_cD) - hits_b
    rank_q[block] = np.where(hits_b > 0, others_b - farther_b, -1)
  return rank_q


def chance(
  hits_q: np.ndarray, candidates: int, ks: Sequence[int]
) -> np.ndarray:
  """Recall at each of `ks` of candidates in a random order, [K].

  Args:
    hits_q: how many candidates answer each query, at least one.
    candidates: how many there are.
    ks: how many of them are looked at.
  """
  many_h, times_h = np.unique(hits_q, return_counts=True)
  if not len(many_h):
    return np.full(len(ks), np.nan)
  # One hit after another lies among those not looked at.
  left_i = candidates - np.arange(many_h[-1])
  missed_iK = np.cumprod(
    np.clip(1 - np.asarray(ks) / left_i[:, None], 0, None), axis=0
  )
  return 1 - times_h @ missed_iK[many_h - 1] / times_h.sum()


def chance_median(hits_q: np.ndarray, candidates: int) -> int:
  """Median rank, 1 the best, of best hits among candidates in random order."""
  recall = lambda k: chance(hits_q, candidates, [k])[0]
  return bisect.bisect_left(range(1, candidates + 1), 0.5, key=recall) + 1


def unit_rows(x_nD: np.ndarray) -> np.ndarray:
  norm_n1 = np.linalg.norm(x_nD, axis=1, keepdims=True)
  return x_nD / np.maximum(norm_n1, 1e-12)
