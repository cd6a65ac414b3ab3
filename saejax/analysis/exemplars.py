"""The rows in which each concept is most active."""

import numpy as np
import scipy.sparse


def top_rows(
  z_nS: scipy.sparse.csr_matrix, k: int, key_n: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
  """The k most active rows of every concept, strongest first.

  Args:
    z_nS: codes.
    k: how many rows a concept.
    key_n: rows of equal key are shown once, so that one sentence, said of many
      images, does not fill the list.

  Returns:
    rows [S, k], -1 where a concept has fewer, and activations [S, k].
  """
  z_Sn = z_nS.T.tocsr()
  rows_SK = np.full((z_Sn.shape[0], k), -1)
  values_SK = np.zeros((z_Sn.shape[0], k))
  for s in range(z_Sn.shape[0]):
    run = slice(z_Sn.indptr[s], z_Sn.indptr[s + 1])
    rows_n, values_n = z_Sn.indices[run], z_Sn.data[run]
    order = np.argsort(-values_n, kind='stable')
    if key_n is not None:
      _, first = np.unique(key_n[rows_n[order]], return_index=True)
      order = order[np.sort(first)]
    order = order[:k]
    rows_SK[s, : len(order)] = rows_n[order]
    values_SK[s, : len(order)] = values_n[order]
  return rows_SK, values_SK
