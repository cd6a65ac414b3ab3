"""A query with other concepts: what it finds before and after."""

from collections.abc import Mapping
import csv
import dataclasses
import functools
import os
from typing import Any

import numpy as np

from saejax import encode
from saejax import errors
from saejax import nn
from saejax import results
from saejax import store as store_lib
from saejax import types
from saejax.analysis import interventions
from saejax.analysis import retrieval
from saejax.pipeline import editing_words
from saejax.pipeline import intervening_sets
from saejax.pipeline import sides
from saejax.report import pictures
from saejax.report import retrieved as report

RETRIEVED, PAGE = 'retrieved.csv', 'retrieved.html'
_STREAMS = ('image', 'text')
_STRENGTH_ROWS = 20_000  # Training rows that tell how strong a concept is.
_PREFIX = 'edit'


@dataclasses.dataclass(frozen=True, kw_only=True)
class EditConfig:
  """A query and what becomes of it.

  Attributes:
    query: a caption of the store; or
    row: a row of it, as STREAM:NUMBER.
    add: concepts to add, at `strength` times their mean active code; by
      number, or by a word that stands for one.
    remove: concepts to remove, likewise.
    names: the folder that `name` wrote, to look words up in.
    model: what embeds words that are no names; None for the store's own.
    strength: of what is added.
    retrieve: the stream to search; by default, the other modality's.
    top: how many rows to show.
    split: the rows that are searched.
  """

  query: str | None = None
  row: str | None = None
  add: tuple[editing_words.Concept, ...] = ()
  remove: tuple[editing_words.Concept, ...] = ()
  names: str | None = None
  model: str | None = None
  strength: float = 1.0
  retrieve: str | None = None
  top: int = 10
  split: str = 'test'

  def __post_init__(self):
    if (self.query is None) == (self.row is None):
      raise errors.UserError(
        'Give one of --query, a caption of the store, and --row, such as '
        '--row=text:123.'
      )
    if self.top < 1:
      raise errors.UserError(f'--top={self.top} must be at least 1.')


@dataclasses.dataclass(frozen=True)
class Edited:
  """What was found: results, a line for each retrieved row, and a page."""

  entries: dict[str, dict[str, Any]]
  lines: list[dict[str, Any]]
  page: str
  chosen: tuple[editing_words.Chosen, ...] = ()

  def write(self, out: str) -> None:
    """Writes retrieved.csv and retrieved.html, then results.json."""
    os.makedirs(out, exist_ok=True)
    with open(
      os.path.join(out, RETRIEVED), 'w', newline='', encoding='utf-8'
    ) as f:
      writer = csv.DictWriter(f, list(self.lines[0]))
      writer.writeheader()
      writer.writerows(self.lines)
    with open(os.path.join(out, PAGE), 'w', encoding='utf-8') as f:
      f.write(self.page)
    results.write(out, self.entries)


def _by_words(store: store_lib.Store, query: str) -> tuple[str, int]:
  """The first text that says just this; UserError with what is near."""
  stream = store['text']
  plain = lambda words: ' '.join(str(words).lower().split())
  captions = [
    plain(words.get('caption', ''))
    for words in stream.words(stream.rows('all'))
  ]
  if not any(captions):
    raise errors.UserError(
      f'{store.path} does not keep the words of its texts: use --row.'
    )
  asked = plain(query)
  if asked in captions:
    return 'text', captions.index(asked)
  common = lambda caption: (
    len(set(caption.split()) & set(asked.split())),
    -len(caption),
  )
  raise errors.UserError(
    f'No text of {store.path} says {query!r}. Near is '
    f'{max(captions, key=common)!r}; or use --row.'
  )


