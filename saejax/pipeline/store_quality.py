"""What a store's embeddings are worth, before any dictionary."""

from collections.abc import Mapping
import dataclasses
import os
from typing import Any

import numpy as np

from saejax import errors
from saejax import results
from saejax import store as store_lib
from saejax.analysis import bootstrap
from saejax.analysis import geometry
from saejax.analysis import retrieval
from saejax.pipeline import classifying
from saejax.pipeline import matching
from saejax.pipeline import sides
from saejax.report import figures

_POINTS = 24  # Of a curve of recall.
Entries = dict[str, dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Quality:
  """Results and figures, by name."""

  entries: Entries
  figures: Mapping[str, figures.Figure]

  def write(self, out: str) -> None:
    """Writes figures/, then results.json, with which the folder is whole."""
    for name, drawn in self.figures.items():
      drawn.save(os.path.join(out, results.FIGURES), name)
    results.write(out, self.entries)


def _check(
  store: store_lib.Store, split: str, classes_path: str | None
) -> tuple[bool, bool]:
  """Whether there are pairs and whether there are classes; UserError if none.

  Nothing is read but columns, so that mistakes are told before any work.
  """
  if 'image' not in store.streams:
    raise errors.UserError(
      f'{store.path} has no stream image; it has {list(store.streams)}. What '
      'texts alone are worth cannot be told.'
    )
  has_labels = classifying.has_labels(store)
  has_prompts = classifying.PROMPTS in store.streams
  if classes_path is not None and not has_labels:
    raise errors.UserError(
      f'The images of {store.path} have no column {classifying.LABEL}: there '
      'are no classes to tell. Leave out --classes_store.'
    )
  has_pairs = 'text' in store.streams
  has_classes = has_labels and (has_prompts or classes_path is not None)
  if not has_pairs and not has_classes:
    lacking = (
      f'no stream {classifying.PROMPTS}; give one with --classes_store'
      if has_labels
      else f'no column {classifying.LABEL} on its images'
    )
    raise errors.UserError(
      f'{store.path} has no texts to retrieve, and for zero-shot '
      f'classification {lacking}. It has {list(store.streams)}.'
    )
  if has_pairs:
    sides.check_pairs(store, split, needs_train=False)
    sides.check_width(store['text'], store.path, store['image'])
  sides.check_rows(store['image'], store.path, split)
  return has_pairs, has_classes


def _rank_results(
  found: Mapping[str, matching.Retrieved], split: str
) -> Entries:
  """The median rank both ways, 1 the best, and what chance would give."""
  entries = {}
  for way, retrieved in found.items():
    n, candidates = len(retrieved.rank_q), retrieved.candidates
    entries |= {
      f'{way}/median_rank': results.entry(
        bootstrap.median(retrieved.rank_q + 1, retrieved.group_q), split=split
      ),
      f'{way}/chance_median_rank': results.entry(
        retrieval.chance_median(retrieved.hits_q, candidates), n=n, split=split
      ),
      f'{way}/candidates': results.entry(candidates, split=split),
    }
  return entries


def _effective_ranks(rows: Mapping[str, sides.Rows], split: str) -> Entries:
  """Effective rank of each modality about its own mean, and of both."""
  covariances = {n: geometry.covariance(r.x_nD) for n, r in rows.items()}
  entry = lambda covariance_DD, n: results.entry(
    geometry.effective_rank(covariance_DD), n=n, split=split
  )
  n = {name: len(r.rows_n) for name, r in rows.items()}
  entries = {
    f'{name}/effective_rank': entry(covariance_DD, n[name])
    for name, covariance_DD in covariances.items()
  }
  if len(rows) == 2:  # As `geometry.Fit.within_DD`.
    within_DD = sum(covariances.values()) / 2
    entries['effective_rank'] = entry(within_DD, sum(n.values()))
  return entries


def _curves(found: Mapping[str, matching.Retrieved]) -> figures.Figure:
  most = max(retrieved.candidates for retrieved in found.values())
  ks = np.geomspace(1, most, _POINTS).round().astype(int)
  ks = np.union1d(ks, [k for k in matching.KS if k <= most])
  curves = {}
  for way, retrieved in found.items():
    recall = retrieved.recall(ks)
    curves[way] = {
      'recall': [e.value for e in recall],
      'low': [e.low for e in recall],
      'high': [e.high for e in recall],
      'chance': retrieved.chance(ks),
    }
  return figures.recall_curves(ks, curves)


def _class_figure(c: classifying.Classified) -> figures.Figure:
  return figures.class_accuracy(
    {
      'class': c.names,
      'images': c.ensemble.images_C,
      'top1': c.ensemble.value_C,
      'low': c.ensemble.low_C,
      'high': c.ensemble.high_C,
      'single_top1': c.single.value_C,
    },
    c.entries['chance_top1']['value'],
  )


def evaluate_store(
  path: str, split: str = 'test', classes_path: str | None = None
) -> Quality:
  """Retrieval, geometry and zero-shot accuracy of a store's own rows.

  Args:
    path: a store with images and texts, or with labelled images.
    split: the rows to report on, or 'all'.
    classes_path: a store whose prompts are taken in place of the store's own.

  Raises:
    UserError, StoreError: it has neither pairs nor classes, or no such rows.
  """
  store = store_lib.Store(path)
  has_pairs, has_classes = _check(store, split, classes_path)
  if has_classes:
    classes = classifying.read_classes(store, classes_path)
    label_n = classifying.read_labels(store, classes, split)
  rows = {
    name: matching.unit(sides.read_rows(store, name, split))
    for name in ('image', 'text')[: 1 + has_pairs]
  }
  entries, drawn = _effective_ranks(rows, split), {}
  if has_pairs:
    found = matching.retrieve(rows['image'], rows['text'])
    entries |= matching.recall_results(found, split)
    entries |= _rank_results(found, split)
    entries |= matching.cosine_results(rows['image'], rows['text'], split)
    drawn['recall'] = _curves(found)
  if has_classes:
    classified = classifying.classify(rows['image'], label_n, classes, split)
    entries |= {f'zero_shot/{n}': e for n, e in classified.entries.items()}
    drawn['classes'] = _class_figure(classified)
  return Quality(entries, drawn)


def _said(entry: Mapping[str, Any]) -> str:
  """A result with its bounds, to four digits; whole numbers in full."""
  if entry['value'] is None:
    return 'undefined'
  digits = lambda v: f'{v:,}' if isinstance(v, int) else f'{v:.4g}'
  bounds = ''
  if entry.get('low') is not None:
    bounds = f' [{digits(entry["low"])}, {digits(entry["high"])}]'
  return f'{digits(entry["value"])}{bounds}'


def summary(entries: Entries) -> str:
  """What was found, in a few lines to print."""
  say = lambda name: _said(entries[name])
  lines = []
  for way in matching.WAYS:
    if f'{way}/candidates' in entries:
      recalls, chances = (
        ', '.join(f'@{k} {say(f"{way}/{what}@{k}")}' for k in matching.KS)
        for what in ('recall', 'chance')
      )
      lines += [
        f'{way.replace("_", " ")}: recall{recalls}; median rank '
        f'{say(f"{way}/median_rank")} of {say(f"{way}/candidates")}; '
        f'{entries[f"{way}/recall@1"]["n"]:,} queries',
        f'  chance: {chances}; median rank {say(f"{way}/chance_median_rank")}',
      ]
  if 'gap' in entries:
    lines.append(
      f'cosine: {say("paired_cosine")} of pairs, {say("unpaired_cosine")} of '
      f'all; modality gap {say("gap")}'
    )
  ranks = [n for n in ('image', 'text') if f'{n}/effective_rank' in entries]
  lines.append(
    'effective rank: '
    + ', '.join(f'{say(f"{n}/effective_rank")} of {n}s' for n in ranks)
  )
  if 'zero_shot/top1' in entries:
    z = lambda name: say(f'zero_shot/{name}')
    lines += [
      f'zero-shot: top-1 {z("top1")}, top-5 {z("top5")}, mean of classes '
      f'{z("mean_per_class")}; {z("classes")} classes, '
      f'{entries["zero_shot/top1"]["n"]:,} images',
      f'  one of {z("templates")} templates: top-1 {z("single/top1")}; chance '
      f'{z("chance_top1")}; the largest class {z("largest_class")}',
    ]
  return '\n'.join(lines)
