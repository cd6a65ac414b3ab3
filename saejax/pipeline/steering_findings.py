"""What steering came to, as numbers with intervals, tables and figures."""

from collections.abc import Mapping
from collections.abc import Sequence
import csv
import dataclasses
import itertools
import os
from typing import Any

import numpy as np

from saejax import results
from saejax.analysis import bootstrap
from saejax.analysis import matched_sets
from saejax.analysis import steering
from saejax.models import llava_folder
from saejax.pipeline import steering_after as after
from saejax.pipeline import steering_directions as directions_lib
from saejax.pipeline import steering_judged as judged
from saejax.pipeline import steering_scenes
from saejax.pipeline import steering_setup
from saejax.report import claims_steering
from saejax.report import figures
from saejax.report import figures_steering
from saejax.store import files

LEVEL = claims_steering.LEVEL
CLASSES, ROLLOUTS = 'classes.csv', 'rollouts.jsonl'
_PREFIX = 'steer'
_AT = (1, 5, 10, 20, 50)  # Atoms of which a cosine is an entry.
_LIKE = 20  # Directions by chance that are decomposed.
Entries = dict[str, dict[str, Any]]
Config, Made = steering_setup.SteerConfig, steering_setup.Made


@dataclasses.dataclass(frozen=True)
class Class:
  """What was measured of one class, by `steering_effects` and `_after`."""

  index: int
  found: Mapping[str, np.ndarray]
  specificity: Mapping[str, np.ndarray]
  rollouts: Sequence[Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Site:
  """What was measured at one site, by class."""

  name: str
  harm: Mapping[str, np.ndarray]
  classes: Mapping[str, Class]


@dataclasses.dataclass(frozen=True)
class Found:
  """Results, figures, and tables."""

  entries: Entries
  drawn: Mapping[str, figures.Figure]
  lines: Sequence[Mapping[str, Any]]
  rollouts: Sequence[Mapping[str, Any]]

  def write(self, out: str) -> None:
    """Writes figures/ and the tables, then results.json."""
    for name, drawn in self.drawn.items():
      drawn.save(os.path.join(out, results.FIGURES), name)
    path = os.path.join(out, CLASSES)
    with open(path, 'w', newline='', encoding='utf-8') as f:
      writer = csv.DictWriter(f, list(self.lines[0]))
      writer.writeheader()
      writer.writerows(self.lines)
    if self.rollouts:
      files.write_lines(os.path.join(out, ROLLOUTS), self.rollouts)
    results.write(out, self.entries)


def _entry(value, **more) -> dict[str, Any]:
  return results.entry(value, split='test', **more)


def _over(site: Site, column) -> bootstrap.Estimate:
  """The mean of rows of all classes, over scenes."""
  parts = [column(c) for c in site.classes.values()]
  group_n = np.concatenate([c.found['group'] for c in site.classes.values()])
  return bootstrap.mean(np.concatenate(parts), group_n)


def _damage(site: Site, kind: str, k: int) -> bootstrap.Estimate:
  """Rise of the captions' NLL at a strength, the mean over classes."""
  of_class = [c.index for c in site.classes.values()]
  rise_r = site.harm[f'test/{kind}'][of_class, k].mean(0)
  tokens_r = site.harm['test.tokens']
  _, sums_G2 = bootstrap.sum_by(
    site.harm['test.group'], np.stack([rise_r, tokens_r], axis=1)
  )
  share = lambda s: s[..., 0] / s[..., 1]
  return bootstrap.estimate(share, sums_G2, len(rise_r))


def _curves(site: Site, config: Config) -> tuple[Entries, list[dict]]:
  """Efficacy, turned answers and damage by kind and strength; and as points."""
  at = f'{_PREFIX}/{site.name}'
  entries = {
    f'{at}/unedited/accuracy': _entry(_over(site, lambda c: c.found['right'])),
    f'{at}/unedited/efficacy': _entry(_over(site, lambda c: c.found['base'])),
  }
  points = []
  for kind in config.directions:
    for k, strength in enumerate(config.strengths):
      chance = _over(
        site, lambda c, k=k, kind=kind: c.found[f'chance/{kind}'][k]
      )
      turned = _over(site, lambda c, k=k, kind=kind: c.found[f'flip/{kind}'][k])
      harm = _damage(site, kind, k)
      name = f'{at}/{kind}/strength={strength:g}'
      entries |= {
        f'{name}/efficacy': _entry(chance),
        f'{name}/turned': _entry(turned),
        f'{name}/damage': _entry(harm, unit='nats per token'),
      }
      points.append(
        {
          'site': site.name, 'direction': kind, 'strength': strength,
          'efficacy': chance.value, 'efficacy_low': chance.low,
          'efficacy_high': chance.high, 'damage': harm.value,
          'damage_low': harm.low, 'damage_high': harm.high,
          'turned': turned.value,
        }
      )  # fmt: skip
    chosen = lambda c, what, kind=kind: c.found[f'{what}/{kind}'][
      int(c.found[f'chosen/{kind}'])
    ]
    rise = _over(site, lambda c, of=chosen: of(c, 'chance') - c.found['base'])
    turned = _over(site, lambda c, of=chosen: of(c, 'flip'))
    entries[f'{at}/{kind}/chosen/rise'] = _entry(rise)
    entries[f'{at}/{kind}/chosen/turned'] = _entry(turned)
  return entries, points


def _tests(site: Site, config: Config) -> tuple[Entries, list[dict]]:
  """The rank of each class's direction, corrected over classes."""
  tested, entries, lines = config.tested, {}, []
  for name, c in site.classes.items():
    k = int(c.found[f'chosen/{tested}'])
    rise_r = c.found[f'chance/{tested}'][k] - c.found['base']
    rise = bootstrap.mean(rise_r, c.found['group'])
    turned = bootstrap.mean(c.found[f'flip/{tested}'][k], c.found['group'])
    null_N = c.found['null']
    low, high = np.percentile(null_N, [2.5, 97.5])
    short_N = c.found['null.strength'] >= config.strengths[-1]
    lines.append(
      {
        'site': site.name, 'class': name, 'strength': config.strengths[k],
        'damage_val': float(site.harm[f'val/{tested}'][c.index, k]),
        'rise': rise.value, 'rise_low': rise.low, 'rise_high': rise.high,
        'turned': turned.value, 'turned_low': turned.low,
        'turned_high': turned.high, 'n': rise.n,
        'null_mean': float(null_N.mean()), 'null_low': float(low),
        'null_high': float(high), 'null_max': float(null_N.max()),
        'null_damage_val': float(c.found['null.damage'].mean()),
        'null_at_most_strength': float(short_N.mean()),
        'wrong_mean': float(c.found['wrong'].mean()),
        'wrong_max': float(c.found['wrong'].max()),
        'p': matched_sets.rank_p(-rise.value, -null_N),
        'p_wrong': matched_sets.rank_p(-rise.value, -c.found['wrong']),
      }
    )  # fmt: skip
    at = f'{_PREFIX}/{site.name}/{tested}/{name}'
    entries |= {
      f'{at}/rise': _entry(rise),
      f'{at}/turned': _entry(turned),
      f'{at}/rise/null': _entry(float(null_N.mean()), n=len(null_N))
      | {'low': float(low), 'high': float(high),
         'interval': '95 % of directions by chance'},
      f'{at}/rise/wrong_classes': _entry(
        float(c.found['wrong'].mean()), n=len(c.found['wrong'])
      ),
    }  # fmt: skip
  drawn = len(site.harm['val/null'])
  holm = matched_sets.holm(np.array([line['p'] for line in lines]))
  for line, p_holm in zip(lines, holm, strict=True):
    line['p_holm'] = float(p_holm)
    at = f'{_PREFIX}/{site.name}/{tested}/{line["class"]}'
    for key, nulls, tests in (
      ('p', drawn, 1),
      ('p_holm', drawn, len(lines)),
      ('p_wrong', len(lines) - 1, 1),
    ):
      entries[f'{at}/{key}'] = results.p_entry(
        line[key], nulls, split='test', tests=tests
      )
    entries[f'{at}/strength'] = results.entry(line['strength'], split='val')
  entries[f'{_PREFIX}/{site.name}/{tested}/causal_classes'] = _entry(
    int((holm <= LEVEL).sum()), n=len(lines), unit='classes'
  )
  return entries, lines


def _specificity(site: Site, config: Config) -> Entries:
  """What becomes of answers about other factors, where the class is turned."""
  at = f'{_PREFIX}/{site.name}/specificity'
  asked = [c.specificity for c in site.classes.values() if c.specificity]
  entries = {
    f'{at}/classes': _entry(len(asked), n=len(site.classes), unit='classes')
  }
  if not asked:
    return entries
  column = lambda key: np.concatenate([a[key].astype(float) for a in asked])
  turned = bootstrap.mean(column('turned'), column('group'))
  entries[f'{at}/turned'] = _entry(turned)
  for factor in after.other_factors(config.factor):
    keys = 'before', 'after', 'before_nameless', 'after_nameless', 'group'
    *told, group = (column(f'{factor}/{key}') for key in keys)
    if not len(group):  # All of its names begin alike.
      continue
    values = np.stack([*told, told[0] - told[1]], axis=1)
    means = bootstrap.means(values, group)
    for key, e in zip((*keys[:4], 'fall'), means, strict=True):
      entries[f'{at}/{factor}/{key}'] = _entry(e)
    entries[f'{at}/{factor}/chance'] = _entry(
      steering_scenes.chance(factor, config.letters)
    )
  return entries


def _rollouts(site: Site) -> tuple[Entries, list[dict]]:
  """How often the target and the source are written: their words, and what a
  judge reads there."""
  lines = [
    {'site': site.name, **line}
    for c in site.classes.values()
    for line in c.rollouts
  ]
  if not lines:
    return {}, []
  entries, keys = {}, []
  columns = []
  is_judged = 'judged_after' in lines[0]
  for word, when in itertools.product(('target', 'source'), judged.WHEN):
    keys.append(f'{word}_named/{when}')
    columns.append([after.names_it(x[word], x[when]) for x in lines])
    if is_judged:
      keys.append(f'{word}_judged/{when}')
      columns.append([x[word] == x[f'judged_{when}'] for x in lines])
  if is_judged:
    keys.append('judge_unread')
    columns.append(
      [np.mean([x[f'judged_{w}'] is None for w in judged.WHEN]) for x in lines]
    )
  group = np.array([line['scene'] for line in lines])
  means = bootstrap.means(np.array(columns, float).T, group)
  for key, e in zip(keys, means, strict=True):
    entries[f'{_PREFIX}/{site.name}/rollouts/{key}'] = _entry(e)
  return entries, lines


def _decompositions(
  config: Config, made: Made, sae, model: llava_folder.LLaVA
) -> tuple[Entries, list[dict]]:
  """Cosines of directions to sparse fits, in the bases that there are."""
  bases = {}
  if sae is not None:
    bases['sae'] = np.asarray(sae[1]['params']['w_dec'])
  if config.layer:
    block = model.params['language_model'][f'layers_{config.layer - 1}']
    bases['neurons'] = np.asarray(block['mlp']['down_proj']['kernel'])
  of = {
    'classes': made.directions.unit[config.tested][list(made.classes)],
    'like_covariance': made.null_ND[:_LIKE],
  }
  d = made.null_ND.shape[1]
  of['random'] = np.random.default_rng(config.seed).normal(size=(_LIKE, d))
  entries, points = {}, []
  for basis, w_SD in bases.items():
    atoms = min(config.atoms, *w_SD.shape)
    for name, v_ND in of.items():
      cosine_NK = steering.pursuit_cosines(v_ND, w_SD, atoms)
      low_K, high_K = np.percentile(cosine_NK, [2.5, 97.5], axis=0)
      for k in range(atoms):
        mean, low, high = (
          float(a) for a in (cosine_NK[:, k].mean(), low_K[k], high_K[k])
        )
        points.append(
          {'basis': basis, 'directions': name, 'atoms': k + 1, 'cosine': mean,
           'low': low, 'high': high}
        )  # fmt: skip
        if k + 1 in _AT:
          at = f'{_PREFIX}/decomposition/{basis}/{name}/cosine@{k + 1}'
          entries[at] = results.entry(mean, n=len(v_ND), split='train') | {
            'low': low, 'high': high, 'interval': '95 % of directions',
          }  # fmt: skip
  return entries, points


def _lengths(config: Config, made: Made) -> Entries:
  """Raw lengths of directions, and how alike kinds are: means over classes."""
  entries, of = {}, list(made.classes)
  mine_CD = made.directions.unit[config.tested][of]
  norm = made.entering.norm
  entry = lambda v: results.entry(float(v), n=len(of), split='train')
  for kind in config.directions:
    length = made.directions.length[kind][of].mean()
    if kind in directions_lib.RAW:
      entries[f'{_PREFIX}/{kind}/length'] = entry(length / norm) | {
        'unit': 'mean image-token norms'
      }
    if kind != config.tested:
      cosine = (made.directions.unit[kind][of] * mine_CD).sum(1).mean()
      entries[f'{_PREFIX}/{kind}/cosine_to_{config.tested}'] = entry(cosine)
  entries[f'{_PREFIX}/image_token_norm'] = results.entry(
    norm, n=len(made.entering.label_n), split='train'
  )
  return entries


def findings(
  config: Config,
  made: Made,
  sites: Sequence[Site],
  sae: Any,
  model: llava_folder.LLaVA,
) -> Found:
  """All that was measured, as results, figures and tables."""
  entries, points, lines, rollouts = _lengths(config, made), [], [], []
  for site in sites:
    for part, found in (
      (_curves(site, config), points),
      (_tests(site, config), lines),
      (_rollouts(site), rollouts),
    ):
      entries |= part[0]
      found += part[1]
    entries |= _specificity(site, config)
  part, cosines = _decompositions(config, made, sae, model)
  drawn = {
    'efficacy_damage': figures_steering.efficacy_damage(points),
    'classes': figures_steering.ranks(lines),
  }
  if cosines:
    drawn['decomposition'] = figures_steering.cosines(cosines)
  return Found(entries | part, drawn, lines, rollouts)
