"""Concepts asked for in words: by the names that `name` gave, or by a model."""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import difflib
import os

import numpy as np

from saejax import errors
from saejax import store as store_lib
from saejax.analysis import naming
from saejax.pipeline import naming as naming_stage
from saejax.pipeline import naming_words
from saejax.pipeline import sides
from saejax.store import manifest

_STREAMS = ('image', 'text')
_NEAR = 5  # Labels listed beside one that there is none of.
_ROWS = 20_000  # Of train, for the means of modalities.
_OTHER_WORDS = 500  # That captions say most, about which words are centred.
Concept = int | str


@dataclasses.dataclass(frozen=True)
class Chosen:
  """The concept that a word stands for.

  Attributes:
    word: as it was asked for.
    concept: the concept.
    score: AUROC of its name, by `name`, or else cosine to the embedded word.
    told: how it was found, to print.
  """

  word: str
  concept: int
  score: float
  told: str


def is_word(concept: Concept) -> bool:
  return isinstance(concept, str)


def read_names(folder: str, s: int) -> list[dict]:
  """Concepts as `name` wrote them; UserError if there are none such."""
  path = os.path.join(folder, naming_stage.NAMES)
  if not os.path.isfile(path):
    raise errors.UserError(
      f'--names={folder} holds no {naming_stage.NAMES}: give the folder that '
      'name wrote.'
    )
  found = manifest.read_json(path, errors.UserError)
  try:
    records = found['concepts']
    of = [record['concept'] for record in records]
    _ = [record['label'] for record in records]
  except (KeyError, TypeError):
    raise errors.UserError(
      f'{path} is not what name writes: it has no labelled concepts.'
    ) from None
  if max(of, default=-1) >= s:
    raise errors.UserError(
      f'--names={folder} is of another dictionary: it names concept {max(of)}, '
      f'this one has 0…{s - 1}.'
    )
  return records


def _same(label: str | None, word: str) -> bool:
  return naming.words(label or '') == naming.words(word)


def by_label(
  word: str, records: Sequence[dict], stream: str, active_S: np.ndarray
) -> Chosen | None:
  """The concept whose best name is this word; None where none is.

  Of several, one that the query has; then one named by rows of the query's
  modality; then the one whose name scores best.
  """
  own = [r for r in records if _same(r['label'], word)]
  if not own:
    return None
  rank = lambda r: (
    bool(active_S[r['concept']]),
    r.get('named_by') == stream,
    r['score'] if r['score'] is not None else -1.0,
  )
  best = max(own, key=rank)
  of = f', the best of {len(own)} named so' if len(own) > 1 else ''
  return Chosen(
    word, best['concept'], rank(best)[-1], f'AUROC of the name on test{of}'
  )


def near_labels(word: str, records: Sequence[dict]) -> list[str]:
  labels = sorted({r['label'] for r in records if r['label']})
  near = difflib.get_close_matches(word, labels, _NEAR, cutoff=0)
  return near or labels[:_NEAR]


def _some_rows(store: store_lib.Store, name: str) -> sides.Rows:
  """Up to 20,000 rows of train, evenly spread."""
  stream = store[name]
  rows_N = stream.rows('train')
  picked = np.linspace(0, len(rows_N) - 1, min(len(rows_N), _ROWS))
  rows_n = rows_N[picked.astype(int)]
  column = lambda column: stream.column(column)[rows_n]
  return sides.Rows(
    stream=stream,
    rows_n=rows_n,
    x_nD=stream.take(rows_n).astype(np.float32, copy=False),
    group_n=column('group'),
    pair_n=column('pair'),
    key_n=column('pair'),
  )


def by_model(
  words: Sequence[str],
  store: store_lib.Store,
  d_SD: np.ndarray,
  fires_S: np.ndarray,
  asked: str | None = None,
) -> list[Chosen]:
  """The concept, of those that fire, that lies nearest to each word.

  Words and concepts are freed of the modality means as in
  `naming.nearest_words`.

  Raises:
    UserError: the store does not say what model made it, or it cannot be
      loaded, or it is not what made the store.
  """
  name = naming_words.model_name(asked, store)
  if name is None:
    raise errors.UserError(
      f'{store.path} does not say which model made it, to embed {words[0]!r}: '
      'give --model.'
    )
  revision = None if asked else store.about.get('revision')
  model = naming_words.load_model(name, revision, True)
  image, text = (_some_rows(store, m) for m in _STREAMS)
  naming_words.check_model(model, text)
  said = naming_words.captions(text)
  others = naming.common_n_grams(said, (1,), 2, _OTHER_WORDS)
  vocabulary = list(dict.fromkeys([*words, *others]))
  word_WD = naming_words.embed(model, vocabulary, None)
  means_2D = np.stack([side.x_nD.mean(0) for side in (image, text)])
  live_s = np.flatnonzero(fires_S)
  cosine_sW = naming.word_cosines(d_SD[live_s], word_WD, means_2D)
  found = []
  for w, word in enumerate(words):
    at = int(cosine_sW[:, w].argmax())
    found.append(
      Chosen(
        word,
        int(live_s[at]),
        float(cosine_sW[at, w]),
        f'cosine to the word as {model.vlm.name} embeds it',
      )
    )
  return found


def resolve(
  words: Sequence[str],
  names: str | None,
  store: store_lib.Store,
  stream: str,
  d_SD: np.ndarray,
  active_S: np.ndarray,
  fires: Callable[[], np.ndarray],
  model: str | None = None,
) -> list[Chosen]:
  """A concept for each word: by its label, else by an embedding.

  Args:
    words: what is asked for.
    names: the folder that `name` wrote, if any.
    store: of the query.
    stream: of the query.
    d_SD: the dictionary.
    active_S: which concepts the query has.
    fires: gives which concepts fire in the query's stream at all.
    model: what embeds words, by default what made the store.

  Raises:
    UserError: no label is such a word, and no model can embed it.
  """
  records = read_names(names, len(d_SD)) if names else []
  found = {w: by_label(w, records, stream, active_S) for w in words}
  missing = [w for w in found if found[w] is None]
  if missing:
    try:
      by = by_model(missing, store, d_SD, fires(), model)
    except errors.UserError as e:
      near = ', '.join(map(repr, near_labels(missing[0], records)))
      hint = f'Near are {near}.' if near else 'Give --names=FOLDER, of name.'
      raise errors.UserError(
        f'No concept is named {missing[0]!r}. {hint} ({e})'
      ) from e
    found |= {c.word: c for c in by}
  return [found[w] for w in words]
