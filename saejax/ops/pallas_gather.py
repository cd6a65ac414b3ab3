"""Pallas kernels for TPUs that fetch the rows of a dictionary by index.

Indices are known before a step begins (scalar prefetch), so the pipeline reads
the rows of the next step while this one computes. A TPU's memory for scalars
is small: entries go to the kernel by chunks of `_CHUNK`.
"""

import functools

import jax
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp

_CHUNK = 2**14  # Entries whose values and indices are scalars at once.
_FETCHED = 8  # Rows that a step fetches.


def _row_spec(d: int, where) -> pl.BlockSpec:
  """One row of an array [rows, 1, D], at `where` of the grid and scalars."""
  return pl.BlockSpec((None, 1, d), lambda *args: (where(*args), 0, 0))


def _row_sums_kernel(values_ref, index_ref, *refs, k, s, fetched):
  *rows, out_ref = refs
  row, step = pl.program_id(0), pl.program_id(1)

  @pl.when(step == 0)
  def _():
    out_ref[...] = jnp.zeros_like(out_ref)

  for i, row_ref in enumerate(rows):
    entry = row * k + step * fetched + i

    @pl.when(index_ref[entry] < s)
    def _(entry=entry, row_ref=row_ref):
      out_ref[...] += values_ref[entry] * row_ref[...].astype(jnp.float32)


def _row_sums(values_bK, index_bK, w_S1D, *, fetched, interpret):
  (b, k), (s, _, d) = index_bK.shape, w_S1D.shape

  def fetch(i, row, step, values_ref, index_ref):
    del values_ref
    return jnp.minimum(index_ref[row * k + step * fetched + i], s - 1)

  x_b1D = pl.pallas_call(
    functools.partial(_row_sums_kernel, k=k, s=s, fetched=fetched),
    grid_spec=pltpu.PrefetchScalarGridSpec(
      num_scalar_prefetch=2,
      grid=(b, k // fetched),
      in_specs=[
        _row_spec(d, functools.partial(fetch, i)) for i in range(fetched)
      ],
      out_specs=_row_spec(d, lambda row, *_: row),
    ),
    out_shape=jax.ShapeDtypeStruct((b, 1, d), jnp.float32),
    interpret=interpret,
  )(values_bK.reshape(-1), index_bK.reshape(-1), *[w_S1D] * fetched)
  return x_b1D[:, 0]


def row_sums(
  values_BK: jax.Array,
  index_BK: jax.Array,
  w_SD: jax.Array,
  *,
  interpret: bool,
) -> jax.Array:
  """Σ over k of values · w[index]: float32 [B, D].

  Its twin is `entries_block.row_sums`.
  """
  (b, k), s = index_BK.shape, len(w_SD)
  fetched = min(k, _FETCHED)
  pad = lambda x, rows, fill: jnp.pad(
    x, ((0, rows), (0, -k % fetched)), constant_values=fill
  )
  size = max(1, min(b, _CHUNK // (k + -k % fetched)))
  chunk = lambda x, fill: pad(x, -b % size, fill).reshape(
    -1, size, k + -k % fetched
  )
  w_S1D = w_SD[:, None]  # A row alone in its tile can be fetched alone.
  x_nbD = lax.map(
    lambda args: _row_sums(*args, w_S1D, fetched=fetched, interpret=interpret),
    (chunk(values_BK.astype(jnp.float32), 0), chunk(index_BK, s)),
  )
  return x_nbD.reshape(-1, w_SD.shape[1])[:b]


def _dots_kernel(row_ref, index_ref, *refs, b, s, fetched):
  *fetched_refs, out_ref = refs
  step = pl.program_id(0)
  lane = lax.broadcasted_iota(jnp.int32, out_ref.shape, 1)
  out = jnp.zeros(out_ref.shape, jnp.float32)
  for i in range(fetched):
    entry = step * fetched + i
    g_1D, w_1D = (
      ref[...].astype(jnp.float32) for ref in fetched_refs[i::fetched]
    )
    dot_11 = jnp.sum(g_1D * w_1D, axis=1, keepdims=True)
    is_used = (row_ref[entry] < b) & (index_ref[entry] < s)
    out = jnp.where((lane == i) & is_used, dot_11, out)
  out_ref[...] = out


def _dots(g_B1D, row_n, index_n, w_S1D, *, fetched, interpret):
  (b, _, d), (s, _, _) = g_B1D.shape, w_S1D.shape

  def of_row(i, step, row_ref, index_ref):
    del index_ref
    return jnp.minimum(row_ref[step * fetched + i], b - 1)

  def of_index(i, step, row_ref, index_ref):
    del row_ref
    return jnp.minimum(index_ref[step * fetched + i], s - 1)

  steps = len(index_n) // fetched
  d_n1E = pl.pallas_call(
    functools.partial(_dots_kernel, b=b, s=s, fetched=fetched),
    grid_spec=pltpu.PrefetchScalarGridSpec(
      num_scalar_prefetch=2,
      grid=(steps,),
      in_specs=[
        _row_spec(d, functools.partial(where, i))
        for where in (of_row, of_index)
        for i in range(fetched)
      ],
      out_specs=_row_spec(fetched, lambda step, *_: step),
    ),
    out_shape=jax.ShapeDtypeStruct((steps, 1, fetched), jnp.float32),
    interpret=interpret,
  )(row_n, index_n, *[g_B1D] * fetched, *[w_S1D] * fetched)
  return d_n1E.reshape(-1)


def dots(
  g_BD: jax.Array,
  row_N: jax.Array,
  index_N: jax.Array,
  w_SD: jax.Array,
  *,
  interpret: bool,
) -> jax.Array:
  """⟨g[row], w[index]⟩: float32 [N]; 0 for padding.

  Its twin is `entries_block.dots`.
  """
  n = len(index_N)
  fetched = min(n, _FETCHED)
  size = min(_CHUNK, n + -n % fetched)
  chunk = lambda x, fill: jnp.pad(
    x, (0, -n % size), constant_values=fill
  ).reshape(-1, size)
  g_B1D, w_S1D = g_BD[:, None], w_SD[:, None]
  d_nE = lax.map(
    lambda args: _dots(
      g_B1D, *args, w_S1D, fetched=fetched, interpret=interpret
    ),
    (chunk(row_N, len(g_BD)), chunk(index_N, len(w_SD))),
  )
  return d_nE.reshape(-1)[:n]
