"""R² against L0: sparse autoencoders and other linear methods, held out.

Every method is fitted on train, whatever weight it has is set on val, and what
is reported is of test: by its own codes, and by orthogonal matching pursuit on
its atoms at the same L0, which is the same for all.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import csv
import dataclasses
import io
import os
from typing import Any

from saejax import baselines
from saejax import errors
from saejax import results
from saejax import run
from saejax import store as store_lib
from saejax.baselines import alternation
from saejax.pipeline import pareto_fits
from saejax.pipeline import pareto_scores
from saejax.pipeline import sides
from saejax.report import figures
from saejax.store import files
from saejax.train import config as config_lib
from saejax.train import sweep

METHODS = (
  'batch_topk', 'topk', 'jumprelu', 'pca', 'ica', 'semi_nmf', 'convex_nmf',
  'kmeans', 'sparse_coding', 'random', 'rows',
)  # fmt: skip
OWN, OMP = 'own', 'omp'
_OMP_SET_BY = 'steps of pursuit, refitted'
_TABLE, _CURVES = 'table', 'pareto'
_SPLITS = ('train', 'val', 'test')
_METRICS = (
  'r2', 'r2_pooled', 'balanced/r2', 'image/r2', 'text/r2', 'l0', 'balanced/l0',
  'image/l0', 'text/l0',
)  # fmt: skip
Say = Callable[[str], None]
Entries = dict[str, dict[str, Any]]
Rows = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParetoConfig:
  """Flags of `pareto`; `steps`, `epochs`, `batch` and `lrs` are of the SAEs."""

  stores: tuple[str, ...]
  methods: tuple[str, ...] = METHODS
  l0s: tuple[int, ...] = (4, 8, 16, 32)
  latents: int | None = None
  expansion: float | None = None
  seeds: tuple[int, ...] = (0,)
  steps: int | None = None
  epochs: float | None = None
  batch: int = config_lib.TrainConfig.batch
  lrs: tuple[float, ...] = (config_lib.TrainConfig.lr,)
  alternations: int = alternation.Plan.steps


def check_flags(config: ParetoConfig) -> None:
  """UserError for flags that are wrong whatever the stores hold."""
  known = (*pareto_fits.SAES, *baselines.METHODS)
  for name in config.methods:
    if name not in known:
      raise errors.UserError(
        f'--methods: {name!r} is unknown; choose of {", ".join(known)}.'
      )
  for flag in ('methods', 'stores'):
    given = getattr(config, flag)
    twice = [name for name in given if given.count(name) > 1]
    if twice or not given:
      said = f'names {twice[0]} more than once' if twice else 'is empty'
      raise errors.UserError(f'--{flag.replace("stores", "store")} {said}.')
  for name in ('alternations', 'batch'):
    if getattr(config, name) < 1:
      raise errors.UserError(
        f'--{name}={getattr(config, name)} must be at least 1.'
      )
  if min(config.l0s) < 1:
    raise errors.UserError(f'--l0s={min(config.l0s)} must be at least 1.')


def atoms_of(config: ParetoConfig, d: int) -> int:
  return config.latents or round(d * (config.expansion or 8))


def configs_of(
  config: ParetoConfig, store: str, arch: str
) -> list[config_lib.TrainConfig]:
  """The members of a variant's sweep."""
  return [
    config_lib.TrainConfig(
      store=store,
      arch=arch,
      latents=config.latents,
      expansion=config.expansion,
      k=l0,
      lr=lr,
      seed=seed,
      steps=config.steps,
      epochs=config.epochs,
      batch=config.batch,
    )
    for l0 in config.l0s
    for lr in config.lrs
    for seed in config.seeds
  ]


