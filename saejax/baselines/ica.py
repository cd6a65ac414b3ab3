"""ICA: directions along which rows are least Gaussian (Hyvärinen, 1999)."""

import warnings

import numpy as np
import sklearn.decomposition
import sklearn.exceptions

from saejax.baselines import dictionary
from saejax.data import batches

_ROWS = 100_000  # Fitted to no more of them.
_ITERATIONS, _TOLERANCE = 300, 1e-3


def fit(x_ND: np.ndarray, s: int, seed: int) -> dictionary.Dictionary:
  """Fits FastICA to up to 100,000 rows; atoms are columns of the mixing matrix.

  A row's sources are (x − b) times filters, in units of the atoms' norms.

  Args:
    x_ND: rows.
    s: sources; at most the width and the number of rows are found.
    seed: of the rows and of where the filters start.
  """
  n = min(len(x_ND), _ROWS)
  rows_n = batches.permute(np.arange(n), len(x_ND), seed=seed)
  model = sklearn.decomposition.FastICA(
    min(s, n, x_ND.shape[1]), whiten='unit-variance', max_iter=_ITERATIONS,
    tol=_TOLERANCE, random_state=seed,
  )  # fmt: skip
  with warnings.catch_warnings():
    # Sources that are Gaussian have no direction to converge to.
    warnings.simplefilter('ignore', sklearn.exceptions.ConvergenceWarning)
    model.fit(x_ND[np.sort(rows_n)])
  w_SD, length_S = dictionary.unit(model.mixing_.T)
  return dictionary.Dictionary(
    w_SD=w_SD,
    b_D=model.mean_.astype(np.float32),
    code='largest',
    signed=True,
    filter_SD=(model.components_ * length_S[:, None]).astype(np.float32),
  )
