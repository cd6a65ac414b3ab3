"""Results of `benchmark --suite=train` as tables in Markdown."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

Entries = Mapping[str, Mapping[str, Any]]
_ROWS = ('Variant', 'D×S×K×B', 'Type', 'Who', 'ms a step', 'Rows a second',
         'Ours is times as fast', 'Share of the floor', 'R²',
         'Memory, MiB')  # fmt: skip


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  lines = [head, ['---'] * len(head), *rows]
  return '\n'.join(f'| {" | ".join(cells)} |' for cells in lines)


def _number(value: float) -> str:
  return f'{value:,.0f}' if value >= 100 else f'{value:.3g}'


def _range(entry: Mapping[str, Any]) -> str:
  value, low, high = (_number(entry[k]) for k in ('value', 'low', 'high'))
  return f'{value} ({low} … {high})'


def _by_run(entries: Entries) -> dict[tuple[str, ...], Entries]:
  """What was measured, by (variant, shape, type, who)."""
  runs: dict[tuple[str, ...], dict[str, Mapping[str, Any]]] = {}
  for name, entry in entries.items():
    suite, *run = name.split('/', 5)
    if suite == 'train':
      runs.setdefault(tuple(run[:4]), {})[run[4]] = entry
  return runs


def _name(who: str) -> str:
  """Ours on a mesh is `saejax_1x2` among entries."""
  if not who.startswith('saejax_'):
    return who
  return f'saejax {who.removeprefix("saejax_").replace("x", "×")}'


def _row(run: tuple[str, ...], found: Entries) -> list[str]:
  variant, shape, dtype, who = run
  memory = found.get('memory')
  r2 = [f'{found[key]["value"]:.3f}' for key in ('r2_before', 'r2')]
  return [
    variant,
    shape.replace('x', '×'),
    dtype,
    _name(who),
    _range(found['step']),
    _range(found['rows_per_s']),
    _range(found['saejax_times']) if 'saejax_times' in found else '',
    f'{found["of_floor"]["value"]:.0%}',
    ' → '.join(r2),
    f'{memory["value"]:,.0f}' if memory else '',
  ]


def _stages(runs: Mapping[tuple[str, ...], Entries]) -> str:
  timed = {
    run: {
      name.removeprefix('stage/'): entry
      for name, entry in found.items()
      if name.startswith('stage/')
    }
    for run, found in runs.items()
  }
  timed = {run: stages for run, stages in timed.items() if stages}
  names = list(dict.fromkeys(n for stages in timed.values() for n in stages))
  cell = lambda stages, n: _number(stages[n]['value']) if n in stages else ''
  rows = [
    [run[0], run[1].replace('x', '×'), run[2]]
    + [cell(stages, name) for name in names]
    + [_number(runs[run]['step']['value'])]
    for run, stages in timed.items()
  ]
  return _grid([*_ROWS[:3], *names, 'step'], rows)


def _environment(environment: Mapping[str, Any]) -> str:
  e = environment
  versions = [
    f'{name} {e[name]}' for name in ('python', 'jax', 'jaxlib', 'optax')
  ]
  versions += [f'{name} {v}' for name, v in e.get('peers', {}).items()]
  device = '' if e['platform'] == 'cpu' else f' {e["device"]},'
  return (
    f'On{device} {e["cpu"]}, {e["cores"]} cores; {", ".join(versions)}. '
    f'Commit {e["commit"]}.'
  )


def markdown(
  entries: Entries,
  environment: Mapping[str, Any],
  command: str,
  left_out: Sequence[str] = (),
) -> str:
  """The tables, what they were measured on, and how."""
  runs = _by_run(entries)
  device = [
    f'{name.removeprefix("device/").replace("/", " ")} '
    f'{entry["value"]:.3g} {entry["unit"]}'
    for name, entry in entries.items()
    if name.startswith('device/')
  ]
  parts = [
    _environment(environment),
    f'```\n{command}\n```',
    f'The floor is from what was measured here: {", ".join(device)}. Medians '
    'over rounds (slowest and fastest); R² of held-out rows before and after '
    'as many rows of the same data.',
    _grid(_ROWS, [_row(run, found) for run, found in runs.items()]),
    'Stages of ours in ms, each compiled by itself:',
    _stages(runs),
    '\n'.join(f'- {line}' for line in left_out),
  ]
  return '\n\n'.join(part for part in parts if part) + '\n'
