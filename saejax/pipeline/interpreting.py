"""Explains concepts automatically, and measures whether that says anything.

Concepts are drawn from all strengths. Each is explained from examples of train,
and the explanation is tried on examples of another split: does it tell those
for which the concept fires from those for which it does not, hard ones among
them? The same is done with residual dimensions and with random directions that
fire as often, and with everyone's explanation given to another.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import csv
import dataclasses
import math
import os
from typing import Any

import numpy as np
import tqdm

from saejax import errors
from saejax import results
from saejax import store as store_lib
from saejax.analysis import bootstrap
from saejax.analysis import interpretation
from saejax.analysis import monosemanticity
from saejax.pipeline import interpreting_explainers as explainers
from saejax.pipeline import interpreting_reading as reading
from saejax.pipeline import interpreting_subject as subject
from saejax.report import figures
from saejax.report import figures_interpretation

SOURCES = ('sae', 'dimension', 'random')
TABLE, ANSWERS = 'explanations.csv', 'answers'
SCORES = ('auroc', 'hard', 'easy', 'balanced')
_OVER = 'bootstrap over concepts'
Entries = dict[str, dict[str, Any]]


def _detections(
  s: subject.Subject,
  p: subject.Prepared,
  explanations: Sequence[str],
  explainer,
  bar,
) -> list[interpretation.Detection | None]:
  found = []
  for t, texts, said in zip(
    p.trials, subject.trial_texts(s, p), explanations, strict=True
  ):
    bar.update()
    if not subject.can_be_tried(t):
      found.append(None)
      continue
    score_n = np.asarray(explainer.score(said, texts), float)
    found.append(interpretation.detect(t, score_n, explainer.cut))
  return found


def _numbers(detections, what: str) -> np.ndarray:
  return np.array(
    [math.nan if d is None else getattr(d, what) for d in detections]
  )


def mean_entry(value_C: np.ndarray, split: str) -> dict[str, Any]:
  """A mean over concepts, with its bounds over these."""
  value_C = value_C[np.isfinite(value_C)]
  found = results.entry(
    bootstrap.mean(value_C, np.arange(len(value_C))), split=split
  )
  return found | ({'interval': _OVER} if 'low' in found else {})


@dataclasses.dataclass(frozen=True)
class Localised:
  """Where concepts fire: IoU [C] with the factor that train chose, and null."""

  factor: Sequence[str]
  iou_C: np.ndarray
  shuffled_C: np.ndarray


def localise(s: subject.Subject, source: subject.Source) -> Localised | None:
  """IoU with masks of objects; None where masks or places are not known.

  The factor is the best of train; the number is of the other split; the null
  has the masks of another scene.
  """
  data = reading.world(s.store)
  if data is None or s.train.place_n is None or s.stream.modality != 'image':
    return None
  p = reading.side_of(int(s.train.place_n.max()) + 1)
  if p is None:
    return None
  train = reading.masks(data, s.train.pair_N, p)
  test = reading.masks(data, s.test.pair_N, p)
  train_NPC = reading.on_grid(source.train_nC, s.train, p)
  test_NPC = reading.on_grid(source.test_nC, s.test, p)
  order = interpretation.shift(np.arange(s.test.n))
  iou = interpretation.intersection_over_union
  names, own, null = [], [], []
  for j in range(source.train_nC.shape[1]):
    on_train_F = np.nan_to_num(iou(train_NPC[..., j], train.mask_NPF))
    f = int(on_train_F.argmax())
    names.append(train.names[f])
    one = test.mask_NPF[..., [f]]
    own.append(iou(test_NPC[..., j], one)[0])
    null.append(iou(test_NPC[order, :, j], one)[0])
  return Localised(names, np.array(own), np.array(null))


def _embeddings(s: subject.Subject) -> np.ndarray | None:
  """The held-out images by an independent encoder: [N, D].

  Raises:
    UserError: the other store lacks some of them.
  """
  if s.config.other_store is None:
    return None
  stream = store_lib.Store(s.config.other_store)['image']
  pair_n = stream.column('pair')
  order = np.argsort(pair_n, kind='stable')
  at_N = np.searchsorted(pair_n[order], s.test.pair_N)
  at_N = order[np.minimum(at_N, len(order) - 1)]
  missing = int((pair_n[at_N] != s.test.pair_N).sum())
  if missing:
    raise errors.UserError(
      f'--other_store={s.config.other_store} lacks {missing} of the '
      f'{s.test.n} images that are scored: it is of another data set.'
    )
  return stream.take(at_N).astype(np.float64)


@dataclasses.dataclass(frozen=True)
class Found:
  """Results, the figure, and a row for each concept of each source."""

  entries: Entries
  figure: figures.Figure
  rows: Sequence[Mapping[str, Any]]

  def write(self, out: str) -> None:
    """Writes figures/ and explanations.csv, then results.json."""
    self.figure.save(os.path.join(out, results.FIGURES), 'detection')
    path = os.path.join(out, TABLE)
    with open(path, 'w', newline='', encoding='utf-8') as f:
      writer = csv.DictWriter(f, list(self.rows[0]))
      writer.writeheader()
      writer.writerows(self.rows)
    results.write(out, self.entries)


def _cell(value: Any) -> Any:
  is_nothing = isinstance(value, float) and math.isnan(value)
  return '' if value is None or is_nothing else value


def _rows(
  s: subject.Subject, p: subject.Prepared, columns: Mapping[str, Sequence]
):
  for j, concept in enumerate(s.concepts):
    row = {
      'source': p.source.name,
      'concept': int(concept) if p.source.name == 'sae' else j,
      'like_concept': int(concept),
      'stratum': int(s.stratum[j]),
      'energy': float(s.energy[j]),
      'rate': float((p.source.train_nC[:, j] > 0).mean()),
    }
    row |= {k: _cell(np.asarray(v)[j].item()) for k, v in columns.items()}
    yield row | {'strongest': explainers.to_json(p.evidence[j])}


def _alike(test_NC, e_ND: np.ndarray, at: str, split: str):
  """MonoSemanticity by concept, and entries: as embeddings are, and centred."""
  columns, entries = {}, {}
  for what, rows_ND in (
    ('monosemanticity', e_ND),
    ('monosemanticity_centred', monosemanticity.centred(e_ND)),
  ):
    columns[what] = monosemanticity.scores(test_NC, rows_ND)
    others_ND = rows_ND[interpretation.shift(np.arange(len(rows_ND)))]
    entries[f'{at}/{what}'] = mean_entry(columns[what], split)
    entries[f'{at}/{what}/shuffled'] = mean_entry(
      monosemanticity.scores(test_NC, others_ND), split
    )
  return columns, entries


def interpret(
  s: subject.Subject,
  prepared: Sequence[subject.Prepared],
  explainer: explainers.Explainer,
) -> Found:
  """Explains every concept of every source, and tries it.

  Args:
    s: what is read.
    prepared: what is drawn, by source.
    explainer: a judge, or naming.
  """
  split, entries, rows = s.config.split, {}, []
  e_ND = _embeddings(s)
  total = sum(3 * len(p.trials) for p in prepared)
  with tqdm.tqdm(total=total, unit='question', disable=None) as bar:
    for p in prepared:
      at = p.source.name
      said = explainer.explain(p.evidence, p.train_NC)
      bar.update(len(said))
      own = _detections(s, p, said, explainer, bar)
      other = _detections(
        s, p, [said[i] for i in interpretation.shift(np.arange(len(said)))],
        explainer, bar,
      )  # fmt: skip
      columns = {'explanation': said}
      for what in SCORES:
        columns[what], null = _numbers(own, what), _numbers(other, what)
        entries[f'{at}/{what}'] = mean_entry(columns[what], split)
        entries[f'{at}/{what}/shuffled'] = mean_entry(null, split)
      for i in range(s.config.strata):
        entries[f'{at}/stratum{i}/auroc'] = mean_entry(
          columns['auroc'][s.stratum == i], split
        )
      entries[f'{at}/explained'] = mean_entry(
        np.array([float(bool(text)) for text in said]), split
      )
      places = localise(s, p.source)
      if places:
        columns |= {'factor': places.factor, 'iou': places.iou_C}
        entries[f'{at}/iou'] = mean_entry(places.iou_C, split)
        entries[f'{at}/iou/shuffled'] = mean_entry(places.shuffled_C, split)
      if e_ND is not None:
        more, alike = _alike(p.test_NC, e_ND, at, split)
        columns, entries = columns | more, entries | alike
      rows += _rows(s, p, columns)
  if isinstance(explainer, explainers.Judge) and explainer.spent.answers:
    spent = explainer.spent
    entries['judge/unread'] = results.entry(
      spent.unread / spent.answers, n=spent.answers, split=split
    )
  return Found(
    entries, figures_interpretation.detection(entries, SOURCES), rows
  )


def summary(found: Found) -> str:
  """What was found, in a few lines to print."""
  lines = []
  for at in SOURCES:
    told = []
    for what in (
      'auroc', 'hard', 'iou', 'monosemanticity', 'monosemanticity_centred',
    ):  # fmt: skip
      e = found.entries.get(f'{at}/{what}')
      if e is None or e['value'] is None:
        continue
      null = found.entries.get(f'{at}/{what}/shuffled', {}).get('value')
      bounds = f' [{e["low"]:.3f}, {e["high"]:.3f}]' if 'low' in e else ''
      beside = '' if null is None else f' (shuffled {null:.3f})'
      told.append(f'{what} {e["value"]:.3f}{bounds}{beside}')
    lines.append(f'{at}: {"; ".join(told) or "nothing could be scored"}')
  return '\n'.join(lines)
