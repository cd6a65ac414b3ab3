"""Codes whose concepts are known: image atoms first, then text atoms."""

import numpy as np
import scipy.sparse

from saejax.analysis import bridges
from tests import planted

IMAGE = planted.FACTORS + planted.OWN  # Image atoms; a factor's text atom is
# so many places after its image atom.
S = 2 * IMAGE
_LEAST = 0.3  # Half of the weakest strength; noise stays far below.


def solve(x_ND: np.ndarray, atoms_SD: np.ndarray) -> scipy.sparse.csr_matrix:
  """The codes that made the rows, by least squares; noise is cut off."""
  z_NS = x_ND @ np.linalg.pinv(atoms_SD)
  return scipy.sparse.csr_matrix(np.where(z_NS > _LEAST, z_NS, 0))


def planted_pairs(n: int, seed: int = 0, matched: bool = True):
  """Matched codes of planted rows, and their dictionary."""
  p = planted.sample(n, seed, matched)
  m = bridges.match(
    solve(p.image_ND, p.atoms_SD),
    solve(p.text_ND, p.atoms_SD),
    np.arange(n),
    np.arange(n),
  )
  return m, p.atoms_SD


def random(rng: np.random.Generator, n: int, rate_S) -> scipy.sparse.csr_matrix:
  """Independent codes of skewed strength; concept s fires at rate_S[s]."""
  rate_S = np.asarray(rate_S)
  z_nS = rng.lognormal(size=(n, len(rate_S)))
  return scipy.sparse.csr_matrix(z_nS * (rng.random(z_nS.shape) < rate_S))


def pair_up(image_GS, text_GS) -> bridges.Matched:
  """Row g of both is pair g."""
  n = image_GS.shape[0]
  return bridges.match(
    scipy.sparse.csr_matrix(image_GS),
    scipy.sparse.csr_matrix(text_GS),
    np.arange(n),
    np.arange(n),
  )


def unit_rows(rng: np.random.Generator, s: int, d: int) -> np.ndarray:
  d_SD = rng.normal(size=(s, d))
  return d_SD / np.linalg.norm(d_SD, axis=1, keepdims=True)
