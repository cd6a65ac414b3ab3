"""What concepts do: their removal, against random concepts that are like them.

Bridges are defined by similarity, so that they matter for similarity is no
finding. Concepts are chosen on training rows, removed from the codes of test
rows, and the harm is held against that of matched random sets: arXiv 2504.11695
has single-modality concepts meet in bridges and carry alignment, arXiv
2602.06218 has shared concepts carry it.
"""

from collections.abc import Mapping
import csv
import dataclasses
import functools
import os
from typing import Any

import numpy as np
import tqdm

from saejax import errors
from saejax import results
from saejax import store as store_lib
from saejax.analysis import interventions
from saejax.analysis import matched_sets
from saejax.pipeline import intervening_measures as measures
from saejax.pipeline import intervening_sets
from saejax.pipeline import sides
from saejax.report import figures
from saejax.report import figures_interventions

EDITS = ('remove', 'keep', 'scale')
SETS_FILE = 'concept_sets.csv'
LEVEL = 0.05
_WELL = 0.25  # Standard deviations; usually called well matched.
_PREFIX = 'intervene'
_LEAST_DRAWS = 20
_CLAIMS = {
  'cross_bridges': 'single-modality concepts that meet in bridges',
  'shared': 'shared concepts',
}
Entries = dict[str, dict[str, Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class InterveneConfig:
  """What is done, and against how much chance.

  Attributes:
    edit: concepts are removed, kept alone, or scaled by `factor`.
    factor: of 'scale'.
    sets: of concepts, of `intervening_sets.SETS`.
    sizes: how many concepts of each set, its strongest.
    draws: matched random sets for each.
    images: of the split, with their texts, at most.
    caliper: in standard deviations, how unlike matched concepts may be.
    train_images: on which concepts are chosen, at most.
    seed: of what is drawn.
  """

  edit: str = 'remove'
  factor: float = 0.5
  sets: tuple[str, ...] = intervening_sets.SETS
  sizes: tuple[int, ...] = (8, 16, 32, 64)
  draws: int = 120
  caliper: float | None = None
  images: int = 1000
  train_images: int = 50_000
  seed: int = 0

  def __post_init__(self):
    if self.edit not in EDITS:
      raise errors.UserError(f'--edit={self.edit}: choose of {EDITS}.')
    for name in self.sets or ('',):
      if name not in intervening_sets.SETS:
        raise errors.UserError(
          f'--sets: {name!r} is no set; choose of '
          f'{", ".join(intervening_sets.SETS)}.'
        )
    if not self.sizes or min(self.sizes) < 1:
      raise errors.UserError('--sizes must be whole numbers, at least 1.')
    for name, least in (
      ('draws', _LEAST_DRAWS), ('images', 2), ('train_images', 2), ('seed', 0),
    ):  # fmt: skip
      if getattr(self, name) < least:
        raise errors.UserError(
          f'--{name}={getattr(self, name)} must be at least {least}.'
        )

    if self.caliper is not None and self.caliper <= 0:
      raise errors.UserError(f'--caliper={self.caliper} must be positive.')

  def change(self, concepts_C: np.ndarray) -> measures.Change:
    change = getattr(interventions, self.edit)
    if self.edit == 'scale':
      change = functools.partial(change, factor=self.factor)
    return lambda z_nS: change(z_nS, concepts_C)

  def harm(self, name: str, value, base: float):
    """How a measure is ranked: the lower, the more the concepts carry."""
    value = -abs(value - base) if name == measures.GAP else value
    return -value if self.edit == 'keep' else value


@dataclasses.dataclass(frozen=True)
class Found:
  """Results, the figure, and the sets that were chosen."""

  entries: Entries
  figure: figures.Figure
  trials: tuple[intervening_sets.Trial, ...]

  def write(self, out: str) -> None:
    """Writes figures/ and concept_sets.csv, then results.json."""
    self.figure.save(os.path.join(out, results.FIGURES), 'interventions')
    path = os.path.join(out, SETS_FILE)
    with open(path, 'w', newline='', encoding='utf-8') as f:
      writer = csv.writer(f)
      writer.writerow(('set', 'rank', 'concept', 'random'))
      for t in self.trials:
        for c, i in enumerate(t.concepts_C):
          like = ' '.join(map(str, np.unique(t.random_RC[:, c])))
          writer.writerow((t.name, c + 1, i, like))
    results.write(out, self.entries)


def _spread(random_R: np.ndarray, split: str) -> dict[str, Any]:
  low, high = np.percentile(random_R, [2.5, 97.5])
  return results.entry(float(random_R.mean()), n=len(random_R), split=split) | {
    'low': float(low), 'high': float(high), 'interval': '95 % of random sets',
  }  # fmt: skip


def _match_entries(
  choice: intervening_sets.Choice, t: intervening_sets.Trial, n: int
) -> Entries:
  """How like the random sets are in training, and how much energy all have."""
  at = f'{_PREFIX}/{t.name}/n={n}'
  entry = functools.partial(results.entry, n=choice.pairs, split='train')
  entries = {
    f'{at}/match/{name}': entry(float(v), unit='standard deviations')
    for name, v in choice.differences(t, n).items()
  }
  share_S = choice.energy_S / choice.energy_S.sum()
  random_R = share_S[t.random_RC[:, :n]].sum(1)
  return entries | {
    f'{at}/energy_share': entry(float(share_S[t.concepts_C[:n]].sum())),
    f'{at}/energy_share/random': _spread(random_R, 'train'),
  }


@dataclasses.dataclass(frozen=True)
class _Measured:
  """Numbers of one set at one size; `random` by measure, [R] each."""

  seen: measures.Seen
  values: Mapping[str, float]
  random: Mapping[str, np.ndarray]


def _measure(
  world: measures.World,
  config: InterveneConfig,
  trials: tuple[intervening_sets.Trial, ...],
) -> dict[tuple[str, int], _Measured]:
  total = sum(len(t.sizes) for t in trials) * (1 + config.draws)
  measured = {}
  with tqdm.tqdm(total=total, unit='set', disable=None) as bar:
    for t in trials:
      for n in t.sizes:
        seen = world.see(config.change(t.concepts_C[:n]))
        bar.update()
        random = []
        for concepts_n in t.random_RC[:, :n]:
          random.append(measures.values(world.see(config.change(concepts_n))))
          bar.update()
        columns = {m: np.array([v[m] for v in random]) for m in random[0]}
        measured[t.name, n] = _Measured(seen, measures.values(seen), columns)
  return measured


def _size_entries(
  world: measures.World,
  base: measures.Seen,
  measured: Mapping[tuple[str, int], _Measured],
  config: InterveneConfig,
  split: str,
) -> Entries:
  """Measures at every size, beside random sets; p adjusted over all of them."""
  entries, p = {}, {}
  baseline = measures.values(base)
  for (name, n), m in measured.items():
    at = f'{_PREFIX}/{name}/n={n}'
    for estimates, suffix in (
      (world.estimates(m.seen), ''),
      (world.estimates(m.seen, base), '/change'),
    ):
      for what, e in estimates.items():
        entries[f'{at}/{what}{suffix}'] = results.entry(e, split=split)
    for what, random_R in m.random.items():
      entries[f'{at}/{what}/random'] = _spread(random_R, split)
      harm = functools.partial(config.harm, what, base=baseline[what])
      p.setdefault(what, {})[at] = matched_sets.rank_p(
        harm(m.values[what]), harm(random_R)
      )
  for what, found in p.items():
    adjusted = matched_sets.holm(np.array([*found.values()]))
    for (at, raw), holm in zip(found.items(), adjusted, strict=True):
      of = functools.partial(results.p_entry, draws=config.draws, split=split)
      entries[f'{at}/{what}/p'] = of(raw)
      entries[f'{at}/{what}/p_holm'] = of(float(holm), tests=len(found))
  return entries


def _curve_entries(
  measured: Mapping[tuple[str, int], _Measured],
  config: InterveneConfig,
  trials: tuple[intervening_sets.Trial, ...],
  split: str,
) -> Entries:
  """Recall averaged over sizes: one test a set, adjusted over the sets."""
  entries, p = {}, []
  for t in trials:
    at = f'{_PREFIX}/{t.name}/all_sizes/{measures.RECALL}'
    parts = [measured[t.name, n] for n in t.sizes]
    value = float(np.mean([m.values[measures.RECALL] for m in parts]))
    random_R = np.mean([m.random[measures.RECALL] for m in parts], axis=0)
    harm = functools.partial(config.harm, measures.RECALL, base=0)
    p.append(matched_sets.rank_p(harm(value), harm(random_R)))
    entries |= {
      at: results.entry(value, n=len(t.sizes), split=split),
      f'{at}/random': _spread(random_R, split),
      f'{at}/p': results.p_entry(p[-1], config.draws, split=split),
    }
  for t, holm in zip(trials, matched_sets.holm(np.array(p)), strict=True):
    at = f'{_PREFIX}/{t.name}/all_sizes/{measures.RECALL}'
    entries[f'{at}/p_holm'] = results.p_entry(
      float(holm), config.draws, split=split, tests=len(trials)
    )
  return entries


def _figure(
  entries: Entries, trials: tuple[intervening_sets.Trial, ...], edit: str
) -> figures.Figure:
  """Recall@1, the mean of both ways, by set and size."""
  points = []
  for t in trials:
    for n in t.sizes:
      at = f'{_PREFIX}/{t.name}/n={n}/{measures.RECALL}'
      own, random = entries[at], entries[f'{at}/random']
      points.append(
        {'set': t.name, 'concepts': n, 'recall1': own['value']}
        | {key: own[key] for key in ('low', 'high')}
        | {'random': random['value']}
        | {f'random_{key}': random[key] for key in ('low', 'high')}
        | {key: entries[f'{at}/{key}']['value'] for key in ('p', 'p_holm')}
      )
  base = entries[f'{_PREFIX}/reconstruction/{measures.RECALL}']['value']
  return figures_interventions.recall_by_size(points, base, edit)


def intervene(
  sae_path: str,
  store_path: str,
  config: InterveneConfig,
  split: str = 'test',
  classes_path: str | None = None,
) -> Found:
  """Chooses concepts on `train`, changes them, and measures on a split.

  Args:
    sae_path: folder of the dictionary.
    store_path: folder of a store with pairs.
    config: what is done.
    split: what is measured on; never seen by the choice, unless it is 'train'.
    classes_path: a store with labelled images and prompts, for zero-shot
      accuracy; by default, the same store if it has both.

  Raises:
    UserError, StoreError: there is nothing to choose from or to measure on.
  """
  sae, variables = intervening_sets.load(sae_path)
  store = store_lib.Store(store_path)
  sides.check_pairs(store, split)
  sides.check_pairs(store, 'train')
  labelled_store = store if measures.has_classes(store) else None
  if classes_path is not None:
    labelled_store = measures.check_classes(store, classes_path)
  choice = intervening_sets.choose(
    sae, variables, store, config.train_images, config.seed
  )
  trials = tuple(
    choice.trials(
      config.sizes, config.draws, config.caliper, config.seed, config.sets
    )
  )
  if not trials:
    live = int((choice.energy_S > 0).sum())
    raise errors.UserError(
      f'Of {live} concepts of {sae_path} that fire in train of {store_path}, '
      'none can be chosen: no set has one that is like others. Leave out '
      '--caliper, or train on more rows.'
    )
  world = measures.read_world(
    sae, variables, store, split, config.images, config.seed
  )
  if labelled_store is not None:
    known = measures.read_labelled(
      sae, variables, labelled_store, split, config.images, config.seed
    )
    world = dataclasses.replace(world, labelled=known)
  base = world.see(lambda z_nS: z_nS)
  entries = {
    f'{_PREFIX}/{kind}/{what}': results.entry(e, split=split)
    for kind, seen in (('raw', world.see(None)), ('reconstruction', base))
    for what, e in world.estimates(seen).items()
  }
  measured = _measure(world, config, trials)
  entries |= _size_entries(world, base, measured, config, split)
  entries |= _curve_entries(measured, config, trials, split)
  for t in trials:
    entries[f'{_PREFIX}/{t.name}/concepts'] = results.entry(
      len(choice.ranked[t.name]), n=choice.pairs, split='train', unit='concepts'
    )
    for n in t.sizes:
      entries |= _match_entries(choice, t, n)
  return Found(entries, _figure(entries, trials, config.edit), trials)


def _worst(found: Found, t: intervening_sets.Trial) -> tuple[float, str]:
  """The feature in which a set is least like its random sets, at any size."""
  return max(
    (abs(found.entries[f'{_PREFIX}/{t.name}/n={n}/match/{f}']['value']), f)
    for f in matched_sets.FEATURES
    for n in t.sizes
  )


def summary(found: Found, config: InterveneConfig) -> str:
  """What was found, in a few lines to print."""
  value = lambda name: found.entries[f'{_PREFIX}/{name}']['value']
  recall, claims = measures.RECALL, []
  lines = [
    f'recall@1, mean of both ways: {value(f"raw/{recall}"):.3f} of the rows, '
    f'{value(f"reconstruction/{recall}"):.3f} reconstructed'
  ]
  for t in found.trials:
    at = f'{t.name}/n={t.sizes[-1]}/{recall}'
    spread = found.entries[f'{_PREFIX}/{at}/random']
    chance = found.entries[f'{_PREFIX}/{t.name}/all_sizes/{recall}/p_holm']
    p = chance['value']
    worst, feature = _worst(found, t)
    lines.append(
      f'{t.name}, {config.edit} {t.sizes[-1]}: {value(at):.3f}; random '
      f'{spread["value"]:.3f} [{spread["low"]:.3f}, {spread["high"]:.3f}]; all '
      f'sizes p {results.p_words(chance)} (Holm); matched to {worst:.2f} s.d. '
      f'({feature})'
    )
    if who := _CLAIMS.get(t.name):
      verdict = 'carry' if p <= LEVEL else 'are not seen to carry'
      doubt = (
        f', but these are less alike than {_WELL} s.d.: see --caliper'
        if worst > _WELL
        else ''
      )
      claims.append(
        f'{who} {verdict} more alignment than matched concepts{doubt}'
      )
  tests = sum(len(t.sizes) for t in found.trials)
  if tests / (1 + config.draws) > LEVEL:
    claims.append(
      f'p of single sizes, adjusted for all {tests}, cannot reach {LEVEL} with '
      f'--draws={config.draws}: that takes {round(tests / LEVEL) - 1}'
    )
  return '\n'.join(lines + claims)
