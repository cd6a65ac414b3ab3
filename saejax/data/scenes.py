"""The procedural world: endless small scenes whose causes are all known.

A scene is one to three objects on a background, drawn to a small image. Some
of its factors can be both seen and named (shape, colour, size, pattern,
background, frame, count), some only seen (texture, light, place), some only
named (tense, speaker, mood, manner). Frequencies fall off as a power law and
a few factors are associated, as they are in the world at large.

Everything about scene `i` is a function of (seed, i): no state, no files.
"""

import dataclasses
import itertools

import numpy as np

from saejax.store import hashing

SHAPES = (
    'circle', 'square', 'star', 'triangle', 'cross',
    'ring', 'heart', 'moon', 'arrow', 'diamond',
)  # fmt: skip
COLOURS = {
  'red': (214, 39, 40),
  'blue': (38, 80, 214),
  'yellow': (250, 212, 30),
  'green': (34, 160, 62),
  'orange': (250, 130, 20),
  'purple': (132, 50, 178),
  'white': (250, 250, 250),
  'pink': (250, 130, 190),
  'brown': (120, 72, 36),
  'cyan': (60, 214, 220),
}
SIZES = ('large', 'small')
PATTERNS = ('plain', 'striped', 'dotted')
# Above and below the horizon.
BACKGROUNDS = {
  'meadow': ((160, 200, 235), (120, 175, 90)),
  'sea': ((170, 205, 235), (60, 110, 170)),
  'street': ((150, 150, 155), (105, 105, 110)),
  'desert': ((235, 200, 140), (205, 165, 105)),
  'night': ((22, 22, 48), (40, 40, 70)),
  'snow': ((205, 215, 228), (240, 244, 248)),
  'forest': ((60, 95, 60), (35, 60, 35)),
  'beach': ((150, 210, 235), (235, 215, 165)),
  'sunset': ((245, 150, 90), (120, 70, 90)),
  'cave': ((50, 42, 38), (80, 70, 60)),
  'field': ((190, 215, 235), (225, 200, 90)),
  'ice': ((190, 235, 240), (140, 205, 225)),
  'swamp': ((110, 120, 90), (75, 85, 50)),
  'kitchen': ((235, 225, 205), (170, 120, 80)),
  'garden': ((150, 200, 160), (200, 120, 160)),
  'volcano': ((60, 30, 30), (190, 60, 20)),
}
FRAMES = {
  'golden': (220, 175, 40),
  'wooden': (120, 75, 40),
  'silver': (190, 195, 205),
  'mint': (150, 230, 190),
  'dark': (16, 16, 16),
}
COUNTS = ('one', 'two', 'three')
TEXTURES = ('smooth', 'grain', 'waves', 'checks')
LIGHTS = ('left', 'right', 'top', 'bottom')
TENSES = ('present', 'past', 'future')
SPEAKERS = ('I', 'we', 'they')
MOODS = ('calmly', 'proudly', 'sadly', 'oddly')
MANNERS = ('plain', 'note', 'witness', 'poem')

# Planted associations: the second factor follows the first this often, on top
# of its own frequency.
ASSOCIATION = 0.5
ASSOCIATED = (
  ('star', 'yellow'),
  ('heart', 'red'),
  ('ring', 'blue'),
  ('moon', 'night'),
  ('arrow', 'street'),
)

MAX_OBJECTS = len(COUNTS)
_SLOPE = 0.5  # Of the power law: frequency ~ rank**-_SLOPE.
_FRAMED = 0.4  # Share of scenes with a frame.
_DRAWS = 64  # Uniforms set aside for a scene; `sample` uses fewer.


def _names(kind: str, values) -> list[str]:
  return [f'{kind}={v}' for v in values]


