"""Whether a concept means the same in two contexts: its strongest tokens.

Letters as in `types`; n tokens, S concepts.
"""

import numpy as np
import scipy.sparse


def top_means(
  x_nD: np.ndarray, z_nS: scipy.sparse.csr_matrix, k: int, own_SD=None
) -> np.ndarray:
  """Mean row of each concept's k strongest tokens: [S, D]; NaN where none.

  SAE-V (arXiv 2502.17514) compares these between modalities.

  Args:
    x_nD: the tokens' rows, about their modality's mean.
    z_nS: codes.
    k: how many tokens, at most.
    own_SD: directions of the concepts, along which each mean is projected out:
      two sets that fire for one concept are alike in that anyway.
  """
  z_Sn = z_nS.T.tocsr()
  found_SD = np.full((z_Sn.shape[0], x_nD.shape[1]), np.nan, np.float32)
  for s in range(z_Sn.shape[0]):
    run = slice(z_Sn.indptr[s], z_Sn.indptr[s + 1])
    rows_n, values_n = z_Sn.indices[run], z_Sn.data[run]
    if not len(rows_n):
      continue
    top = np.argsort(-values_n, kind='stable')[:k]
    found_SD[s] = x_nD[rows_n[top]].mean(0)
    if own_SD is not None:
      d_D = own_SD[s] / max(np.linalg.norm(own_SD[s]), 1e-12)
      found_SD[s] -= (found_SD[s] @ d_D) * d_D
  return found_SD


def cosines(a_SD: np.ndarray, b_SD: np.ndarray) -> np.ndarray:
  """Of rows with rows: [S]; NaN where one is undefined or zero."""
  norm_S = np.linalg.norm(a_SD, axis=1) * np.linalg.norm(b_SD, axis=1)
  with np.errstate(invalid='ignore', divide='ignore'):
    return np.where(norm_S > 0, (a_SD * b_SD).sum(1) / norm_S, np.nan)


def other_cosines(a_SD: np.ndarray, b_SD: np.ndarray) -> np.ndarray:
  """Mean cosine of each row with all rows of the others: [S]."""
  unit = lambda x: x / np.maximum(np.linalg.norm(x, axis=1)[:, None], 1e-12)
  cosine_SS = unit(a_SD) @ unit(b_SD).T
  s = len(a_SD)
  if s < 2:
    return np.full(s, np.nan)
  return (cosine_SS.sum(1) - np.diag(cosine_SS)) / (s - 1)
