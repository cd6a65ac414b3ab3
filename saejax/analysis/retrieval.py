"""Retrieval between images and texts, with equivalent captions as hits."""

import numpy as np
import scipy.sparse

_ROWS = 1024  # Queries whose similarities are held at once.
_TIE = 1e-6  # Rounding alone sets equal candidates this far apart (unit rows).


def hits(
  pair_i: np.ndarray, pair_j: np.ndarray, key_j: np.ndarray | None = None
) -> scipy.sparse.csr_matrix:
  """Which text answers which image: bool [images, texts].

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
  one = lambda rows, cols, shape: scipy.sparse.csr_matrix(
    (np.ones(len(rows), np.int64), (rows, cols)), shape=shape
  )
  image_ip = one(
    np.arange(len(pair_i)), place(pair_i), (len(pair_i), len(pairs))
  )
  says_pk = one(place(pair_j), key_place_j, (len(pairs), len(keys)))
  text_jk = one(np.arange(len(pair_j)), key_place_j, (len(pair_j), len(keys)))
  return ((image_ip @ says_pk @ text_jk.T) > 0).tocsr()


def ranks(
  query_qD: np.ndarray,
  candidate_cD: np.ndarray,
  hit_qc: scipy.sparse.csr_matrix,
) -> np.ndarray:
  """Rank of each query's best hit, 0 the best; int64 [q], -1 without a hit.

  Ties count against: a candidate that is no hit and as near stands before it.
  """
  rank_q = np.full(len(query_qD), -1)
  for start in range(0, len(query_qD), _ROWS):
    block = slice(start, start + _ROWS)
    similarity = query_qD[block] @ candidate_cD.T
    is_hit = hit_qc[block].toarray()
    best = np.where(is_hit, similarity, -np.inf).max(1)
    # Put so that an undefined similarity counts against, too.
    nearer = ~(similarity < best[:, None] - _TIE) & ~is_hit
    rank_q[block] = np.where(is_hit.any(1), nearer.sum(1), -1)
  return rank_q


def unit_rows(x_nD: np.ndarray) -> np.ndarray:
  norm_n1 = np.linalg.norm(x_nD, axis=1, keepdims=True)
  return x_nD / np.maximum(norm_n1, 1e-12)
