"""Suites of measurements of speed, and their results."""

from collections.abc import Mapping
from collections.abc import Sequence
import os
import sys
from typing import Any

import jax.numpy as jnp

from saejax import errors
from saejax import provenance
from saejax import results
from saejax.pipeline import benchmark_device
from saejax.pipeline import benchmark_llava
from saejax.pipeline import benchmark_models
from saejax.pipeline import benchmark_table
from saejax.pipeline import benchmark_training
from saejax.store import manifest

Entries = dict[str, dict[str, Any]]
ENVIRONMENT, TABLE = 'environment.json', 'table.md'
_MATMUL = 4096  # Width: large enough for any device to show what it can do.


def _towers(names: Sequence[str], rounds: int, dtype: str, **given) -> Entries:
  """Entries of two-tower models, with their share of the matmul's speed."""
  peak = benchmark_device.matmul_peak(jnp.dtype(dtype), _MATMUL, rounds=3)
  entries = {'matmul/tflops': {'value': peak / 1e12, 'n': 3, 'unit': 'TFLOP/s'}}
  for name in names:
    found = benchmark_models.measure(name, rounds=rounds, dtype=dtype, **given)
    for way in ('image', 'text'):
      tflops = found[f'{name}/{way}/saejax/tflops']['value']
      found[f'{name}/{way}/saejax/of_matmul'] = {
        'value': tflops * 1e12 / peak,
        'n': rounds,
      }
    entries |= found
  return entries


def measure_models(
  names: Sequence[str],
  *,
  batch: int,
  rounds: int,
  dtype: str,
  with_torch: bool,
  new_tokens: int = 32,
) -> Entries:
  """Entries of results for models of `benchmark_models.CONFIGS`, and those that
  `benchmark_llava` knows, of which `new_tokens` are written."""
  if min(batch, rounds, new_tokens) < 1:
    raise errors.UserError(
      f'--batch={batch}, --rounds={rounds} and --new_tokens={new_tokens} must '
      'be positive.'
    )
  given = dict(batch=batch, rounds=rounds, dtype=dtype, with_torch=with_torch)
  written = [name for name in names if benchmark_llava.is_name(name)]
  towers = [name for name in names if name not in written]
  benchmark_models.check(towers, with_torch)
  entries = _towers(towers, **given) if towers else {}
  for name in written:
    entries |= benchmark_llava.measure(name, new_tokens=new_tokens, **given)
  return entries


def write(
  out: str,
  entries: Mapping[str, Mapping[str, Any]],
  more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
  """Writes results and what they were measured on, which it returns."""
  results.write(out, entries)
  environment = provenance.collect() | {
    'cpu': benchmark_device.cpu_model(),
    'cores': benchmark_device.cores(),
    **(more or {}),
  }
  manifest.write_json(os.path.join(out, ENVIRONMENT), environment)
  return environment


def _command() -> str:
  """How this was run, without the paths of this machine."""
  private = {'--out': 'FOLDER', '--peers_python': 'PYTHON'}
  flags = []
  for argument in sys.argv[1:]:
    name, equals, value = argument.partition('=')
    flags.append(f'{name}{equals}{private.get(name, value)}')
  return ' '.join(['./launch.sh benchmark', *flags])


def measure_training(
  asked: benchmark_training.Asked, out: str
) -> benchmark_training.Measured:
  """Measures training steps; writes results and a table in Markdown."""
  found = benchmark_training.measure(asked)
  more = {'peers': found.versions, 'left_out': list(found.left_out)}
  environment = write(out, found.entries, more)
  text = benchmark_table.markdown(
    found.entries, environment, _command(), found.left_out
  )
  with open(os.path.join(out, TABLE), 'w', encoding='utf-8') as f:
    f.write(text)
  return found