def find_query(store: store_lib.Store, config: EditConfig) -> tuple[str, int]:
  """The stream and row of the query; UserError if there is none."""
  if config.query is not None:
    return _by_words(store, config.query)
  name, _, number = config.row.partition(':')
  if name not in _STREAMS or not number.isdecimal():
    raise errors.UserError(
      f'--row={config.row} is not understood: write image:NUMBER or '
      'text:NUMBER.'
    )
  if int(number) >= len(store[name]):
    raise errors.UserError(
      f'--row={config.row}: stream {name} of {store.path} has rows '
      f'0…{len(store[name]) - 1}.'
    )
  return name, int(number)


def active_codes(
  sae: nn.LinearSAE,
  variables: types.ArrayTree,
  stream: store_lib.Stream,
) -> np.ndarray:
  """How strong each concept is where it fires in train: [S], 0 for never."""
  rows_N = stream.rows('train')
  n = min(len(rows_N), _STRENGTH_ROWS)
  picked = np.linspace(0, len(rows_N) - 1, n).astype(int)
  z_nS = encode.encode(sae, variables, stream, rows_N[picked]).z_nS
  sum_S = np.asarray(z_nS.sum(0, dtype=np.float64)).ravel()
  count_S = np.asarray((z_nS != 0).sum(0)).ravel()
  return sum_S / np.maximum(count_S, 1)


def _strengths(codes_S, store_path: str, concepts) -> dict[int, float]:
  """What each concept is added at; UserError of one that never fires.

  Args:
    codes_S: `active_codes` of the streams, in order, the first that has it.
    store_path: of the rows.
    concepts: which.
  """
  found = {}
  for c in concepts:
    own = next((code_S[c] for code_S in codes_S if code_S[c]), None)
    if own is None:
      raise errors.UserError(
        f'Concept {c} never fires in train of {store_path}, so that its '
        'strength is not known. Choose another.'
      )
    found[c] = float(own)
  return found


def _asked(config: EditConfig) -> tuple[list[str], list[int]]:
  """Words of a query, each once, and concepts by number."""
  every = (*config.add, *config.remove)
  words = list(dict.fromkeys(filter(editing_words.is_word, every)))
  return words, [c for c in every if not editing_words.is_word(c)]


def _by_number(
  config: EditConfig, chosen: dict[str, editing_words.Chosen]
) -> EditConfig:
  """The same with concepts in place of words."""
  number = lambda c: chosen[c].concept if editing_words.is_word(c) else c
  plain = lambda concepts: tuple(dict.fromkeys(map(number, concepts)))
  return dataclasses.replace(
    config, add=plain(config.add), remove=plain(config.remove)
  )


def _nearest(query_D, rows: sides.Rows, own: int | None, top: int):
  """Places of the nearest rows, each said once; the similarity of all."""
  similarity_n = retrieval.unit_rows(rows.x_nD) @ query_D
  order = np.argsort(-similarity_n, kind='stable')
  if own is not None:
    order = order[rows.rows_n[order] != own]
  _, first = np.unique(rows.key_n[order], return_index=True)
  return order[np.sort(first)[:top]], similarity_n


def _labels(rows: sides.Rows, at: int) -> str:
  """The known factors of a row, by name."""
  label_F = rows.stream.column('labels')[rows.rows_n[at]]
  names = zip(rows.stream.labels, label_F, strict=True)
  return '; '.join(name for name, is_so in names if is_so)


def _retrieve(query, rows: sides.Rows, own: int | None, top: int):
  """Places of what each query finds, and a line for each."""
  lines, found, similar = [], {}, {}
  for when, query_D in query.items():
    found[when], similar[when] = _nearest(query_D, rows, own, top)
  for when, at_n in found.items():
    words = rows.stream.words(rows.rows_n[at_n])
    for rank, (at, said) in enumerate(zip(at_n, words, strict=True), start=1):
      lines.append(
        {'query': when, 'rank': rank, 'stream': rows.stream.name}
        | {'row': int(rows.rows_n[at])}
        | {k: float(similar[k][at]) for k in similar}
        | {'words': str(said.get('caption', said.get('image', '')))}
        | ({'labels': _labels(rows, at)} if rows.stream.labels else {})
      )
  return found, lines


