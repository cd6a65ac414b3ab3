"""Suites of measurements of speed, and their results."""

from collections.abc import Mapping
from collections.abc import Sequence
import os
from typing import Any

import jax.numpy as jnp

from saejax import errors
from saejax import provenance
from saejax import results
from saejax.pipeline import benchmark_models
from saejax.store import manifest

ENVIRONMENT = 'environment.json'
_MATMUL = 4096  # Width: large enough for any device to show what it can do.


def measure_models(
  names: Sequence[str],
  *,
  batch: int,
  rounds: int,
  dtype: str,
  with_torch: bool,
) -> dict[str, dict[str, Any]]:
  """Entries of results for models of `benchmark_models.CONFIGS`."""
  if batch < 1 or rounds < 1:
    raise errors.UserError(
      f'--batch={batch} and --rounds={rounds} must be positive.'
    )
  benchmark_models.check(names, with_torch)
  peak = benchmark_models.matmul_peak(jnp.dtype(dtype), _MATMUL, rounds=3)
  entries = {'matmul/tflops': {'value': peak / 1e12, 'n': 3, 'unit': 'TFLOP/s'}}
  for name in names:
    found = benchmark_models.measure(
      name, batch=batch, rounds=rounds, dtype=dtype, with_torch=with_torch
    )
    for way in ('image', 'text'):
      tflops = found[f'{name}/{way}/saejax/tflops']['value']
      found[f'{name}/{way}/saejax/of_matmul'] = {
        'value': tflops * 1e12 / peak,
        'n': rounds,
      }
    entries |= found
  return entries


def write(out: str, entries: Mapping[str, Mapping[str, Any]]) -> None:
  """Writes results and what they were measured on."""
  results.write(out, entries)
  manifest.write_json(os.path.join(out, ENVIRONMENT), provenance.collect())
