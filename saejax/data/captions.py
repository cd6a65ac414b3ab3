"""Captions for scenes: what is said of them, how, and what that means."""

import dataclasses

import numpy as np

from saejax.data import scenes as scenes_lib
from saejax.store import hashing

_DRAWS = 40  # Uniforms set aside for a caption; fewer are used.
_CAPTION_STREAM = 1_000  # Caption j of a scene draws from this plus j.
_UNRELATED = 0x5EED  # Added to the seed of the scenes unrelated captions tell.

# How often a partial caption names a part.
_SECOND_OBJECT = 0.2
_COLOUR_ONLY, _SHAPE_ONLY = 0.35, 0.35
_SIZE, _PATTERN, _BACKGROUND, _COUNT, _MOOD = 0.2, 0.2, 0.25, 0.12, 0.4

_PLACES = {
  'meadow': 'on the meadow',
  'sea': 'by the sea',
  'street': 'in the street',
  'desert': 'in the desert',
  'night': 'at night',
  'snow': 'in the snow',
}
_NUMBERS = ('all alone', 'as one of two', 'as one of three')
_BE = {'present': 'is', 'past': 'was', 'future': 'will be'}
_SEE = {'present': 'see', 'past': 'saw', 'future': 'will see'}
_SHINE = {'present': 'shines', 'past': 'shone', 'future': 'will shine'}
_WHEN = {'present': 'now', 'past': 'then', 'future': 'soon'}


@dataclasses.dataclass(frozen=True)
class Captions:
  """N captions; `meaning` is equal where the same things are said."""

  text: list[str]
  meaning_N: np.ndarray  # int64.
  mentioned_NF: np.ndarray  # bool, by scenes.FACTORS.


@dataclasses.dataclass(frozen=True)
class _Phrase:
  """What is said of one object; None where it is left out."""

  colour: int | None = None
  shape: int | None = None
  size: int | None = None
  pattern: int | None = None

  def code(self) -> int:
    n = 0
    for value, base in (
      (self.colour, len(scenes_lib.COLOURS)),
      (self.shape, len(scenes_lib.SHAPES)),
      (self.size, len(scenes_lib.SIZES)),
      (self.pattern, len(scenes_lib.PATTERNS)),
    ):
      n = n * (base + 1) + (0 if value is None else 1 + value)
    return n

  def words(self, thing: str) -> str:
    words = []
    if self.size is not None:
      words.append(scenes_lib.SIZES[self.size])
    if self.pattern is not None:
      words.append(scenes_lib.PATTERNS[self.pattern])
    if self.colour is not None:
      words.append(list(scenes_lib.COLOURS)[self.colour])
    words.append(thing if self.shape is None else scenes_lib.SHAPES[self.shape])
    return ' '.join(words)

  def factors(self):
    names = scenes_lib
    for kind, value, values in (
      ('colour', self.colour, list(names.COLOURS)),
      ('shape', self.shape, names.SHAPES),
      ('size', self.size, names.SIZES),
      ('pattern', self.pattern, names.PATTERNS),
    ):
      if value is not None:
        yield f'{kind}={values[value]}'
    if self.colour is not None and self.shape is not None:
      yield names.pair_name(self.colour, self.shape)


# Larger than any `_Phrase.code`, so that three of them pack into one integer.
_CODES = int(np.prod([
    len(v) + 1
    for v in (scenes_lib.COLOURS, scenes_lib.SHAPES,
              scenes_lib.SIZES, scenes_lib.PATTERNS)
]))  # fmt: skip


def _article(words: str) -> str:
  return ('an ' if words[0] in 'aeiou' else 'a ') + words


def _phrases(scenes, n: int, u, full: bool) -> list[_Phrase]:
  count = int(scenes.count_N[n])
  first = int(u[0] * count)
  if full:
    order = range(count)
  elif count > 1 and u[1] < _SECOND_OBJECT:
    order = (first, (first + 1) % count)
  else:
    order = (first,)
  phrases = []
  for j, o in enumerate(order):
    part, size, pattern = u[2 + 3 * j : 5 + 3 * j]
    shape_only = part >= 1 - _SHAPE_ONLY
    phrases.append(
        _Phrase(
            colour=None if shape_only and not full else scenes.colour_NO[n, o],
            shape=None if part < _COLOUR_ONLY and not full
            else scenes.shape_NO[n, o],
            size=scenes.size_NO[n, o] if full or size < _SIZE else None,
            pattern=scenes.pattern_NO[n, o]
            if full or pattern < _PATTERN else None,
        )
    )  # fmt: skip
  return phrases