def _check_store(config: ParetoConfig, path: str) -> None:
  store = store_lib.Store(path)
  for split in _SPLITS:
    sides.check_pairs(store, split, needs_train=False)
  sides.check_width(store['text'], path, store['image'])
  atoms = atoms_of(config, store['image'].d)
  n = sum(len(store[name].rows('train')) for name in pareto_scores.STREAMS)
  if atoms > n:
    raise errors.UserError(
      f'{path} has {n} rows in train, fewer than the {atoms} atoms asked for: '
      'lower --latents or --expansion.'
    )
  if max(config.l0s) > atoms:
    raise errors.UserError(
      f'--l0s={max(config.l0s)} is larger than the dictionary: it has {atoms} '
      'atoms.'
    )


def check(config: ParetoConfig) -> None:
  """UserError for what cannot be run; nothing but columns is read."""
  check_flags(config)
  for path in config.stores:
    for member in configs_of(config, path, 'topk'):
      config_lib.check(member)
    _check_store(config, path)
    for arch in config.methods:
      if arch in pareto_fits.SAES:
        sweep.make_plans(configs_of(config, path, arch)[:1])


def panel_names(paths: Sequence[str]) -> list[str]:
  """Short names of stores, each once: their models', or their folders'."""
  names: list[str] = []
  for path in paths:
    model = store_lib.Store(path).about.get('model')
    name = os.path.basename(str(model or os.path.abspath(path)))
    twins = sum(n == name or n.startswith(f'{name} (') for n in names)
    names.append(f'{name} ({twins + 1})' if twins else name)
  return names


def _rows_of(
  prefix: str,
  method: str,
  points: Mapping[tuple[int, int], pareto_fits.Point],
  test: pareto_scores.Held,
) -> tuple[Entries, Rows]:
  """Results of a method, and a row of the table for each L0 and encoder."""
  entries, rows = {}, []
  for codes in (OWN, OMP):
    for l0 in sorted({l0 for l0, _ in points}):
      of_seed = {seed: p for (at, seed), p in points.items() if at == l0}
      which = {
        seed: p.own if codes == OWN else p.common for seed, p in of_seed.items()
      }
      if None in which.values():
        continue
      by_seed = {s: pareto_scores.score(test, c) for s, c in which.items()}
      name = f'{prefix}{method}/l0={l0}' + ('/omp' if codes == OMP else '')
      found = {
        metric: results.over_seeds([e[metric] for e in by_seed.values()])
        for metric in _METRICS
      }
      entries |= {f'{name}/{metric}': e for metric, e in found.items()}
      if len(by_seed) > 1:
        for seed, of in by_seed.items():
          entries |= {f'{name}/seed={seed}/{m}': e for m, e in of.items()}
      ways = dict.fromkeys(p.set_by for p in of_seed.values())
      rows.append(
        {
          'method': method,
          'codes': codes,
          'l0_asked': l0,
          'atoms': next(iter(of_seed.values())).atoms,
          'settings_tried': next(iter(of_seed.values())).tried,
          'seeds': len(by_seed),
          **{metric: e['value'] for metric, e in found.items()},
          'r2_low': found['r2']['low'],
          'r2_high': found['r2']['high'],
          'interval': found['r2']['interval'],
          'n': found['r2']['n'],
          'sparsity_set_by': f'{l0} {_OMP_SET_BY}'
          if codes == OMP
          else ' | '.join(ways),
        }
      )
  return entries, rows


def _panel(
  config: ParetoConfig, path: str, out: str, prefix: str, say: Say
) -> tuple[Entries, Rows]:
  """Every method on one store."""
  store = store_lib.Store(path)
  val, test = (pareto_scores.read(store, split) for split in ('val', 'test'))
  x_ND = pareto_fits.training_rows(store)
  d = x_ND.shape[1]
  atoms = atoms_of(config, d)
  asked = pareto_fits.Asked(
    atoms=atoms, l0s=config.l0s, seeds=config.seeds, steps=config.alternations
  )
  entries, rows = {}, []
  for name in config.methods:
    if name in pareto_fits.SAES:
      folder = os.path.join(out, 'saes', name)
      members = configs_of(config, path, name)
      points = pareto_fits.sae_points(members, folder, val, test, say)
    else:
      if baselines.METHODS[name].is_capped and atoms > d:
        say(f'{name} has at most {d} atoms, the width; {atoms} were asked for.')
      folder = os.path.join(out, 'baselines')
      points = pareto_fits.baseline_points(
        name, asked, folder, x_ND, val, test, say
      )
    found, more = _rows_of(prefix, name, points, test)
    entries, rows = entries | found, rows + more
  return entries, rows


