"""What a sweep comes to: its members beside each other, on rows of `val`.

Members are for choosing among, which `val` is for; the number to report of the
one that is chosen is `evaluate`'s, on `test`.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import os
from typing import Any

import numpy as np

from saejax import encode
from saejax import io
from saejax import nn
from saejax import results
from saejax import store as store_lib
from saejax import types
from saejax.analysis import bootstrap
from saejax.analysis import energy
from saejax.analysis import reconstruction
from saejax.pipeline import sides
from saejax.pipeline import site_evaluation
from saejax.report import figures
from saejax.train import config as config_lib
from saejax.train import sweep as sweep_lib

SPLIT = 'val'
CURVE = 'sweep'
_HEAD = ('member', 'R²', 'L0', 'silent')
_KEYS = ('r2', 'l0', 'silent')
Entries = dict[str, dict[str, Any]]


def check(config: config_lib.TrainConfig) -> None:
  """UserError if the store has no rows to evaluate members on."""
  store = store_lib.Store(config.store)
  for name in config.streams:
    sides.check_rows(store[name], store.path, SPLIT)


def _evaluate_streams(
  sae: nn.LinearSAE,
  variables: types.ArrayTree,
  streams: Sequence[store_lib.Stream],
) -> Entries:
  """R² from each stream's training mean, L0, and concepts that never fire."""
  train = [stream.stats['train'] for stream in streams]
  rows = np.array([t.rows for t in train], np.float64)
  pooled_mean_D = rows @ np.array([t.mean for t in train]) / rows.sum()
  parts, active, count_S = [], [], np.zeros(sae.s)
  for stream, stats in zip(streams, train, strict=True):
    rows_n = stream.rows(SPLIT)
    found = encode.encode(sae, variables, stream, rows_n)
    group_n = stream.column('group')[rows_n]
    parts.append(
      reconstruction.moments(
        found.x_nD, found.error_n, group_n, stats.mean, pooled_mean_D
      )
    )
    active.append(np.diff(found.z_nS.indptr))
    count_S += energy.usage(found.z_nS).count_S
  group_n = np.concatenate([part.group_n for part in parts])
  return {
    'r2': results.entry(
      reconstruction.r2(parts)['r2'], split=SPLIT, unit='share of variance'
    ),
    'l0': results.entry(
      bootstrap.mean(np.concatenate(active), group_n),
      split=SPLIT,
      unit='concepts a row',
    ),
    'silent': results.entry(
      float((count_S == 0).mean()),
      n=len(group_n),
      split=SPLIT,
      unit='share of concepts',
    ),
  }


def _evaluate_sites(
  sae: nn.LinearSAE,
  variables: types.ArrayTree,
  sites: Sequence[io.Site],
  store: store_lib.Store,
) -> Entries:
  """The same of a crosscoder or transcoder, on matched rows."""
  found = site_evaluation.evaluate(sae, variables, sites, store, SPLIT)
  return {
    'r2': found['r2'],
    'l0': found['l0'],
    'silent': found['dead_fraction'],  # On rows of train.
  }


def evaluate(
  configs: Sequence[config_lib.TrainConfig], folders: Sequence[str]
) -> Entries:
  """`NAME/r2`, `NAME/l0` and `NAME/silent` of every member, on `val`.

  `silent` is the share of concepts that fire on none of those rows.

  Args:
    configs: of members.
    folders: of their dictionaries.
  """
  store = store_lib.Store(configs[0].store)
  streams = [store[name] for name in configs[0].streams]
  entries: Entries = {}
  for name, folder in zip(sweep_lib.names(configs), folders, strict=True):
    sae, variables = io.load(folder)
    if sites := io.read_sites(folder):
      found = _evaluate_sites(sae, variables, sites, store)
    else:
      found = _evaluate_streams(sae, variables, streams)
    entries |= {f'{name}/{key}': entry for key, entry in found.items()}
  return entries


def _series(config: config_lib.TrainConfig) -> str:
  """What members of one colour in the figure share: all but k, l1 and seed."""
  given = {n: getattr(config, n) for n in ('latents', 'expansion', 'lr')}
  return ', '.join(f'{n}={v:g}' for n, v in given.items() if v is not None)


def draw(
  configs: Sequence[config_lib.TrainConfig], entries: Mapping[str, Any]
) -> figures.Figure:
  """R² against L0 of every member."""
  points = []
  for name, config in zip(sweep_lib.names(configs), configs, strict=True):
    r2, l0 = entries[f'{name}/r2'], entries[f'{name}/l0']
    points.append(
      {
        'member': name,
        'series': _series(config),
        'l0': l0['value'],
        'r2': r2['value'],
        'r2_low': r2.get('low'),
        'r2_high': r2.get('high'),
      }
    )
  return figures.sweep_curve(points)


def write(
  out: str,
  configs: Sequence[config_lib.TrainConfig],
  folders: Sequence[str],
) -> Entries:
  """Evaluates members; writes `results.json` and `figures/` into `out`."""
  entries = evaluate(configs, folders)
  draw(configs, entries).save(os.path.join(out, results.FIGURES), CURVE)
  results.write(out, entries)
  return entries


def table(
  configs: Sequence[config_lib.TrainConfig], entries: Mapping[str, Any]
) -> str:
  """Aligned lines to print, one a member, and what their rows are."""
  number = lambda e: '—' if e['value'] is None else f'{e["value"]:.4g}'
  names = sweep_lib.names(configs)
  lines = [
    (
      name,
      *(number(entries[f'{name}/{key}']) for key in ('r2', 'l0', 'silent')),
    )
    for name in names
  ]
  width = max(len(line[0]) for line in [_HEAD, *lines])
  found = entries[f'{names[0]}/r2']
  shown = [
    f'{name:<{width}}' + ''.join(f'  {value:>8}' for value in values)
    for name, *values in [_HEAD, *lines]
  ]
  return '\n'.join([*shown, f'on n={found["n"]} rows of {SPLIT}'])
