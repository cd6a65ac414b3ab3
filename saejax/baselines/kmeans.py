"""K-means: a row's code is one-hot, its nearest centroid, so that L0 is 1."""

import numpy as np
import sklearn.cluster
import threadpoolctl

from saejax.baselines import dictionary

_BATCH = 4096


def centroids(x_ND: np.ndarray, s: int, seed: int) -> np.ndarray:
  """Centroids [s, D], by batches (Sculley, 2010)."""
  found = sklearn.cluster.MiniBatchKMeans(
    s, batch_size=_BATCH, init_size=max(3 * s, _BATCH), n_init=1,
    random_state=seed, max_no_improvement=20,
  )  # fmt: skip
  # Its matmuls are many and small: threads that share cores wait for each
  # other at every one, up to twenty times as long. It has threads of its own.
  with threadpoolctl.threadpool_limits(1, user_api='blas'):
    return found.fit(x_ND).cluster_centers_


def fit(x_ND: np.ndarray, s: int, seed: int) -> dictionary.Dictionary:
  """Fits K-means; a code is the norm that its centroid had.

  Args:
    x_ND: rows.
    s: centroids.
    seed: of where they start and of the batches.
  """
  w_SD, length_S = dictionary.unit(centroids(x_ND, s, seed))
  return dictionary.Dictionary(
    w_SD=w_SD,
    b_D=np.zeros(x_ND.shape[1], np.float32),
    code='nearest',
    signed=False,
    length_S=length_S,
  )