SHARED = tuple(
  _names('colour', COLOURS)
  + _names('shape', SHAPES)
  + _names('size', SIZES)
  + _names('pattern', PATTERNS)
  + _names('background', BACKGROUNDS)
  + _names('frame', FRAMES)
  + _names('count', COUNTS)
  + [f'pair={c} {s}' for c, s in itertools.product(COLOURS, SHAPES)]
)
IMAGE_ONLY = tuple(_names('texture', TEXTURES) + _names('light', LIGHTS))
TEXT_ONLY = tuple(
  _names('tense', TENSES)
  + _names('speaker', SPEAKERS)
  + _names('mood', MOODS)
  + _names('manner', MANNERS)
)
FACTORS = SHARED + IMAGE_ONLY + TEXT_ONLY
_COLUMN = {name: i for i, name in enumerate(FACTORS)}


def related() -> np.ndarray:
  """Which factors go together, bool [F, F]: one implies the other, as a pair
  does its colour and its shape, or the world associates them."""
  value = lambda name: name.split('=')[1]
  plain = {value(n): n for n in FACTORS if not n.startswith('pair=')}
  linked = {frozenset((plain[a], plain[b])) for a, b in ASSOCIATED}

  def parts(name: str) -> set[str]:
    if not name.startswith('pair='):
      return {name}
    return {plain[word] for word in value(name).split(' ')}

  f = len(FACTORS)
  out = np.zeros((f, f), bool)
  for a, b in itertools.product(range(f), repeat=2):
    first, second = parts(FACTORS[a]), parts(FACTORS[b])
    out[a, b] = bool(first & second) or any(
      frozenset((x, y)) in linked for x in first for y in second
    )
  return out


def hierarchy() -> dict[str, list[str]]:
  """Which factors are kinds of which: a colour and a shape, of their pairs."""
  kinds = {f'colour={c}': [f'pair={c} {s}' for s in SHAPES] for c in COLOURS}
  return kinds | {
    f'shape={s}': [f'pair={c} {s}' for c in COLOURS] for s in SHAPES
  }


@dataclasses.dataclass(frozen=True)
class World:
  """A world: `captions` is 'partial', 'full' or 'unrelated'.

  'partial' captions name a random part of the scene, as people do; 'full'
  ones say all there is; 'unrelated' ones tell of another scene. The last two
  are controls.
  """

  seed: int = 0
  captions: str = 'partial'
  image_size: int = 48

  def __post_init__(self):
    if self.captions not in ('partial', 'full', 'unrelated'):
      raise ValueError(
        f"captions={self.captions!r} is unknown: choose 'partial', 'full' "
        "or 'unrelated'."
      )


@dataclasses.dataclass(frozen=True)
class Scenes:
  """N scenes as columns; objects past `count` are there but not drawn."""

  index_N: np.ndarray
  count_N: np.ndarray  # 1 to 3.
  shape_NO: np.ndarray
  colour_NO: np.ndarray
  size_NO: np.ndarray
  pattern_NO: np.ndarray
  centre_NO2: np.ndarray  # (x, y) in units of the image's side.
  angle_NO: np.ndarray  # Radians.
  background_N: np.ndarray
  texture_N: np.ndarray
  light_N: np.ndarray
  frame_N: np.ndarray  # -1 for none.
  tint_NO3: np.ndarray  # Colour jitter; the last is the background's.

  @property
  def drawn_NO(self) -> np.ndarray:
    return np.arange(MAX_OBJECTS)[None] < self.count_N[:, None]


def _choose(u: np.ndarray, n: int, slope: float = _SLOPE) -> np.ndarray:
  """Maps uniforms to ranks 0…n-1 with frequency falling as rank**-slope."""
  p = np.arange(1, n + 1, dtype=np.float64) ** -slope
  cdf = np.cumsum(p / p.sum())
  return np.minimum(np.searchsorted(cdf, u, side='right'), n - 1)


