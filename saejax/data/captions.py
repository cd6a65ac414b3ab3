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
_SIZE, _PATTERN, _MOOD = 0.2, 0.2, 0.4
_BACKGROUND, _FRAME, _COUNT = 0.25, 0.25, 0.12

_PLACES = {
  'meadow': 'on the meadow',
  'sea': 'by the sea',
  'street': 'in the street',
  'desert': 'in the desert',
  'night': 'at night',
  'snow': 'in the snow',
  'forest': 'in the forest',
  'beach': 'on the beach',
  'sunset': 'at sunset',
  'cave': 'in a cave',
  'field': 'in a field',
  'ice': 'on the ice',
  'swamp': 'in a swamp',
  'kitchen': 'in a kitchen',
  'garden': 'in a garden',
  'volcano': 'on a volcano',
}
_NUMBERS = ('all alone', 'as one of two', 'as one of three')
_BACKGROUND_NAMES = tuple(scenes_lib.BACKGROUNDS)
_FRAME_NAMES = tuple(scenes_lib.FRAMES)
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
_CODES = (
  1
  + _Phrase(
    colour=len(scenes_lib.COLOURS) - 1,
    shape=len(scenes_lib.SHAPES) - 1,
    size=len(scenes_lib.SIZES) - 1,
    pattern=len(scenes_lib.PATTERNS) - 1,
  ).code()
)


@dataclasses.dataclass(frozen=True)
class _Content:
  """What a caption says, however it says it; None where it is silent."""

  phrases: tuple[_Phrase, ...]
  background: int | None = None
  frame: int | None = None
  count: int | None = None

  def code(self) -> int:
    """Equal for contents that say the same; fits in 63 bits."""
    n = 0
    for phrase in sorted(p.code() for p in self.phrases):
      n = n * _CODES + phrase
    for value, base in (
      (self.background, len(scenes_lib.BACKGROUNDS)),
      (self.frame, len(scenes_lib.FRAMES)),
      (self.count, scenes_lib.MAX_OBJECTS + 1),
    ):
      n = n * (base + 1) + (0 if value is None else 1 + value)
    return n

  def factors(self):
    for phrase in self.phrases:
      yield from phrase.factors()
    if self.background is not None:
      yield f'background={_BACKGROUND_NAMES[self.background]}'
    if self.frame is not None:
      yield f'frame={_FRAME_NAMES[self.frame]}'
    if self.count is not None:
      yield f'count={scenes_lib.COUNTS[self.count - 1]}'


def _content(scenes: scenes_lib.Scenes, n: int, u, full: bool) -> _Content:
  """Chooses what to say of scene n; everything, or a random part."""
  framed = scenes.frame_N[n] >= 0
  said = lambda value, named: int(value) if full or named else None
  return _Content(
    phrases=tuple(_phrases(scenes, n, u[:12], full)),
    background=said(scenes.background_N[n], u[12] < _BACKGROUND),
    frame=said(scenes.frame_N[n], u[13] < _FRAME) if framed else None,
    count=said(scenes.count_N[n], u[14] < _COUNT),
  )


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


def _sentence(content: _Content, u) -> tuple[str, list[str]]:
  """Words for a content, and the text-only factors the wording shows."""
  manner = _pick(u[0], scenes_lib.MANNERS)
  tense = _pick(u[1], scenes_lib.TENSES)
  shown = [f'manner={manner}', f'tense={tense}']
  thing = 'thing' if u[2] < 0.5 else 'object'
  said = [p.words(thing) for p in content.phrases]
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
  if content.background is not None:
    words.append(_PLACES[_BACKGROUND_NAMES[content.background]])
  if content.frame is not None:
    words.append(f'in a {_FRAME_NAMES[content.frame]} frame')
  if content.count is not None:
    words.append(_NUMBERS[content.count - 1])
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
    content = _content(scenes, n, u[:20], full)
    words, shown = _sentence(content, u[20:30])
    shown.extend(content.factors())
    mentioned_NF[n, [scenes_lib.column(f) for f in shown]] = True
    meaning.append(content.code())
    text.append(words)
  return Captions(text, np.array(meaning, np.int64), mentioned_NF)


def vocabulary() -> list[str]:
  """Every word a caption can hold, sorted."""
  words = {'there', 'a', 'an', 'and', 'oh', 'how', 'thing', 'object', ':'}
  words |= {'in', 'frame'}
  for phrase in (
      *_PLACES.values(), *_NUMBERS, *_BE.values(), *_SEE.values(),
      *_SHINE.values(), *_WHEN.values(), *scenes_lib.COLOURS,
      *scenes_lib.SHAPES, *scenes_lib.SIZES, *scenes_lib.PATTERNS,
      *scenes_lib.SPEAKERS, *scenes_lib.MOODS, *scenes_lib.FRAMES,
  ):  # fmt: skip
    words.update(phrase.split())
  return sorted(words)
