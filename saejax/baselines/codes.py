"""Codes of rows on a dictionary: its method's own, or one way for all.

Own codes, by `Dictionary.code`:
  largest            the K largest |(x − b)·filter|, then least squares
  lasso              argmin ½‖x − b − zD‖² + λΣ|z|, then least squares on those
                     that are not 0
  nonnegative_lasso  the same over z ≥ 0
  nearest            one-hot: the nearest centroid, so L0 is 1

The refit after an L1 weight is to the method's favour: λ chooses, and does not
shrink. Common codes are those of orthogonal matching pursuit, z ≥ 0.
"""

from collections.abc import Callable
import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from saejax import ops
from saejax.baselines import descent
from saejax.baselines import dictionary as dictionary_lib

_NUMBERS = 1 << 24  # Held at once for the rows of a block.
_ITERATIONS = 200
_BISECTIONS = 11
Dictionary = dictionary_lib.Dictionary


def in_blocks(
  encode: Callable[[jax.Array], np.ndarray | scipy.sparse.csr_matrix],
  x_nD: np.ndarray,
  s: int,
  per_row: int,
) -> scipy.sparse.csr_matrix:
  """Codes of rows, a few at a time; blocks are of one shape, padded with 0."""
  # Powers of two, so that few shapes are ever compiled.
  need = 1 << max(len(x_nD) - 1, 0).bit_length()
  size = min(1 << max(_NUMBERS // per_row, 1).bit_length() - 1, need)
  blocks = [scipy.sparse.csr_matrix((0, s), dtype=np.float32)]
  with jax.default_matmul_precision('highest'):
    for start in range(0, len(x_nD), size):
      x_bD = np.asarray(x_nD[start : start + size], np.float32)
      padded_BD = np.pad(x_bD, ((0, size - len(x_bD)), (0, 0)))
      z_BS = scipy.sparse.csr_matrix(encode(jnp.asarray(padded_BD)))
      blocks.append(z_BS[: len(x_bD)])
  return scipy.sparse.vstack(blocks, format='csr')


def _from_indices(values_BK, index_BK, s: int) -> scipy.sparse.csr_matrix:
  values_BK, index_BK = map(np.asarray, (values_BK, index_BK))
  at = np.nonzero(values_BK)
  return scipy.sparse.csr_matrix(
    (values_BK[at], (at[0], index_BK[at])), shape=(len(values_BK), s)
  )


@functools.partial(jax.jit, static_argnames='k')
def _largest(x_BD, w_SD, filter_SD, k: int):
  """The K largest codes of either sign, fitted by least squares."""
  _, index_BK = jax.lax.top_k(jnp.abs(x_BD @ filter_SD.T), k)
  atoms_BKD = w_SD[index_BK]
  gram_BKK = jnp.einsum('BKD,BkD->BKk', atoms_BKD, atoms_BKD)
  overlap_BK = jnp.einsum('BKD,BD->BK', atoms_BKD, x_BD)
  # Of atoms that all but coincide any share will do; zero rows give 0.
  gram_BKK += 1e-6 * jnp.eye(k)[None]
  return jnp.linalg.solve(gram_BKK, overlap_BK[..., None])[..., 0], index_BK


@jax.jit
def _nearest(x_BD, centroid_SD):
  distance_BS = (centroid_SD**2).sum(1)[None] - 2 * x_BD @ centroid_SD.T
  return jnp.argmin(distance_BS, axis=1, keepdims=True)


def encode(
  dictionary: Dictionary,
  x_nD: np.ndarray,
  sparsity: float | None,
  refit: bool = True,
) -> scipy.sparse.csr_matrix:
  """A method's own codes [n, S].

  Args:
    dictionary: what was fitted.
    x_nD: rows.
    sparsity: K of 'largest', at most the number of atoms; the weight λ of the
      two lassos; ignored by 'nearest'.
    refit: whether codes of a lasso are then fitted without its weight.
  """
  s, d = dictionary.w_SD.shape
  x_nD = x_nD - dictionary.b_D
  w_SD = jnp.asarray(dictionary.w_SD)
  if dictionary.code == 'nearest':
    length_S = dictionary.length_S
    centroid_SD = w_SD * length_S[:, None]

    def run(x_BD):
      index_B1 = np.asarray(_nearest(x_BD, centroid_SD))
      return _from_indices(length_S[index_B1], index_B1, s)

    return in_blocks(run, x_nD, s, s)
  if dictionary.code == 'largest':
    k = min(int(sparsity), s)
    found = dictionary.filter_SD
    filter_SD = w_SD if found is None else jnp.asarray(found)
    run = lambda x_BD: _from_indices(*_largest(x_BD, w_SD, filter_SD, k), s)
    return in_blocks(run, x_nD, s, s + k * (d + k))
  run = lambda x_BD: np.asarray(
    descent.lasso(
      x_BD, w_SD, sparsity, signed=dictionary.signed, iterations=_ITERATIONS,
      refit=refit,
    )
  )  # fmt: skip
  return in_blocks(run, x_nD, s, 4 * s)


def tune(dictionary: Dictionary, x_nD: np.ndarray, l0: int) -> float | None:
  """The sparsity at which a method's own codes have a mean L0 on some rows.

  Args:
    dictionary: what was fitted.
    x_nD: rows that nothing is reported on.
    l0: codes a row.

  Returns:
    What `encode` takes. λ is found by bisection of its logarithm, and is the
    smallest tried whose L0 is at most what was asked.
  """
  if dictionary.code == 'nearest':
    return None
  if dictionary.code == 'largest':
    return float(min(l0, dictionary.s))
  most = float(np.abs((x_nD - dictionary.b_D) @ dictionary.w_SD.T).max())
  high, low = np.log(max(most, 1e-30)), np.log(max(most, 1e-30) * 1e-6)
  for _ in range(_BISECTIONS):
    middle = (low + high) / 2
    # A refit takes away no code that may have any sign.
    z_nS = encode(
      dictionary, x_nD, float(np.exp(middle)), refit=not dictionary.signed
    )
    found = z_nS.nnz / len(x_nD)
    low, high = (low, middle) if found <= l0 else (middle, high)
  return float(np.exp(high))


def pursue(
  w_SD: np.ndarray, x_nD: np.ndarray, l0: int, signed: bool
) -> scipy.sparse.csr_matrix:
  """Codes [n, S] by orthogonal matching pursuit: the same for every method.

  Each step takes the atom of largest ⟨residual, w⟩ and fits all so far by least
  squares, z ≥ 0 (`ops.orthogonal_pursuit`). Where a method's codes have both
  signs its atoms stand beside their negatives, and a code on −w is a negative
  one on w.

  Args:
    w_SD: unit rows.
    x_nD: rows, less the b of their method.
    l0: steps, and so the most codes of a row.
    signed: whether codes of both signs are meant.
  """
  s, d = w_SD.shape
  k = min(l0, s)
  both_SD = np.concatenate([w_SD, -w_SD]) if signed else w_SD
  both_SD = jnp.asarray(both_SD, jnp.float32)

  def run(x_BD):
    values_BK, index_BK = map(np.asarray, _pursuit(x_BD, both_SD, k))
    values_BK = np.where(index_BK < s, values_BK, -values_BK)
    return _from_indices(values_BK, index_BK % s, s)

  return in_blocks(run, x_nD, s, len(both_SD) + 4 * d + 3 * k * k)


_pursuit = jax.jit(ops.orthogonal_pursuit, static_argnums=2)
