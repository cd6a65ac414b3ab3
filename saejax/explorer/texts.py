"""Words: names of concepts, and of places on the map."""

from collections import Counter
from collections.abc import Sequence
import dataclasses
import math
import re
from typing import Any

import numpy as np

from saejax.explorer import schema
from saejax.explorer import sources

_HOW = {
  'captions': 'A word or pair of words of its strongest captions.',
  'vocabulary': 'The word whose embedding is nearest to its direction.',
  'labels': 'The known label that its activation tells best.',
}
_FACTS = 'The known fact that it reads, of the rows that chose it: no score.'
_WORD = re.compile(r'[^\W\d_]{3,}')
_COMMON = frozenset(
  {
    'the', 'and', 'with', 'for', 'that', 'this', 'from', 'are', 'was', 'has',
    'have', 'its', 'his', 'her', 'their', 'there', 'some', 'very', 'over',
    'into', 'onto', 'near', 'next', 'one', 'two',
  }
)  # fmt: skip
Json = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Labels:
  """Names of the live concepts, by index.

  Attributes:
    best: the name to show, '' for none.
    source_N: its source, an index into `sources`.
    score_N: how good it is on held-out rows; NaN where that is not known.
    every: all names of each, the best first, as concept records have them.
    sources: what names come from.
  """

  best: list[str]
  source_N: np.ndarray
  score_N: np.ndarray
  every: list[list[Json]]
  sources: list[Json]


def _record(text: str, source: str, found: Json) -> Json:
  number = lambda key: found.get(key)
  return {
    'text': text,
    'source': source,
    'score': number('score'),
    'low': None,
    'high': None,
    'null': number('null'),
  }


def _from_names(names: Json, live: np.ndarray) -> list[list[Json]]:
  by_concept = {r['concept']: r for r in names['concepts']}
  every = []
  for concept in live.tolist():
    r = by_concept.get(concept, {'names': {}, 'source': None})
    ordered = sorted(r['names'], key=lambda s: s != r['source'])
    every.append(
      [_record(r['names'][s]['label'], s, r['names'][s]) for s in ordered]
    )
  return every


def _from_facts(a: sources.Analysed) -> list[list[Json]]:
  """What each concept reads of the store's own labels, if it has some."""
  c, facts = a.concepts, a.stream('image').labels
  if 'factor_image' not in c or not facts:
    return [[] for _ in a.live]
  factor_S = np.where(
    np.nan_to_num(c['modality_score']) >= 0.5,
    c['factor_image'],
    c['factor_text'],
  )
  return [
    [_record(facts[f], 'labels', {})] if f >= 0 else []
    for f in factor_S[a.live].tolist()
  ]


def labels(a: sources.Analysed) -> Labels:
  """Names by `name`, where it ran; else what concepts read of known labels."""
  if a.names:
    every = _from_names(a.names, a.live)
    told = {s: _HOW.get(s, s) for s in a.names['sources']}
  else:
    every = _from_facts(a)
    told = {'labels': _FACTS} if any(every) else {}
  order = list(told)
  first = [own[0] if own else None for own in every]
  score = lambda r: math.nan if not r or r['score'] is None else r['score']
  return Labels(
    best=[r['text'] if r else '' for r in first],
    source_N=np.array(
      [order.index(r['source']) if r else 0 for r in first], int
    ),
    score_N=np.array([score(r) for r in first], float),
    every=every,
    sources=[{'name': name, 'how': how} for name, how in told.items()],
  )


def words(caption: str) -> list[str]:
  """Words of a caption that may name something, each once."""
  found = dict.fromkeys(_WORD.findall(caption.lower()))
  return [w for w in found if w not in _COMMON]


def _by_labels(best: Sequence[str], energy_N, rows) -> list[str]:
  """Names of concepts, those that carry most energy together first."""
  weight: Counter[str] = Counter()
  for i in rows:
    if best[i]:
      weight[best[i]] += float(energy_N[i])
  return [
    name for name, _ in sorted(weight.items(), key=lambda p: (-p[1], p[0]))
  ]


def _by_words(
  said: Sequence[Sequence[str]], rows, document: Counter
) -> list[str]:
  """Words of captions, those that set a group apart first."""
  own = Counter(w for i in rows for w in said[i])
  n = len(said)
  apart = lambda w: own[w] / max(len(rows), 1) * math.log(n / document[w] + 1)
  return sorted(own, key=lambda w: (-apart(w), w))[:20]


def clusters(
  cluster_N3: np.ndarray,
  place_N4: np.ndarray,
  best: Sequence[str],
  energy_N: np.ndarray,
  said: Sequence[Sequence[str]],
) -> list[Json]:
  """Names of groups of near concepts, at three levels.

  A group has the name that most of its energy has, or, where no concept of it
  has one, the word that its captions have before others. A finer group takes a
  name that no group above or beside it has, if there is one.

  Args:
    cluster_N3: the group of each concept at each level, -1 for none.
    place_N4: joint and split places.
    best: names of the concepts, '' for none.
    energy_N: energies.
    said: words of each concept's captions.
  """
  document = Counter(w for own in said for w in own)
  found, taken = [], set()
  for level in range(cluster_N3.shape[1]):
    for group in range(int(cluster_N3[:, level].max(initial=-1)) + 1):
      rows = np.flatnonzero(cluster_N3[:, level] == group)
      if not len(rows):
        continue
      names = _by_labels(best, energy_N, rows)
      names += [] if names else _by_words(said, rows, document)
      if not names:
        continue
      name = next((n for n in names if n not in taken), names[0])
      taken.add(name)
      x, y, split_x, split_y = place_N4[rows].mean(0).tolist()
      found.append(
        {
          'level': level,
          'name': name,
          'joint': [schema.short(x), schema.short(y)],
          'split': [schema.short(split_x), schema.short(split_y)],
          'size': len(rows),
        }
      )
  return found
