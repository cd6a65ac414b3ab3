"""Floors: dictionaries that were not fitted."""

import numpy as np

from saejax.baselines import alternation
from saejax.baselines import dictionary


def fit(x_ND: np.ndarray, s: int, seed: int) -> dictionary.Dictionary:
  """Random directions, uniform on the sphere, about the training mean."""
  rng = np.random.default_rng(seed)
  return dictionary.Dictionary(
    w_SD=dictionary.unit(rng.normal(size=(s, x_ND.shape[1])))[0],
    b_D=x_ND.mean(0, dtype=np.float64).astype(np.float32),
    code='largest',
    signed=True,
  )


def fit_rows(x_ND: np.ndarray, s: int, seed: int) -> dictionary.Dictionary:
  """Training rows drawn at random: the sterner floor."""
  return dictionary.Dictionary(
    w_SD=dictionary.unit(alternation.draw_rows(x_ND, s, seed))[0],
    b_D=np.zeros(x_ND.shape[1], np.float32),
    code='nonnegative_lasso',
    signed=False,
  )