def _pick(u: float, names: tuple[str, ...]) -> str:
  """Skewed choice: earlier names are commoner."""
  return names[int(u * u * len(names))]


def _sentence(phrases, background, count, u) -> tuple[str, list[str]]:
  """Words for a content, and the text-only factors the wording shows."""
  manner = _pick(u[0], scenes_lib.MANNERS)
  tense = _pick(u[1], scenes_lib.TENSES)
  shown = [f'manner={manner}', f'tense={tense}']
  thing = 'thing' if u[2] < 0.5 else 'object'
  said = [p.words(thing) for p in phrases]
  names = ' and '.join(said if manner == 'note' else map(_article, said))
  if manner == 'plain':
    words = [f'there {_BE[tense]} {names}']
  elif manner == 'note':
    words = [f'{_WHEN[tense]} : {names}']
  elif manner == 'witness':
    speaker = _pick(u[3], scenes_lib.SPEAKERS)
    shown.append(f'speaker={speaker}')
    words = [f'{speaker} {_SEE[tense]} {names}']
  else:
    words = [f'oh how {names} {_SHINE[tense]}']
  if background is not None:
    words.append(_PLACES[list(scenes_lib.BACKGROUNDS)[background]])
  if count is not None:
    words.append(_NUMBERS[count - 1])
  if u[4] < _MOOD:
    mood = _pick(u[5], scenes_lib.MOODS)
    shown.append(f'mood={mood}')
    words.append(mood)
  return ' '.join(words), shown


def caption(
  world: scenes_lib.World, scenes: scenes_lib.Scenes, which: int = 0
) -> Captions:
  """Caption number `which` of every scene; a function of (seed, i, which)."""
  if world.captions == 'unrelated':
    elsewhere = dataclasses.replace(world, seed=world.seed + _UNRELATED)
    scenes = scenes_lib.sample(elsewhere, scenes.index_N)
  full = world.captions == 'full'
  stream = _CAPTION_STREAM + which
  u_NM = hashing.uniform(scenes.index_N, _DRAWS, seed=world.seed, stream=stream)
  text, meaning = [], []
  mentioned_NF = np.zeros((len(u_NM), len(scenes_lib.FACTORS)), bool)
  for n, u in enumerate(u_NM):
    phrases = _phrases(scenes, n, u[:12], full)
    named = full or u[12] < _BACKGROUND
    background = int(scenes.background_N[n]) if named else None
    count = int(scenes.count_N[n]) if full or u[13] < _COUNT else None
    words, shown = _sentence(phrases, background, count, u[20:30])
    for phrase in phrases:
      shown.extend(phrase.factors())
    if background is not None:
      shown.append(f'background={list(scenes_lib.BACKGROUNDS)[background]}')
    if count is not None:
      shown.append(f'count={scenes_lib.COUNTS[count - 1]}')
    mentioned_NF[n, [scenes_lib.column(f) for f in shown]] = True
    code = 0
    for phrase in sorted(p.code() for p in phrases):
      code = code * _CODES + phrase
    code = code * (len(scenes_lib.BACKGROUNDS) + 1)
    code = (code + (0 if background is None else background + 1)) * 4
    meaning.append(code + (count or 0))
    text.append(words)
  return Captions(text, np.array(meaning, np.int64), mentioned_NF)


def vocabulary() -> list[str]:
  """Every word a caption can hold, sorted."""
  words = {'there', 'a', 'an', 'and', 'oh', 'how', 'thing', 'object', ':'}
  for phrase in (
      *_PLACES.values(), *_NUMBERS, *_BE.values(), *_SEE.values(),
      *_SHINE.values(), *_WHEN.values(), *scenes_lib.COLOURS,
      *scenes_lib.SHAPES, *scenes_lib.SIZES, *scenes_lib.PATTERNS,
      *scenes_lib.SPEAKERS, *scenes_lib.MOODS,
  ):  # fmt: skip
    words.update(phrase.split())
  return sorted(words)
