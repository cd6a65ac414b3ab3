"""Sums over the entries of sparse codes by Pallas kernels, for TPUs.

Elsewhere the kernels can be interpreted, which shows what they compute and is
slow. `entries_block` is the twin, function by function.
"""

import jax

from saejax.ops import entries
from saejax.ops import entries_block
from saejax.ops import pallas_gather
from saejax.ops import pallas_segments


def decode(
  codes: entries.Entries, w_SD: jax.Array, *, interpret: bool
) -> jax.Array:
  """Σ values · w[index] by row: [B, D]."""
  values_BK, index_BK, row_BK = codes
  if row_BK is None:
    x_BD = pallas_gather.row_sums(
      values_BK, index_BK, w_SD, interpret=interpret
    )
  else:
    values_N, index_N, row_N = entries_block.flatten(codes)
    x_BD = pallas_segments.add_rows(
      values_N, index_N, row_N, w_SD, len(values_BK), interpret=interpret
    )
  return x_BD.astype(w_SD.dtype)


def code_gradient(
  g_BD: jax.Array, codes: entries.Entries, w_SD: jax.Array, *, interpret: bool
) -> jax.Array:
  """⟨g[row], w[index]⟩ of every entry: [B, K]."""
  _, index_N, row_N = entries_block.flatten(codes)
  d_N = pallas_gather.dots(g_BD, row_N, index_N, w_SD, interpret=interpret)
  return entries_block.unflatten(d_N, codes).astype(g_BD.dtype)


def weight_gradient(
  g_BD: jax.Array, codes: entries.Entries, s: int, *, interpret: bool
) -> jax.Array:
  """Σ values · g[row] by index: [s, D]."""
  values_N, index_N, row_N = entries_block.flatten(codes)
  dw_SD = pallas_segments.add_rows(
    values_N, row_N, index_N, g_BD, s, interpret=interpret
  )
  return dw_SD.astype(g_BD.dtype)
