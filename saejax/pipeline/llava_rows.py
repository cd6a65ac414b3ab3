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
_SHAPED = 0.6  # Shapes are harder than colours.
_FORMS = (4, 2, 1)  # Options of a question; where it has fewer, the next.
_FORM_FROM = (0.15, 0.4)  # Four options below the first, an open one above.
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
  left_out = 'colour' if u_K[0] < _SHAPED else 'shape'
  order = [told[j] for j in np.argsort(u_K[1:]) if told[j] != left_out]
  if 'shape' in order:
    order.remove('shape')
    named = [order.index(k) for k in _NAMES_A_SHAPE if k in order]
    order.insert(min(named, default=0), 'shape')
  return order


def _questions(
  world: scenes_lib.World, scenes: scenes_lib.Scenes, kinds: Sequence[str]
) -> dict[tuple[str, int], dict[int, Turn]]:
  """By kind and options: each scene's question and answer, where it has one."""
  found = {}
  for kind in kinds:
    for options in _FORMS:
      asked = questions.ask(world, scenes, kind, options)
      texts = asked.text if options == 1 else asked.offered()
      turns = zip(texts, asked.answer, strict=True)
      found[kind, options] = dict(zip(asked.row_n, turns, strict=True))
  return found


def rows(
  world: scenes_lib.World, scenes: scenes_lib.Scenes, image: bool
) -> Rows:
  """One dialogue for every scene, a function of (seed, i).

  With an image: to caption it, or to answer up to five questions about it.
  Without: a caption to go on with from nothing, or one that says all and
  questions.
  """
  kinds = questions.KINDS if image else _TOLD
  u_NM = hashing.uniform(
    scenes.index_N, 2 + 2 * len(kinds), seed=world.seed, stream=_STREAM
  )
  said = captions.caption(world, scenes).text
  full = dataclasses.replace(world, captions='full')
  all_of_it = captions.caption(full, scenes).text
  asked = _questions(world, scenes, kinds)
  found = []
  for i, u_M in enumerate(u_NM):
    turns = []
    u_form = dict(zip(kinds, u_M[-len(kinds) :], strict=True))
    for kind in _kinds(kinds, u_M[1 : 2 + len(kinds)]):
      first = int(np.searchsorted(_FORM_FROM, u_form[kind]))
      forms = [asked[kind, options] for options in _FORMS[first:]]
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
