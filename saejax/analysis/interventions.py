"""Changes of codes: concepts removed, kept alone, scaled, swapped or added.

Functions of codes alone, CSR in and CSR out; decoding is linear, so that what
is removed and what is kept add up to the whole reconstruction.
"""

from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np
import scipy.sparse

from saejax import errors


def check_concepts(concepts_C: Sequence[int], s: int) -> np.ndarray:
  """Concepts as indices, each once and rising; UserError for one of none."""
  concepts_C = np.unique(np.asarray(concepts_C, np.int64))
  outside = concepts_C[(concepts_C < 0) | (concepts_C >= s)]
  if len(outside):
    raise errors.UserError(
      f'There is no concept {outside[0]}: the dictionary has 0…{s - 1}.'
    )
  return concepts_C


def _times(
  z_nS: scipy.sparse.csr_matrix, factor_S: np.ndarray
) -> scipy.sparse.csr_matrix:
  """Codes times a factor of each concept; what becomes 0 is not stored."""
  data = z_nS.data * factor_S[z_nS.indices].astype(z_nS.dtype)
  scaled_nS = scipy.sparse.csr_matrix(
    (data, z_nS.indices.copy(), z_nS.indptr.copy()), shape=z_nS.shape
  )
  scaled_nS.eliminate_zeros()
  return scaled_nS


def scale(
  z_nS: scipy.sparse.csr_matrix, concepts_C: Sequence[int], factor: float
) -> scipy.sparse.csr_matrix:
  """Codes of some concepts times a factor.

  Raises:
    UserError: a concept that the dictionary does not have, here and below.
  """
  factor_S = np.ones(z_nS.shape[1])
  factor_S[check_concepts(concepts_C, z_nS.shape[1])] = factor
  return _times(z_nS, factor_S)


def remove(
  z_nS: scipy.sparse.csr_matrix, concepts_C: Sequence[int]
) -> scipy.sparse.csr_matrix:
  """Codes without some concepts."""
  return scale(z_nS, concepts_C, 0)


def keep(
  z_nS: scipy.sparse.csr_matrix, concepts_C: Sequence[int]
) -> scipy.sparse.csr_matrix:
  """Codes of some concepts alone."""
  factor_S = np.zeros(z_nS.shape[1])
  factor_S[check_concepts(concepts_C, z_nS.shape[1])] = 1
  return _times(z_nS, factor_S)


def swap(
  z_nS: scipy.sparse.csr_matrix, i_P: Sequence[int], j_P: Sequence[int]
) -> scipy.sparse.csr_matrix:
  """Codes in which concepts i and j of each pair have changed places.

  Raises:
    UserError: a concept stands in two pairs, so that the order would matter.
  """
  s = z_nS.shape[1]
  i_P, j_P = np.asarray(i_P, np.int64), np.asarray(j_P, np.int64)
  both = np.concatenate([i_P, j_P])
  if len(check_concepts(both, s)) < len(both):
    raise errors.UserError('A concept to be swapped stands in two pairs.')
  place_S = np.arange(s)
  place_S[i_P], place_S[j_P] = j_P, i_P
  swapped_nS = scipy.sparse.csr_matrix(
    (z_nS.data.copy(), place_S[z_nS.indices], z_nS.indptr.copy()),
    shape=z_nS.shape,
  )
  swapped_nS.sort_indices()
  return swapped_nS


def edit(
  z_nS: scipy.sparse.csr_matrix,
  add: Mapping[int, float] | None = None,
  remove_C: Sequence[int] = (),
) -> scipy.sparse.csr_matrix:
  """Codes without some concepts, to which others are added in every row.

  Args:
    z_nS: codes.
    add: how much is added to the code of each concept named; what is removed
      as well has just this code afterwards.
    remove_C: concepts to remove.
  """
  add = dict(add or {})
  left_nS = remove(z_nS, remove_C)
  check_concepts(list(add), z_nS.shape[1])
  n, c = z_nS.shape[0], len(add)
  if not c:
    return left_nS
  added_nS = scipy.sparse.csr_matrix(
    (
      np.tile(np.array(list(add.values()), z_nS.dtype), n),
      (np.repeat(np.arange(n), c), np.tile(np.array(list(add)), n)),
    ),
    shape=z_nS.shape,
  )
  return (left_nS + added_nS).tocsr()