def _latex(rows: Rows) -> str:
  """The table for a paper: a tabular that needs no package."""
  safe = lambda v: str(v).replace('_', r'\_')
  safe_bar = lambda v: safe(v).replace('|', '/')
  lines = [
    r'\begin{tabular}{lllrrrl}',
    r'store & method & codes & $L_0$ & $R^2$ & 95\,\% or range '
    r'& sparsity set by \\ \hline',
  ]
  for r in rows:
    bounds = f'[{r["r2_low"]:.3f}, {r["r2_high"]:.3f}]'
    cells = (
      safe(r['store']), safe(r['method']), r['codes'], f'{r["l0"]:.2f}',
      f'{r["r2"]:.3f}', bounds, safe_bar(r['sparsity_set_by']),
    )  # fmt: skip
    lines.append(' & '.join(cells) + r' \\')
  return '\n'.join([*lines, r'\end{tabular}', ''])


def _csv(rows: Rows) -> str:
  text = io.StringIO(newline='')
  writer = csv.DictWriter(text, list(rows[0]), lineterminator='\n')
  writer.writeheader()
  writer.writerows(rows)
  return text.getvalue()


def table(rows: Rows) -> str:
  """Aligned lines to print."""
  head = (
    'store', 'method', 'codes', 'L0', 'R²', 'bounds', 'tried', 'sparsity set by'
  )  # fmt: skip
  number = lambda v, digits: '—' if v is None else f'{v:.{digits}f}'
  lines = [
    (
      r['store'],
      r['method'],
      r['codes'],
      number(r['l0'], 2),
      number(r['r2'], 4),
      f'[{number(r["r2_low"], 4)}, {number(r["r2_high"], 4)}]',
      str(r['settings_tried']),
      r['sparsity_set_by'],
    )
    for r in rows
  ]
  widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
  return '\n'.join(
    '  '.join(f'{c:<{w}}' for c, w in zip(line, widths, strict=True)).rstrip()
    for line in (head, *lines)
  )


def compare(
  config: ParetoConfig, out: str, resume: bool = False, say: Say = print
) -> str:
  """Fits, tunes and reports; writes results, table and figure into `out`.

  Killed, it goes on with `resume`: what was fitted is not fitted again.

  Returns:
    The table, to print.

  Raises:
    UserError, StoreError: it cannot be run; nothing was written.
  """
  check(config)
  run.open_folder(out, dataclasses.asdict(config), resume)
  names = panel_names(config.stores)
  entries, rows = {}, []
  for i, (name, path) in enumerate(zip(names, config.stores, strict=True)):
    is_alone = len(names) == 1
    folder = out if is_alone else os.path.join(out, 'stores', str(i))
    prefix = 'pareto/' if is_alone else f'pareto/{name}/'
    found, more = _panel(config, path, folder, prefix, say)
    entries |= found
    rows += [{'store': name} | row for row in more]
  points = [r | {'is_sae': r['method'] in pareto_fits.SAES} for r in rows]
  figures.pareto_curves(points).save(
    os.path.join(out, results.FIGURES), _CURVES
  )
  files.write_text(os.path.join(out, f'{_TABLE}.csv'), _csv(rows))
  files.write_text(os.path.join(out, f'{_TABLE}.tex'), _latex(rows))
  results.write(out, entries)
  return table(rows)