def sample(world: World, index_N: np.ndarray) -> Scenes:
  """Draws the scenes of the given indices; vectorised, and stateless."""
  index_N = np.asarray(index_N, np.int64)
  o = MAX_OBJECTS
  u = iter(hashing.uniform(index_N, _DRAWS, seed=world.seed, stream=0).T)

  def take(n):
    return np.stack([next(u) for _ in range(n)], axis=1)

  count_N = 1 + np.searchsorted([0.6, 0.92], next(u), side='right')
  shape_NO = _choose(take(o), len(SHAPES))
  colour_NO = _choose(take(o), len(COLOURS))
  background_N = _choose(next(u), len(BACKGROUNDS))
  follow_NO, follow_N = take(o), next(u)
  colours, backgrounds = list(COLOURS), list(BACKGROUNDS)
  for cause, effect in ASSOCIATED:
    is_NO = shape_NO == SHAPES.index(cause)
    if effect in COLOURS:
      is_NO &= follow_NO < ASSOCIATION
      colour_NO = np.where(is_NO, colours.index(effect), colour_NO)
    else:
      is_N = is_NO[:, 0] & (follow_N < ASSOCIATION)
      background_N = np.where(is_N, backgrounds.index(effect), background_N)

  # Four cells of which each object takes its own, so that none overlap.
  cell_NO = np.argsort(take(4), axis=1)[:, :o]
  jitter_NO2 = take(2 * o).reshape(-1, o, 2) - 0.5
  cell_NO2 = np.stack([cell_NO % 2, cell_NO // 2], axis=-1)
  centre_NO2 = 0.27 + 0.46 * cell_NO2 + 0.06 * jitter_NO2
  return Scenes(
    index_N=index_N,
    count_N=count_N,
    shape_NO=shape_NO,
    colour_NO=colour_NO,
    size_NO=(take(o) > 0.6).astype(np.int64),
    pattern_NO=_choose(take(o), len(PATTERNS), 1.0),
    centre_NO2=centre_NO2,
    angle_NO=(take(o) - 0.5) * 0.5,
    background_N=background_N,
    texture_N=_choose(next(u), len(TEXTURES)),
    light_N=_choose(next(u), len(LIGHTS)),
    frame_N=np.where(next(u) < _FRAMED, _choose(next(u), len(FRAMES)), -1),
    tint_NO3=(take(3 * (o + 1)).reshape(-1, o + 1, 3) - 0.5) * 24,
  )


def present(scenes: Scenes) -> np.ndarray:
  """Which factors a scene holds: bool [N, F]; text-only factors are False."""
  n = len(scenes.index_N)
  has_NF = np.zeros((n, len(FACTORS)), bool)
  rows_N = np.arange(n)

  def mark(first: str, value_N, where_N=slice(None)):
    has_NF[rows_N[where_N], (_COLUMN[first] + value_N)[where_N]] = True

  for o in range(MAX_OBJECTS):
    drawn_N = scenes.drawn_NO[:, o]
    colour_N, shape_N = scenes.colour_NO[:, o], scenes.shape_NO[:, o]
    mark(SHARED[0], colour_N, drawn_N)
    mark(f'shape={SHAPES[0]}', shape_N, drawn_N)
    mark(f'size={SIZES[0]}', scenes.size_NO[:, o], drawn_N)
    mark(f'pattern={PATTERNS[0]}', scenes.pattern_NO[:, o], drawn_N)
    mark(pair_name(0, 0), colour_N * len(SHAPES) + shape_N, drawn_N)
  mark(_names('background', BACKGROUNDS)[0], scenes.background_N)
  mark(f'count={COUNTS[0]}', scenes.count_N - 1)
  mark(f'texture={TEXTURES[0]}', scenes.texture_N)
  mark(f'light={LIGHTS[0]}', scenes.light_N)
  mark(_names('frame', FRAMES)[0], scenes.frame_N, scenes.frame_N >= 0)
  return has_NF


def pair_name(colour: int, shape: int) -> str:
  return f'pair={list(COLOURS)[colour]} {SHAPES[shape]}'


def column(factor: str) -> int:
  """The column of a factor in `present` and `mentioned`."""
  return _COLUMN[factor]
