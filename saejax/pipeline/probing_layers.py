"""Where along a model classes can be read off linearly, by probes.

Probes are fitted on `train`, their penalty and the best layer are chosen on
`val`, or on a tenth of `train` where `val` is reported or empty, and what is
reported is measured on another split. Beside every probe stand the same probe
of shuffled labels, which must be at chance, and the accuracy of always naming
the commonest class. Layer 0, what the model's vision tower gives if the store
has it, and streams of other stores are probed and tuned alike: how much of a
class was there before the language model (arXiv 2506.04706 §3).
"""

from collections.abc import Mapping
from collections.abc import Sequence
import csv
import dataclasses
import os
from typing import Any

import numpy as np
import tqdm

from saejax import errors
from saejax import io
from saejax import results
from saejax import store as store_lib
from saejax.analysis import bootstrap
from saejax.analysis import classification
from saejax.analysis import matched_sets
from saejax.pipeline import probing_tasks
from saejax.report import figures
from saejax.report import figures_sight
from saejax.train import probes as probes_lib

TABLE = 'probes.csv'
_TOP = 5
_PREFIX = 'probe'
Entries = dict[str, dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Probed:
  """What one probe of one site and factor reached.

  Attributes:
    val: accuracy on what is tuned on, at the penalty that is best there.
    tuned: the split that it is of.
    measures: on the reported split, with intervals over groups.
    shuffled: by measure, one number a shuffle.
  """

  factor: str
  kind: str
  site: probing_tasks.Site
  names: tuple[str, ...]
  penalty: float
  columns: int
  val: float
  tuned: str
  measures: Mapping[str, bootstrap.Estimate]
  chance: bootstrap.Estimate
  shuffled: Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Found:
  """Results, the figure, and a line for every probe."""

  entries: Entries
  figure: figures.Figure
  lines: Sequence[Mapping[str, Any]]

  def write(self, out: str) -> None:
    """Writes figures/ and probes.csv, then results.json."""
    self.figure.save(os.path.join(out, results.FIGURES), 'probes')
    path = os.path.join(out, TABLE)
    with open(path, 'w', newline='', encoding='utf-8') as f:
      writer = csv.DictWriter(f, list(self.lines[0]))
      writer.writeheader()
      writer.writerows(self.lines)
    results.write(out, self.entries)


def _by_chance(
  kind: str,
  task: probing_tasks.Task,
  penalty: float,
  config: probing_tasks.ProbeConfig,
) -> list[np.ndarray]:
  """Scores [n, C] on the reported split of fits to shuffled labels.

  A sparse probe sees few columns. Each shuffle has those that are strongest by
  its own labels, as the probe itself has.
  """
  label_Jn = probing_tasks.shuffled(
    task.label['train'], task.example_n, config.shuffles, config.seed
  )
  c, x = len(task.names), task.x
  if kind != 'sparse':
    drawn = probes_lib.fit(kind, x['train'], label_Jn, c, (penalty,))
    return [drawn.at(j, 0).scores(x['test']) for j in range(config.shuffles)]
  found = []
  for label_n in label_Jn:
    own = dataclasses.replace(task, label={**task.label, 'train': label_n})
    kept_D = probing_tasks.strongest(own, config.features)
    drawn = probes_lib.fit(
      kind, x['train'][:, kept_D], label_n[None], c, (penalty,)
    )
    found.append(drawn.at(0, 0).scores(x['test'][:, kept_D]))
  return found


def _probe(
  factor: str,
  kind: str,
  site: probing_tasks.Site,
  task: probing_tasks.Task,
  config: probing_tasks.ProbeConfig,
) -> Probed:
  c, label, x = len(task.names), task.label, task.x
  if kind == 'sparse':
    kept_D = probing_tasks.strongest(task, config.features)
    x = {part: x_nD[:, kept_D] for part, x_nD in x.items()}
  penalties = probes_lib.PENALTIES[kind]
  fitted = probes_lib.fit(kind, x['train'], label['train'][None], c).at(0)
  val_R = [
    classification.accuracy(fitted.at(r).scores(x['val']), label['val'])
    for r in range(len(penalties))
  ]
  # Of equals the one that is held back most.
  best = max(range(len(val_R)), key=lambda r: (val_R[r], penalties[r]))
  probe = fitted.at(best)
  score_nC = probe.scores(x['test'])
  told = score_nC, label['test'], task.group_n
  measures = {
    'top1': classification.top(*told, 1),
    'balanced': classification.balanced(*told),
    'auroc': classification.auroc(*told),
  }
  by_chance = _by_chance(kind, task, penalties[best], config)
  each = lambda f: np.array([f(s_nC, label['test']) for s_nC in by_chance])
  shuffled = {
    'top1': each(classification.accuracy),
    'auroc': each(classification.mean_auroc),
  }
  if c > _TOP:
    is_among = lambda *told: classification.ranks(*told) < _TOP
    measures[f'top{_TOP}'] = classification.top(*told, _TOP)
    shuffled[f'top{_TOP}'] = each(lambda *told: is_among(*told).mean())
  commonest = np.bincount(label['train'][label['train'] >= 0]).argmax()
  return Probed(
    factor=factor,
    kind=kind,
    site=site,
    names=task.names,
    penalty=penalties[best],
    columns=int((probe.w_DC != 0).any(1).sum()),
    val=val_R[best],
    tuned=task.tuned,
    measures=measures,
    chance=bootstrap.mean(label['test'] == commonest, task.group_n),
    shuffled=shuffled,
  )


def _entries(p: Probed, at: str, split: str) -> Entries:
  entry = lambda v, **k: results.entry(v, split=split, **k)
  found = {f'{at}/{name}': entry(e) for name, e in p.measures.items()}
  for name, value_J in p.shuffled.items():
    low, high = np.percentile(value_J, [2.5, 97.5])
    spread = {'low': float(low), 'high': float(high)}
    spread['interval'] = '95 % of shuffles'
    found[f'{at}/{name}/shuffled'] = (
      entry(float(value_J.mean()), n=len(value_J)) | spread
    )
    p_value = matched_sets.rank_p(-p.measures[name].value, -value_J)
    found[f'{at}/{name}/p'] = results.p_entry(
      p_value, len(value_J), split=split
    )
  n = p.measures['top1'].n
  return found | {
    f'{at}/val_top1': results.entry(p.val, split=p.tuned),
    f'{at}/penalty': results.entry(p.penalty, split=p.tuned),
    f'{at}/columns': results.entry(p.columns, split='train'),
    f'{at}/top1/commonest': entry(p.chance),
    f'{at}/balanced/chance': entry(1 / len(p.names), n=n),
    f'{at}/classes': entry(len(p.names), n=n),
  }


def _best(probed: Sequence[Probed]) -> dict[tuple[str, str], Probed]:
  """Of each factor and kind, the layer that is best on what is tuned on.

  Of equals the first; codes of an SAE are a kind of their own.
  """
  found: dict[tuple[str, str], Probed] = {}
  for p in probed:
    if p.site.layer is None:
      continue
    kind = f'{p.kind}.sae' if p.site.sae else p.kind
    key = p.factor, kind
    if key not in found or p.val > found[key].val:
      found[key] = p
  return found


def _line(p: Probed, split: str) -> dict[str, Any]:
  """A point of the figure, and a line of the table."""
  line = {
    'factor': p.factor, 'probe': p.kind, 'site': p.site.name,
    'layer': '' if p.site.layer is None else p.site.layer,
    'is_sae': int(p.site.sae is not None), 'classes': len(p.names),
    'n': p.measures['top1'].n, 'split': split, 'penalty': p.penalty,
    'columns': p.columns, 'tuned': p.tuned, 'val_top1': p.val,
  }  # fmt: skip
  for name in ('top1', 'balanced', 'auroc'):
    e = p.measures[name]
    line |= {name: e.value, f'{name}_low': e.low, f'{name}_high': e.high}
  line['top1_shuffled'] = float(p.shuffled['top1'].mean())
  line['auroc_shuffled'] = float(p.shuffled['auroc'].mean())
  return line | {'top1_commonest': p.chance.value}


def probe(
  store_path: str,
  config: probing_tasks.ProbeConfig,
  saes: Mapping[int, str] | None = None,
  references: Sequence[str] = (),
  split: str = 'test',
) -> Found:
  """Probes every layer of a store.

  Args:
    store_path: of `cache_llava`, or of any rows with labels.
    config: what is fitted, on what.
    saes: folders of SAEs by layer, whose codes are probed as well.
    references: folders of other stores, whose streams are probed beside.
    split: that is reported on.

  Raises:
    UserError, StoreError: there is nothing to tell, or no rows.
  """
  saes = saes or {}
  for path in saes.values():
    io.read_config(path)
  places = probing_tasks.sites(
    store_lib.Store(store_path), config, saes, references
  )
  probed = []
  for site in tqdm.tqdm(places, unit='site', disable=None):
    for factor, task in probing_tasks.tasks(site, config, split):
      for kind in config.probes:
        probed.append(_probe(factor, kind, site, task, config))
  least = probing_tasks.LEAST
  if not probed:
    raise errors.UserError(
      f'No factor of {store_path} has two classes with {least["train"]} rows '
      f'in train, {least["val"]} to tune on and {least["test"]} in {split}: '
      f'give more rows, of which --rows={config.rows} of train are read.'
    )
  entries: Entries = {}
  for p in probed:
    at = f'{_PREFIX}/{p.factor}/{p.kind}/{p.site.name}'
    entries |= _entries(p, at, split)
  for (factor, kind), p in _best(probed).items():
    at = f'{_PREFIX}/{factor}/{kind}/best'
    entries |= _entries(p, at, split)
    entries[f'{at}/layer'] = results.entry(p.site.layer, split=p.tuned)
  lines = [_line(p, split) for p in probed]
  return Found(entries, figures_sight.accuracy_by_layer(lines), lines)
