"""What the small LLaVA-NeXT is told and asked: a dialogue about each scene."""

from collections.abc import Sequence
import dataclasses

import numpy as np

from saejax.data import captions
from saejax.data import questions
from saejax.data import scenes as scenes_lib
from saejax.models import llava_folder
from saejax.pipeline import llava_models
from saejax.store import hashing

# What stands before an answer, and the answer.
Turn = tuple[str, str]
Rows = Sequence[Sequence[Turn]]

_CAPTIONED = 0.2  # Of scenes: shown for a caption. The others are asked about.
_FORMS = (4, 2, 1)  # Options of a question; where it has fewer, the next.
_FORM_FROM = (0.35, 0.6)  # Four options below the first, an open one above.
_NAMED = 0.5  # Of the questions with options, without an image.
_TOLD = ('colour', 'shape', 'background', 'count', 'size')  # In full captions.
_NAMES_A_SHAPE = ('where', 'size')
_STREAM = 3_000


def prompt(text: str, image: bool) -> str:
  """What is put before an answer."""
  before = f'{llava_folder.IMAGE} ' if image else ''
  return f'{llava_models.USER} {before}{text} {llava_models.ASSISTANT}'


def _kinds(told: Sequence[str], u_K: np.ndarray) -> list[str]:
  """Which kinds of question are asked of a scene, in which order.

  All are about one thing, so that a question can betray another's answer: of
  colour and shape only one is asked, and shape before what names the shape.
  """
  left_out = 'colour' if u_K[0] < 0.5 else 'shape'
  order = [told[j] for j in np.argsort(u_K[1:]) if told[j] != left_out]
  if 'shape' in order:
    order.remove('shape')
    named = [order.index(k) for k in _NAMES_A_SHAPE if k in order]
    order.insert(min(named, default=0), 'shape')
  return order


def _turns(asked: questions.Questions, is_open: bool) -> dict[int, Turn]:
  """Questions and answers, by the scene they are about."""
  texts = asked.text if is_open else asked.choices()
  letters = [questions.LETTERS[r] for r in asked.right_n]
  turns = zip(texts, asked.answer if is_open else letters, strict=True)
  return dict(zip(asked.row_n, turns, strict=True))


def _questions(
  world: scenes_lib.World, scenes: scenes_lib.Scenes, kinds: Sequence[str]
) -> dict[tuple[str, int, bool], dict[int, Turn]]:
  """By kind, options and whether the answer is told in the question."""
  found = {}
  for kind in kinds:
    for options in _FORMS:
      asked = questions.ask(world, scenes, kind, options)
      named = dataclasses.replace(
        asked, text=[questions.WHICH.format(a) for a in asked.answer]
      )
      is_open = options == 1
      found[kind, options, False] = _turns(asked, is_open)
      found[kind, options, True] = _turns(asked if is_open else named, is_open)
  return found


def rows(
  world: scenes_lib.World, scenes: scenes_lib.Scenes, image: bool
) -> Rows:
  """One dialogue for every scene, a function of (seed, i).

  With an image: to caption it, or to answer up to five questions about it.
  Without: a caption to go on with from nothing, or one that says all and
  questions. Half of those with options then ask for the letter of a word: to
  find an answer among letters is learnt only where the answer is known.
  """
  kinds = questions.KINDS if image else _TOLD
  u_NM = hashing.uniform(
    scenes.index_N, 2 + 3 * len(kinds), seed=world.seed, stream=_STREAM
  )
  said = captions.caption(world, scenes).text
  full = dataclasses.replace(world, captions='full')
  all_of_it = captions.caption(full, scenes).text
  asked = _questions(world, scenes, kinds)
  found = []
  for i, u_M in enumerate(u_NM):
    turns = []
    u_form, u_named = (
      dict(zip(kinds, u_K, strict=True))
      for u_K in np.split(u_M[-2 * len(kinds) :], 2)
    )
    for kind in _kinds(kinds, u_M[1 : 2 + len(kinds)]):
      first = int(np.searchsorted(_FORM_FROM, u_form[kind]))
      is_named = not image and u_named[kind] < _NAMED
      forms = [asked[kind, options, is_named] for options in _FORMS[first:]]
      text, answer = next((f[i] for f in forms if i in f), (None, None))
      if text is not None:
        turns.append((prompt(text, image and not turns), answer))
    if u_M[0] < _CAPTIONED or not turns:
      before = prompt(questions.DESCRIBE, True) if image else ''
      turns = [(before, said[i])]
    elif not image:
      turns[0] = f'{all_of_it[i]} {turns[0][0]}', turns[0][1]
    found.append(turns)
  return found
