"""`results.json`: flat names to numbers that say what they rest on.

Each entry is {"value", "n", "low", "high", "interval", "split", "seeds",
"unit"}; fields that do not apply are left out, an undefined value is null.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import math
import os
from typing import Any

from saejax import errors
from saejax.analysis import bootstrap
from saejax.store import manifest

RESULTS = 'results.json'
# What `analyse` writes beside it: arrays by concept, arrays by bridge, and what
# the strongest examples of both are.
CONCEPTS, BRIDGES = 'concepts.safetensors', 'bridges.safetensors'
EXEMPLARS, BRIDGE_PAIRS = 'exemplars.json', 'bridge_pairs.json'
EVIDENCE, EVIDENCE_ABOUT = 'evidence.safetensors', 'evidence.json'
FACTORS = 'factors.csv'
FIGURES, TWIN = 'figures', 'surrogate'
P_VALUE = 'p'  # The unit of entries that are p values.
_LEAST_P = 1e-300  # Smaller ones are no floats, or hardly.
_OVER_GROUPS, _OVER_SEEDS = 'bootstrap over groups', 'range over seeds'


def _number(value: float | None) -> float | int | None:
  """JSON has no NaN: what is undefined is null."""
  if value is None or not math.isfinite(value):
    return None
  return int(value) if float(value).is_integer() else float(value)


def entry(
  value: float | bootstrap.Estimate,
  *,
  n: int | None = None,
  split: str | None = None,
  unit: str | None = None,
) -> dict[str, Any]:
  """One result; an Estimate brings its own n and bounds."""
  found: dict[str, Any] = {}
  if isinstance(value, bootstrap.Estimate):
    found = {'value': _number(value.value), 'n': value.n}
    if value.low is not None:
      found |= {'low': _number(value.low), 'high': _number(value.high)}
      found['interval'] = _OVER_GROUPS
  else:
    found = {'value': _number(value)}
  found |= {'n': n} if n is not None else {}
  found |= {'split': split} if split is not None else {}
  found |= {'unit': unit} if unit is not None else {}
  return found


def p_entry(
  p: float, draws: int, *, split: str | None = None, tests: int = 1
) -> dict[str, Any]:
  """A p value by rank among `draws` random ones, corrected over `tests`."""
  found = entry(p, n=draws, split=split, unit=P_VALUE)
  return found | {'least': tests / (draws + 1)}


def over_seeds(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """One result of several seeds: their mean, and their range as its bounds.

  A single seed keeps its own interval; undefined values make it undefined.
  """
  if len(entries) == 1:
    return dict(entries[0])
  kept = ('n', 'split', 'unit', 'least')
  shared = {k: entries[0][k] for k in kept if k in entries[0]}
  found = [e['value'] for e in entries]
  if None in found:
    found = [math.nan]
  return {
    'value': _number(math.fsum(found) / len(found)),
    'low': _number(min(found)),
    'high': _number(max(found)),
    'interval': _OVER_SEEDS,
    'seeds': len(entries),
    **shared,
  }


def write(out: str, entries: Mapping[str, Mapping[str, Any]]) -> None:
  """Writes `out/results.json`, sorted by name."""
  os.makedirs(out, exist_ok=True)
  ordered = {name: entries[name] for name in sorted(entries)}
  manifest.write_json(os.path.join(out, RESULTS), ordered)


def are_in(out: str) -> bool:
  """Whether a folder has results, with which its work has ended."""
  return os.path.exists(os.path.join(out, RESULTS))


def check_vacant(out: str) -> None:
  """UserError if a folder holds results already, or is none."""
  if os.path.exists(out) and not os.path.isdir(out):
    raise errors.UserError(f'--out={out} is a file; name a folder.')
  if are_in(out):
    raise errors.UserError(
      f'--out={out} already holds results. Choose another folder, or delete '
      'this one.'
    )


def read(out: str) -> dict[str, dict[str, Any]]:
  path = os.path.join(out, RESULTS)
  if not os.path.exists(path):
    raise errors.UserError(f'There are no results at {out}: no {RESULTS}.')
  return manifest.read_json(path, errors.UserError)


def p_words(e: Mapping[str, Any]) -> str:
  """A p value in words, which never are 0.

  The least that random draws can give is told as a bound, and so is what is too
  small for a float; what is small, by its power.
  """
  p = e['value']
  if p is None:
    return '—'
  if (least := e.get('least')) and p <= least:
    return f'≤ {least:.2g}'
  if p < _LEAST_P:
    return f'< {_LEAST_P:.0e}'
  return f'{p:.1e}' if p < 1e-3 else f'{p:.2g}'


def table(entries: Mapping[str, Mapping[str, Any]]) -> str:
  """The results as aligned lines to print: name, value, bounds, n, split."""
  width = max((len(name) for name in entries), default=0)
  lines = []
  for name in sorted(entries):
    e = entries[name]
    value = '—' if e['value'] is None else f'{e["value"]:.4g}'
    value = p_words(e) if e.get('unit') == P_VALUE else value
    bounds = ''
    if e.get('low') is not None:
      bounds = f'[{e["low"]:.4g}, {e["high"]:.4g}]'
    rest = ' '.join(
      f'{key}={e[key]}' for key in ('n', 'split') if e.get(key) is not None
    )
    lines.append(f'{name:<{width}}  {value:>9}  {bounds:<20}  {rest}'.rstrip())
  return '\n'.join(lines)
