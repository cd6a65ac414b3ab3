"""Stability as a folder: results, figures, and arrays by concept."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import itertools
import os
from typing import Any

import numpy as np

from saejax import errors
from saejax import io
from saejax import results
from saejax import run
from saejax import store as store_lib
from saejax.analysis import stability as stability_lib
from saejax.pipeline import sides
from saejax.pipeline import stability
from saejax.pipeline import stability_across
from saejax.pipeline import stability_runs
from saejax.report import figures_stability
from saejax.store import files
from saejax.train import config as config_lib

MATCHED = 'matched.safetensors'
_POINTS = 24  # Of a curve.
Entries = dict[str, dict[str, Any]]


def _short(paths: Sequence[str]) -> list[str]:
  """Paths without what all of them begin and end with."""
  parts = [os.path.normpath(p).split(os.sep) for p in paths]
  while all(len(p) > 1 for p in parts) and len({p[-1] for p in parts}) == 1:
    parts = [p[:-1] for p in parts]
  names = [p[-1] for p in parts]
  return names if len(set(names)) == len(names) else list(paths)


def _curves(pairs: Sequence[stability.Pair]):
  """Means of the top n by kind, n up to what every pair has."""
  most = min(p.n for p in pairs)
  tops = np.unique(np.geomspace(1, most, _POINTS).round().astype(int))
  ordered = sorted(pairs, key=lambda p: p.kind)
  curves = {
    kind: np.array(
      [
        stability_lib.top_means(p.matching.similarity_M, p.energy_M, tops)
        for p in found
      ]
    )
    for kind, found in itertools.groupby(ordered, key=lambda p: p.kind)
  }
  return tops, curves


def _tenths(pairs: Sequence[stability.Pair], by: str) -> dict[str, np.ndarray]:
  found: dict[str, list[np.ndarray]] = {}
  for p in sorted(pairs, key=lambda p: p.kind):
    by_M = getattr(p, by)
    tenths = stability_lib.by_decile(p.matching.similarity_M, by_M)
    found.setdefault(p.kind, []).append(tenths)
  least = min(len(t) for every in found.values() for t in every)
  return {
    kind: np.mean([t[:least] for t in every], axis=0)
    for kind, every in found.items()
  }


def _diet_points(entries: Entries) -> list[dict[str, Any]]:
  points: dict[str, dict[str, Any]] = {}
  for key, entry in entries.items():
    if not key.startswith('diet/'):
      continue
    _, which, name = key.split('/')
    is_control = which == 'control'
    share = None if is_control else float(which.partition('=')[2])
    point = points.setdefault(which, {'share': share})
    value = entry['value']
    point |= {
      name: value,
      f'{name}_low': entry.get('low', value),
      f'{name}_high': entry.get('high', value),
    }
  return sorted(points.values(), key=lambda p: (p['share'] is None, p['share']))


def _draw(out: str, pairs, floors, entries: Entries) -> None:
  folder = os.path.join(out, results.FIGURES)
  tops, curves = _curves(pairs)
  figures_stability.top_curves(tops, curves, floors).save(folder, 'stability')
  figures_stability.tenths(
    _tenths(pairs, 'rate_M'), _tenths(pairs, 'energy_M')
  ).save(folder, 'tenths')
  if points := _diet_points(entries):
    figures_stability.diets(points).save(folder, 'diets')


def _write(
  out: str,
  pairs: Sequence[stability.Pair],
  store: store_lib.Store,
  split: str,
  say: Callable[[str], None],
) -> Entries:
  entries = stability.kind_results(pairs, split)
  entries |= stability.diet_results(pairs, split)
  say('Floors of dictionaries that were never trained …')
  live = [len(run_.live_L) for p in pairs for run_ in (p.a, p.b)]
  floors = stability.floors(store, max(live), min(live))
  entries |= {
    f'floor/{name}': results.entry(value, n=min(live), unit='concepts')
    for name, value in floors.items()
  }
  runs = {r.name: r for p in pairs for r in (p.a, p.b)}
  by_concept = {
    name: stability.concept_stability(pairs, r) for name, r in runs.items()
  }
  shared = sorted(
    {p.kind for p in pairs
     if stability.share_start(p.a.config, p.b.config)}
  )  # fmt: skip
  if shared:
    say(
      f'Runs that differ in {", ".join(shared)} began from the same weights, '
      'which makes dictionaries alike by itself: read these numbers as an '
      'upper bound.'
    )
  for kind in shared:
    entries[f'{kind}/shared_start'] = results.entry(1)
  _draw(out, pairs, floors, entries)
  files.write_arrays(os.path.join(out, MATCHED), by_concept)
  results.write(out, entries)
  return entries


def _matched(runs: Sequence[stability.Run], wanted, say):
  pairs = []
  for a, b in itertools.combinations(runs, 2):
    if wanted(a, b):
      say(f'Matching {a.name} with {b.name} …')
      pairs.append(stability.compare(a, b))
  return pairs


def compare_runs(
  paths: Sequence[str],
  stores: Sequence[str],
  out: str,
  split: str = 'test',
  say: Callable[[str], None] = print,
) -> Entries:
  """Compares dictionaries that are there; writes and returns the results.

  Args:
    paths: their folders.
    stores: one for all, or one for each, of the same rows by other models.
    out: folder for results.
    split: rows on which codes are measured, of one store.
    say: told of progress.

  Raises:
    UserError, StoreError: they cannot be compared; nothing was written.
  """
  results.check_vacant(out)
  if len(paths) < 2 or len(set(paths)) < len(paths):
    raise errors.UserError(
      f'--runs={",".join(paths)}: name two dictionaries or more, each once.'
    )
  if len(stores) not in (1, len(paths)):
    raise errors.UserError(
      f'--store names {len(stores)} stores for {len(paths)} runs: give one for '
      'all, or one for each.'
    )
  names = _short(paths)
  if len(stores) > 1:
    members = [
      stability_across.load(*given)
      for given in zip(names, paths, stores, strict=True)
    ]
    entries = stability_across.across(members)
    results.write(out, entries)
    return entries
  store = store_lib.Store(stores[0])
  for path in paths:
    io.read_config(path)  # What is not there is told before any work.
  runs = []
  for name, path in zip(names, paths, strict=True):
    say(f'Encoding rows with {name} …')
    runs.append(stability.load_run(name, path, store, split))
  widths = {r.name: r.d_LD.shape[1] for r in runs}
  if len(set(widths.values())) > 1:
    raise errors.UserError(f'Dictionaries must have one width; got {widths}.')
  pairs = _matched(runs, lambda a, b: True, say)
  return _write(out, pairs, store, split, say)


def train_and_compare(
  configs: Mapping[str, config_lib.TrainConfig],
  out: str,
  split: str = 'test',
  say: Callable[[str], None] = print,
) -> Entries:
  """Trains runs and compares them; see `stability_runs.runs`."""
  results.check_vacant(out)
  wanted = lambda a, b: stability_runs.wanted(configs[a], configs[b])
  if not any(itertools.starmap(wanted, itertools.combinations(configs, 2))):
    raise errors.UserError(
      'No two of these runs can be compared: give two --seeds or more.'
    )
  store_path = next(iter(configs.values())).store
  store = store_lib.Store(store_path)
  sides.check_pairs(store, split)
  for config in configs.values():
    config_lib.check(config)
  asked = {n: dataclasses.asdict(c) for n, c in configs.items()}
  run.open_folder(out, {'stability': asked, 'split': split}, resume=True)
  paths = stability_runs.train(configs, out, say)
  runs = [
    stability.load_run(name, path, store, split) for name, path in paths.items()
  ]
  pairs = _matched(runs, lambda a, b: wanted(a.name, b.name), say)
  return _write(out, pairs, store, split, say)
