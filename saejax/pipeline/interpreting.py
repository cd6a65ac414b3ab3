"""Explains concepts automatically, and measures whether that says anything.

Concepts are drawn from all strengths. Each is explained from examples of train,
and the explanation is tried on examples of another split: does it tell those
for which the concept fires from those for which it does not, hard ones among
them? The same is done with residual dimensions and with random directions that
fire in as many examples, as they are and whitened, and with everyone's
explanation given to another. What stands beside a concept is compared with it
pair by pair.
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
from saejax.analysis import bootstrap
from saejax.analysis import interpretation
from saejax.analysis import modality
from saejax.analysis import monosemanticity
from saejax.pipeline import concept_quality
from saejax.pipeline import interpreting_explainers as explainers
from saejax.pipeline import interpreting_reading as reading
from saejax.pipeline import interpreting_subject as subject
from saejax.report import figures
from saejax.report import figures_interpretation

OWN = 'sae'
SOURCES = (OWN, 'dimension', 'random', 'whitened')
TABLE = 'explanations.csv'
SCORES = ('auroc', 'hard', 'easy')
# Of graded scores alone: else it is the AUROC.
GRADED = 'balanced'
_OVER = 'bootstrap over concepts'
Entries = dict[str, dict[str, Any]]


def _detections(
  s: subject.Subject,
  p: subject.Prepared,
  explanations: Sequence[str],
  explainer: explainers.Explainer,
  bar,
) -> list[interpretation.Detection | None]:
  """How well explanations tell; None of what cannot be tried."""
  found = []
  for j, (t, said) in enumerate(zip(p.trials, explanations, strict=True)):
    bar.update()
    if t is None:
      found.append(None)
      continue
    examples, rng = subject.trial_examples(s, t), (s.config.seed, j)
    # A judge that sees those that fire first could tell them by their place.
    order = np.random.default_rng(rng).permutation(len(examples))
    score_n = np.empty(len(examples))
    score_n[order] = explainer.score(said, [examples[i] for i in order])
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
  """Where concepts fire: IoU [C] with the factor that train chose, and null.

  A concept that is on no object in train has no factor, '', and an IoU of 0.
  """

  factor: Sequence[str]
  iou_C: np.ndarray
  shuffled_C: np.ndarray


def localise(s: subject.Subject, source: subject.Source) -> Localised | None:
  """IoU with masks of objects; None where masks or places are not known.

  The factor is the best of train; the number is of the other split; the null
  has the masks of another scene. Only patches that were kept count.
  """
  data = reading.world(s.store)
  if data is None or s.train.place_n is None or s.stream.modality != 'image':
    return None
  p = reading.side_of(int(s.train.place_n.max()) + 1)
  if p is None:
    return None
  train = reading.masks(data, s.train.pair_N, p)
  test = reading.masks(data, s.test.pair_N, p)
  train_NPC, in_train_NP = reading.on_grid(source.train_nC, s.train, p)
  test_NPC, in_test_NP = reading.on_grid(source.test_nC, s.test, p)
  order = interpretation.shift(np.arange(s.test.n))
  iou = interpretation.intersection_over_union
  names, own, null = [], [], []
  for j in range(source.train_nC.shape[1]):
    on_train_F = np.nan_to_num(
      iou(train_NPC[..., j], train.mask_NPF, in_train_NP)
    )
    f = int(on_train_F.argmax())
    if not on_train_F[f]:
      names.append('')
      own.append(0.0)
      null.append(0.0)
      continue
    names.append(train.names[f])
    one = test.mask_NPF[..., [f]]
    own.append(iou(test_NPC[..., j], one, in_test_NP)[0])
    null.append(iou(test_NPC[..., j], one[order], in_test_NP)[0])
  return Localised(names, np.array(own), np.array(null))


def _embeddings(s: subject.Subject) -> np.ndarray | None:
  """The held-out images by an independent encoder: [N, D].

  Raises:
    UserError: the other store is of other data or of the same model, or lacks
      some of them.
  """
  path = s.config.other_store
  if path is None:
    return None
  stream = concept_quality.open_other(path, s.store)['image']
  pair_n = stream.column('pair')
  order = np.argsort(pair_n, kind='stable')
  at_N = np.searchsorted(pair_n[order], s.test.pair_N)
  at_N = order[np.minimum(at_N, len(order) - 1)]
  missing = int((pair_n[at_N] != s.test.pair_N).sum())
  if missing:
    raise errors.UserError(
      f'--other_store={path} lacks {missing} of the {s.test.n} images that are '
      'scored: embed all of them.'
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
      'examples': int((p.train_NC[:, j] > 0).sum()),
    }
    row |= {k: _cell(np.asarray(v)[j].item()) for k, v in columns.items()}
    yield row | {'strongest': explainers.to_json(p.evidence[j])}


def _alike(
  test_NC: np.ndarray, e_ND: np.ndarray, at: str, split: str, seed: int
) -> tuple[Entries, dict[str, np.ndarray]]:
  """MonoSemanticity, as embeddings are and centred: results and columns."""
  columns, entries = {}, {}
  fires_C = (test_NC > 0).sum(0) >= modality.LEAST_FIRINGS
  scores = lambda e_ND: np.where(
    fires_C, monosemanticity.scores(test_NC, e_ND), np.nan
  )
  order_N = np.random.default_rng(seed).permutation(len(e_ND))
  for what, rows_ND in (
    ('monosemanticity', e_ND),
    ('monosemanticity_centred', monosemanticity.centred(e_ND)),
  ):
    columns[what] = scores(rows_ND)
    entries[f'{at}/{what}'] = mean_entry(columns[what], split)
    entries[f'{at}/{what}/shuffled'] = mean_entry(
      scores(rows_ND[order_N]), split
    )
  return entries, columns


def _explained(
  s: subject.Subject, p: subject.Prepared, explainer: explainers.Explainer, bar
) -> tuple[Entries, dict[str, Sequence]]:
  """Explains the concepts of a source, and tries that: results and columns."""
  at, split = p.source.name, s.config.split
  said = explainer.explain(p.evidence, p.train_NC)
  bar.update(len(said))
  own = _detections(s, p, said, explainer, bar)
  others = [said[i] for i in interpretation.shift(np.arange(len(said)))]
  other = _detections(s, p, others, explainer, bar)
  entries, columns = {}, {'explanation': said}
  for what in (*SCORES, *((GRADED,) if explainer.is_graded else ())):
    columns[what], null_C = _numbers(own, what), _numbers(other, what)
    entries[f'{at}/{what}'] = mean_entry(columns[what], split)
    entries[f'{at}/{what}/shuffled'] = mean_entry(null_C, split)
    if what == 'auroc':
      entries[f'{at}-shuffled/auroc'] = mean_entry(
        columns[what] - null_C, split
      )
  for i in range(s.config.strata):
    entries[f'{at}/stratum{i}/auroc'] = mean_entry(
      columns['auroc'][s.stratum == i], split
    )
  told = [bool(said[j]) for j, t in enumerate(p.trials) if t]
  entries[f'{at}/explained'] = mean_entry(np.array(told, float), split)
  return entries, columns


def _beside(
  s: subject.Subject, p: subject.Prepared, e_ND: np.ndarray | None
) -> tuple[Entries, dict[str, Sequence]]:
  """What needs no explanation: places, and MonoSemanticity."""
  at, split = p.source.name, s.config.split
  entries, columns = {}, {}
  places = localise(s, p.source)
  if places:
    columns |= {'factor': places.factor, 'iou': places.iou_C}
    entries[f'{at}/iou'] = mean_entry(places.iou_C, split)
    entries[f'{at}/iou/shuffled'] = mean_entry(places.shuffled_C, split)
  if e_ND is not None:
    found, more = _alike(p.test_NC, e_ND, at, split, s.config.seed)
    entries, columns = entries | found, columns | more
  return entries, columns


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
  split, rows, auroc = s.config.split, [], {}
  entries = {
    'concepts/eligible': results.entry(
      int(s.eligible_S.sum()), n=len(s.eligible_S), split='train',
      unit='concepts',
    )
  }  # fmt: skip
  e_ND = _embeddings(s)
  total = sum(3 * len(p.trials) for p in prepared)
  with tqdm.tqdm(total=total, unit='question', disable=None) as bar:
    for p in prepared:
      found, columns = _explained(s, p, explainer, bar)
      beside, more = _beside(s, p, e_ND)
      entries |= found | beside
      rows += _rows(s, p, columns | more)
      auroc[p.source.name] = columns['auroc']
  # Only what stands beside a concept that could be tried as well.
  for name in auroc.keys() - {OWN}:
    entries[f'{OWN}-{name}/auroc'] = mean_entry(auroc[OWN] - auroc[name], split)
  if isinstance(explainer, explainers.Judge) and explainer.spent.answers:
    spent = explainer.spent
    entries['judge/unread'] = results.entry(
      spent.unread / spent.answers, n=spent.answers, split=split
    )
  return Found(
    entries, figures_interpretation.detection(entries, SOURCES), rows
  )


def _told(e: Mapping[str, Any]) -> str:
  bounds = f' [{e["low"]:.3f}, {e["high"]:.3f}]' if 'low' in e else ''
  return f'{e["value"]:.3f}{bounds}'


def summary(found: Found) -> str:
  """What was found, in a few lines to print."""
  count = found.entries['concepts/eligible']
  lines = [f'{count["value"]} of {count["n"]} concepts are eligible']
  for at in SOURCES:
    told = []
    for what in (
      'auroc', 'hard', 'iou', 'monosemanticity', 'monosemanticity_centred',
    ):  # fmt: skip
      e = found.entries.get(f'{at}/{what}')
      if e is None or e['value'] is None:
        continue
      null = found.entries.get(f'{at}/{what}/shuffled', {}).get('value')
      beside = '' if null is None else f' (shuffled {null:.3f})'
      told.append(f'{what} {_told(e)}{beside}')
    lines.append(f'{at}: {"; ".join(told) or "nothing could be scored"}')
  for name in ('shuffled', *SOURCES[1:]):
    e = found.entries.get(f'{OWN}-{name}/auroc')
    if e is not None and e['value'] is not None:
      lines.append(f'{OWN} above {name}: auroc {_told(e)}')
  return '\n'.join(lines)
