"""Runs an SAE over rows of a store: codes and errors, on the host."""

import dataclasses
import functools

import jax
import numpy as np
import scipy.sparse

from saejax import errors
from saejax import nn
from saejax import sharding
from saejax import store as store_lib
from saejax import types

_ROWS = 4096  # Rows encoded at once.


@dataclasses.dataclass(frozen=True)
class Encoded:
  """Rows of one stream through an SAE.

  Attributes:
    rows_n: which rows of the stream.
    x_nD: the rows, float32.
    z_nS: codes on the stored scale, CSR.
    error_n: ‖x − x̂‖² of each row.
  """

  rows_n: np.ndarray
  x_nD: np.ndarray
  z_nS: scipy.sparse.csr_matrix
  error_n: np.ndarray


def to_csr(codes: types.Codes, s: int) -> scipy.sparse.csr_matrix:
  """Codes [B, s] as a sparse matrix on the host."""
  if isinstance(codes, types.Dense):
    return scipy.sparse.csr_matrix(np.asarray(codes.z_BS))
  values_BK, index_BK = map(np.asarray, (codes.values_BK, codes.index_BK))
  at = np.nonzero(values_BK)
  row = at[0]
  if codes.row_BK is not None:
    row = np.asarray(codes.row_BK)[at]
  return scipy.sparse.csr_matrix(
    (values_BK[at], (row, index_BK[at])), shape=(len(values_BK), s)
  )


def modality_index(sae: nn.LinearSAE, stream: store_lib.Stream) -> int:
  """Which row of the SAE's centre and scale a stream's rows take."""
  if len(sae.modalities) == 1:
    return 0
  if stream.modality not in sae.modalities:
    raise errors.UserError(
      f'The SAE standardises {tuple(sae.modalities)}; stream {stream.name} '
      f'holds {stream.modality} rows.'
    )
  return list(sae.modalities).index(stream.modality)


def bias(
  sae: nn.LinearSAE, variables: types.ArrayTree, stream: store_lib.Stream
) -> np.ndarray:
  """b [D] of x̂ = zD + b on the stored scale, for a stream's modality."""
  params, constants = variables['params'], variables['constants']
  m = modality_index(sae, stream)
  b_dec_D = np.asarray(params['b_dec']) if sae.use_b_dec else 0.0
  scaled_D = b_dec_D / np.asarray(constants['scale'])[m]
  return scaled_D + np.asarray(constants['center'])[m]


def scale(
  sae: nn.LinearSAE, variables: types.ArrayTree, stream: store_lib.Stream
) -> float:
  """What a stream's rows are multiplied by before they are encoded."""
  scale_M = np.asarray(variables['constants']['scale'])
  return float(scale_M[modality_index(sae, stream)])


@functools.lru_cache(maxsize=8)
def _jitted(sae: nn.LinearSAE):
  def run(variables, x_BD, modality_B):
    out = sae.apply(variables, x_BD, modality_B)
    return out.codes, ((x_BD - out.xhat_BD) ** 2).sum(1)

  return jax.jit(run)


def encode(
  sae: nn.LinearSAE,
  variables: types.ArrayTree,
  stream: store_lib.Stream,
  rows_n: np.ndarray,
) -> Encoded:
  """Encodes rows over all devices, at the highest matmul precision."""
  if stream.d != sae.d:
    raise errors.UserError(
      f'The SAE reads rows of width {sae.d}; stream {stream.name} has width '
      f'{stream.d}.'
    )
  mesh = sharding.make_mesh()
  batch = _ROWS - _ROWS % mesh.size
  modality_B = np.full(batch, modality_index(sae, stream), np.int32)
  run = _jitted(sae)
  # Placed as in training, which TopK's selection over the mesh relies on.
  variables = jax.device_put(
    variables, sharding.infer_shardings(variables, mesh)
  )
  x_nD = stream.take(rows_n).astype(np.float32)
  blocks, misses = [], []
  with jax.set_mesh(mesh), jax.default_matmul_precision('highest'):
    place = lambda a, *spec: jax.device_put(a, jax.P(sharding.DATA, *spec))
    for start in range(0, len(rows_n), batch):
      x_bD = x_nD[start : start + batch]
      padded_BD = np.pad(x_bD, ((0, batch - len(x_bD)), (0, 0)))
      codes, error_B = run(variables, place(padded_BD, None), place(modality_B))
      blocks.append(to_csr(codes, sae.s)[: len(x_bD)])
      misses.append(np.asarray(error_B)[: len(x_bD)])
  empty = scipy.sparse.csr_matrix((0, sae.s), dtype=np.float32)
  return Encoded(
    rows_n=np.asarray(rows_n),
    x_nD=x_nD,
    z_nS=scipy.sparse.vstack(blocks or [empty], format='csr'),
    error_n=np.concatenate(misses or [np.zeros(0, np.float32)]),
  )
