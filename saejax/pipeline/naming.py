"""Names and quality of a dictionary's concepts, as a folder."""

from collections.abc import Mapping
import csv
import dataclasses
import os
from typing import Any

import numpy as np

from saejax import errors
from saejax import results
from saejax import run
from saejax import store as store_lib
from saejax.analysis import quality
from saejax.data import prompts
from saejax.pipeline import concept_quality
from saejax.pipeline import embedders
from saejax.pipeline import findings
from saejax.pipeline import naming_probes
from saejax.pipeline import naming_scores
from saejax.pipeline import naming_words
from saejax.report import figures
from saejax.report import figures_names
from saejax.store import manifest

NAMES, TABLE = 'names.json', 'names.csv'
PROBES, ABSORPTION = 'probes.csv', 'absorption.csv'
Entries = dict[str, dict[str, Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class NameConfig:
  """Flags of `name`.

  Attributes:
    sae: folder of the dictionary.
    store: folder of the store, of matched images and texts.
    model: what embeds words; None for the store's own model, 'none' to do
      without.
    revision: branch, tag or commit of the model on the hub.
    offline: never ask the network for the model.
    vocabulary: a file with a word or phrase a line; None for the words and
      bigrams of captions.
    templates: a file of templates, or templates joined by `|`; None for
      `naming_words.TEMPLATES`.
    other_store: the same images by an independent model.
    hierarchy: a JSON file of labels, parent to children.
    split: what is reported on.
  """

  sae: str
  store: str
  model: str | None = None
  revision: str | None = None
  offline: bool = False
  vocabulary: str | None = None
  templates: str | None = None
  other_store: str | None = None
  hierarchy: str | None = None
  split: str = 'test'


def _model(
  config: NameConfig, store: store_lib.Store
) -> embedders.Embedder | None:
  """What embeds words, if anything does; UserError if it cannot be loaded."""
  name = naming_words.model_name(config.model, store)
  if name is None:
    return None
  revision = config.revision
  if config.model is None:
    revision = revision or store.about.get('revision')
  try:
    return naming_words.load_model(name, revision, config.offline)
  except errors.UserError as e:
    if config.model is not None:
      raise
    raise errors.UserError(
      f'{e} It is what made {store.path}: give --model, or --model=none to do '
      'without names from embedded words.'
    ) from e


def _names(
  config: NameConfig,
  s: findings.Subject,
  c: naming_scores.Concepts,
  model: embedders.Embedder | None,
) -> dict[str, naming_scores.Named]:
  """Names by every source that the store allows."""
  found = {}
  spoken = naming_words.spoken(s, config.vocabulary)
  if spoken:
    found['captions'] = naming_scores.by_captions(s, c, spoken)
  if spoken and model:
    naming_words.check_model(model, s.test[1])
    row_WD = naming_words.embed(model, spoken.names, config.templates)
    found['vocabulary'] = naming_scores.by_words(s, c, spoken, row_WD)
  if labelled := naming_words.labelled(s):
    found['labels'] = naming_scores.by_labels(s, c, labelled)
  return found


def _round(value: float) -> float | None:
  return round(float(value), 4) if np.isfinite(value) else None


def name_records(
  found: Mapping[str, naming_scores.Named], c: naming_scores.Concepts
) -> list[dict[str, Any]]:
  """Every live concept with its names, the most energetic first."""
  best_S = naming_scores.best(found) if found else np.full(len(c.side_S), -1)
  sources = list(found)
  records = []
  for i in np.argsort(-c.energy_S, kind='stable'):
    if not c.live_S[i]:
      continue
    names = {
      source: {
        'label': n.name(i),
        'score': _round(n.test.area_S[i]),
        'null': _round(n.test.null_S[i]),
        'precision': _round(n.test.precision_S[i]),
        'rate': _round(n.test.rate_S[i]),
      }
      for source, n in found.items()
      if n.index_S[i] >= 0
    }
    best = sources[best_S[i]] if best_S[i] >= 0 else None
    records.append(
      {
        'concept': int(i),
        'modality': c.modality(i),
        'named_by': (*naming_scores.SIDES, '')[c.side_S[i]],
        'energy': float(c.energy_S[i]),
        'source': best,
        'label': names[best]['label'] if best else None,
        'score': names[best]['score'] if best else None,
        'names': names,
      }
    )
  return records


def _write_csv(path: str, lines: list[list[Any]]) -> None:
  with open(path, 'w', newline='', encoding='utf-8') as f:
    csv.writer(f).writerows(lines)


def name_table(
  records: list[dict[str, Any]],
  sources: list[str],
  beside: Mapping[str, np.ndarray],
) -> list[list[Any]]:
  """One line a live concept; `beside` are numbers by concept."""
  plain = ('concept', 'modality', 'named_by', 'energy', 'source')
  keys = ('label', 'score', 'null', 'precision', 'rate')
  head = [*plain, *(f'{s}_{k}' for s in sources for k in keys), *beside]
  lines: list[list[Any]] = [head]
  for r in records:
    line = [r[k] for k in plain]
    for source in sources:
      line += [r['names'].get(source, {}).get(k) for k in keys]
    lines.append(line + [_round(v[r['concept']]) for v in beside.values()])
  return lines


def _draw(
  found: Mapping[str, naming_scores.Named],
  rates: Mapping[str, np.ndarray],
  cosines: Mapping[str, np.ndarray],
) -> dict[str, figures.Figure]:
  binned = {name: quality.density(rate_S) for name, rate_S in rates.items()}
  edges = binned['image'][1]
  return {
    'name_scores': figures_names.name_scores(
      {source: n.test.area_S for source, n in found.items()},
      {source: n.test.drawn_S for source, n in found.items()},
    ),
    'density': figures_names.densities(
      {name: share for name, (share, _) in binned.items()}, edges
    ),
    'max_cosine': figures_names.max_cosines(cosines),
  }


def _labels(
  s: findings.Subject, hierarchy: naming_probes.Hierarchy
) -> tuple[Entries, dict[str, list[list[Any]]]]:
  """What labels tell: entries, and tables by file."""
  entries, tables, absorbed = {}, {}, {}
  for m, name in enumerate(naming_scores.SIDES):
    if not s.test[m].stream.labels or not (p := naming_probes.probe(s, m)):
      continue
    tables[name] = p
    entries |= naming_probes.probe_entries(p, name, s, m)
    if hierarchy:
      absorbed[name] = naming_probes.absorptions(p, s, m, hierarchy)
      entries |= naming_probes.absorption_entries(absorbed[name], name, s, m)
  lines = {}
  if tables:
    lines[PROBES] = naming_probes.probe_table(tables)
  if absorbed:
    lines[ABSORPTION] = naming_probes.absorption_table(tables, absorbed)
  return entries, lines


def name(config: NameConfig, out: str) -> Entries:
  """Names a dictionary's concepts and measures them; writes and returns it.

  Raises:
    UserError, StoreError: something cannot be read, or `out` is taken; nothing
      is left behind.
  """
  asked = {'name': dataclasses.asdict(config)}
  results.check_vacant(out)
  run.check_folder(out, asked, resume=True)
  if config.templates:
    prompts.read(config.templates)  # Told before any work.
  store = store_lib.Store(config.store)
  other = config.other_store and concept_quality.read_other(
    config.other_store, store, config.split
  )
  model = _model(config, store)
  s = findings.load_subject(config.sae, config.store, config.split)
  hierarchy = naming_probes.read_hierarchy(config.hierarchy, s)
  whole = s.whole()
  c = naming_scores.concepts(whole)
  found = _names(config, whole, c, model)
  entries = naming_scores.entries(found, c, s.split)
  densities, rates = concept_quality.density(s)
  apart, cosines = concept_quality.max_cosine(s, c.live_S)
  entries |= densities | apart | concept_quality.shrinkage(s)
  live = results.entry(int(c.live_S.sum()), split=s.split, unit='concepts')
  entries['concepts/live'] = live
  beside = {f'rate_{m}': rate_S for m, rate_S in rates.items()}
  beside['max_cosine'] = np.full(len(c.live_S), np.nan)
  beside['max_cosine'][c.live_S] = cosines['concepts']
  if other:
    mono, arrays = concept_quality.monosemantic(s, other)
    entries, beside = entries | mono, beside | arrays
  probed, lines = _labels(s, hierarchy)
  entries |= probed
  records = name_records(found, c)
  run.open_folder(out, asked, resume=True)
  lines[TABLE] = name_table(records, list(found), beside)
  for file, table in lines.items():
    _write_csv(os.path.join(out, file), table)
  manifest.write_json(
    os.path.join(out, NAMES), {'sources': list(found), 'concepts': records}
  )
  for title, drawn in _draw(found, rates, cosines).items():
    drawn.save(os.path.join(out, results.FIGURES), title)
  results.write(out, entries)  # Last: with them the folder is finished.
  return entries
