"""Questions about scenes, open and with options, whose answers are known.

Options are answers that the same question has in other scenes, drawn as often
as they occur, and a question whose options are not all different is not asked.
So the right one and the others are exchangeable: a reader that knows the world
but does not see the image does no better than chance, be answers ever so
unequally frequent. (Among options drawn evenly, the frequent one is mostly
right.)

All of it is a function of (seed, i, kind), as scenes are.
"""

from collections.abc import Sequence
import dataclasses
import functools

import numpy as np

from saejax.data import captions
from saejax.data import scenes as scenes_lib
from saejax.store import hashing

KINDS = ('colour', 'shape', 'where', 'background', 'count', 'size')
PLACES = ('top left', 'top right', 'bottom left', 'bottom right')
LETTERS = ('(a)', '(b)', '(c)', '(d)')
DESCRIBE = 'describe the image .'

_FEW = {'count': 2, 'size': 2}  # Options, where more would seldom differ.
_POOL = 1 << 14  # Scenes whose answers are options.
_APART = 1 << 50  # Indices of those, far from any that is asked about.
_STREAM = 2_000


@dataclasses.dataclass(frozen=True)
class Questions:
  """Questions of one kind.

  Attributes:
    row_n: which of the scenes each is about.
    text: the question.
    answer: in words.
    options: answers to choose from, the right one among them.
    right_n: which of them is right.
  """

  row_n: np.ndarray
  text: list[str]
  answer: list[str]
  options: list[tuple[str, ...]]
  right_n: np.ndarray

  def offered(self) -> list[str]:
    """Each question with its options in words."""
    return [
      f'{text} {" or ".join(options)} ?'
      for text, options in zip(self.text, self.options, strict=True)
    ]

  def choices(self, letters: Sequence[str] = LETTERS) -> list[str]:
    """Each question with its options, by letters."""
    told = lambda o: ' '.join(
      f'{letter} {word}' for letter, word in zip(letters, o, strict=False)
    )
    return [
      f'{text} {told(o)}'
      for text, o in zip(self.text, self.options, strict=True)
    ]


def _asked(scenes: scenes_lib.Scenes, kind: str) -> list[tuple[int, str, str]]:
  """Scene, question and answer, where the question has one answer."""
  n = len(scenes.index_N)
  if kind == 'background':
    names = list(scenes_lib.BACKGROUNDS)
    return [
      (i, 'what place is this ?', names[b])
      for i, b in enumerate(scenes.background_N)
    ]
  if kind == 'count':
    return [
      (i, 'how many things are there ?', scenes_lib.COUNTS[c - 1])
      for i, c in enumerate(scenes.count_N)
    ]
  colours, found = list(scenes_lib.COLOURS), []
  told = scenes.colour_NO if kind == 'shape' else scenes.shape_NO
  for i in range(n):
    drawn = int(scenes.count_N[i])
    o = int(scenes.index_N[i] % drawn)
    if (told[i, :drawn] == told[i, o]).sum() > 1:
      continue  # Two of them: which is meant?
    shape = scenes_lib.SHAPES[scenes.shape_NO[i, o]]
    colour = colours[scenes.colour_NO[i, o]]
    x, y = scenes.centre_NO2[i, o] > 0.5
    text, answer = {
      'colour': (f'what colour is the {shape} ?', colour),
      'shape': (f'what shape is the {colour} thing ?', shape),
      'where': (f'where is the {shape} ?', PLACES[2 * y + x]),
      'size': (
        f'how large is the {shape} ?',
        scenes_lib.SIZES[scenes.size_NO[i, o]],
      ),
    }[kind]
    found.append((i, text, answer))
  return found


@functools.lru_cache(maxsize=64)
def _answers(world: scenes_lib.World, kind: str) -> dict[str, np.ndarray]:
  """Answers that each question has in the world, as often as it has them."""
  elsewhere = scenes_lib.sample(world, _APART + np.arange(_POOL))
  pool: dict[str, list[str]] = {}
  for _, text, answer in _asked(elsewhere, kind):
    pool.setdefault(text, []).append(answer)
  return {text: np.array(answers) for text, answers in pool.items()}


def ask(
  world: scenes_lib.World,
  scenes: scenes_lib.Scenes,
  kind: str,
  options: int = 4,
) -> Questions:
  """Questions of a kind, of those scenes where it has one answer.

  Args:
    world: of the scenes.
    scenes: what is asked about.
    kind: of KINDS.
    options: at most; counts and sizes have two. With 1 every such scene is
      asked about.
  """
  options = min(options, _FEW.get(kind, options), len(LETTERS))
  pool = _answers(world, kind)
  u_NM = hashing.uniform(
    scenes.index_N,
    options,
    seed=world.seed,
    stream=_STREAM + KINDS.index(kind),
  )
  rows, texts, answers, offered, rights = [], [], [], [], []
  for i, text, answer in _asked(scenes, kind):
    others = pool.get(text, np.array([answer]))
    # Drawn once: to draw again would favour frequent answers as the right one.
    drawn = others[(u_NM[i, 1:] * len(others)).astype(int)].tolist()
    if len({answer, *drawn}) < options:
      continue
    right = int(u_NM[i, 0] * options)
    drawn.insert(right, answer)
    rows.append(i)
    texts.append(text)
    answers.append(answer)
    offered.append(tuple(drawn))
    rights.append(right)
  return Questions(
    np.array(rows, int), texts, answers, offered, np.array(rights)
  )


def vocabulary() -> list[str]:
  """Every word of captions, questions and answers, sorted."""
  words = {*captions.vocabulary(), *LETTERS, *scenes_lib.COUNTS, 'or'}
  words |= {*scenes_lib.BACKGROUNDS, *DESCRIBE.split()}
  for text in (
    *PLACES, 'what colour is the ?', 'what shape is the thing ?',
    'where is the ?', 'what place is this ?', 'how many things are there ?',
    'how large is the ?',
  ):  # fmt: skip
    words.update(text.split())
  return sorted(words)