def edit(sae_path: str, store_path: str, config: EditConfig) -> Edited:
  """Changes the concepts of a stored row, and searches a split with it.

  The query before the change is its reconstruction; what is searched are rows
  as they are stored.

  Raises:
    UserError, StoreError: no such dictionary, store, row or concept.
  """
  sae, variables = intervening_sets.load(sae_path)
  store = store_lib.Store(store_path)
  words, numbers = _asked(config)
  interventions.check_concepts(numbers, sae.s)
  name, row = find_query(store, config)
  other = _STREAMS[1 - _STREAMS.index(name)]
  sought = config.retrieve or other
  sides.check_rows(store[sought], store.path, config.split)
  sides.check_width(store[sought], store.path, store[name])
  encoded = encode.encode(sae, variables, store[name], np.array([row]))
  d_SD = np.asarray(variables['params']['w_dec'])
  codes_of = functools.cache(
    lambda stream: active_codes(sae, variables, store[stream])
  )
  chosen = editing_words.resolve(
    words, config.names, store, name, d_SD,
    encoded.z_nS.toarray()[0] != 0, lambda: codes_of(name) != 0, config.model,
  )  # fmt: skip
  config = _by_number(config, {c.word: c for c in chosen})
  add = {}
  if config.add:
    streams = (name, other) if other in store.streams else (name,)
    codes = [codes_of(stream) for stream in streams]
    add = _strengths(codes, store.path, config.add)
    add = {c: config.strength * v for c, v in add.items()}
  codes = {
    'before': encoded.z_nS,
    'after': interventions.edit(encoded.z_nS, add, config.remove),
  }
  bias_D = encode.bias(sae, variables, store[name])
  query = {
    when: retrieval.unit_rows(z_1S @ d_SD + bias_D)[0]
    for when, z_1S in codes.items()
  }
  rows = sides.read_rows(store, sought, config.split)
  own = row if sought == name else None
  found, lines = _retrieve(query, rows, own, config.top)
  own_words = store[name].words(np.array([row]))[0]
  x_D = retrieval.unit_rows(encoded.x_nD)[0]
  return Edited(
    entries=_entries(config, codes, query, x_D, found, add),
    lines=lines,
    page=report.page(
      report.Query(name, row, own_words, tuple(add.items()), config.remove),
      lines,
      {
        when: rows.stream.words(rows.rows_n[at_n])
        for when, at_n in found.items()
      },
      pictures.of_store(store.about),
    ),
    chosen=tuple(chosen),
  )


def _entries(config, codes, query, x_D, found, add: Mapping[int, float]):
  """Cosines of the query before and after, concepts' codes, what stays."""
  entry = lambda v, **k: results.entry(v, split=config.split, **k)
  entries = {
    f'{_PREFIX}/cosine_to_query/{when}': entry(float(q_D @ x_D), n=1)
    for when, q_D in query.items()
  }
  entries[f'{_PREFIX}/cosine_of_both'] = entry(
    float(query['before'] @ query['after']), n=1
  )
  kept = len(np.intersect1d(found['before'], found['after']))
  entries[f'{_PREFIX}/kept'] = entry(
    kept, n=len(found['before']), unit='rows retrieved'
  )
  for c in sorted({*add, *config.remove}):
    for when, z_1S in codes.items():
      entries[f'{_PREFIX}/concept={c}/{when}'] = entry(float(z_1S[0, c]), n=1)
  return entries


def summary(found: Edited) -> str:
  """The rows retrieved, in a few lines to print."""
  lines = [
    f'@{c.word} is concept {c.concept}: {c.score:.3f}, {c.told}'
    for c in found.chosen
  ]
  for when in ('before', 'after'):
    lines.append(f'{when}:')
    lines += [
      f'  {e["rank"]:>2}. {e["stream"]}:{e["row"]}  {e[when]:.3f}  '
      + (e['words'] or e.get('labels', ''))
      for e in found.lines
      if e['query'] == when
    ]
  return '\n'.join(line.rstrip() for line in lines)
