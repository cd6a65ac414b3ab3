"""PCA: orthogonal directions of most variance about the training mean."""

import numpy as np
import sklearn.decomposition

from saejax.baselines import dictionary


def fit(x_ND: np.ndarray, s: int, seed: int = 0) -> dictionary.Dictionary:
  """Fits PCA by eigenvectors of the covariance.

  Args:
    x_ND: rows.
    s: components; at most the width and the number of rows are found.
    seed: not used: nothing is random.
  """
  del seed
  found = sklearn.decomposition.PCA(
    min(s, *x_ND.shape), svd_solver='covariance_eigh'
  ).fit(x_ND.astype(np.float64))
  return dictionary.Dictionary(
    w_SD=found.components_.astype(np.float32),
    b_D=found.mean_.astype(np.float32),
    code='largest',
    signed=True,
  )
