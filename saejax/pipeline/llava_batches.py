"""What the small LLaVA-NeXT is trained on: rows of text, and of scenes."""

from collections.abc import Sequence
import dataclasses
import itertools
from typing import Any

import flax
import jax
import numpy as np

from saejax.data import captions
from saejax.data import questions
from saejax.data import render
from saejax.data import scenes as scenes_lib
from saejax.models import llama
from saejax.models import llava_folder
from saejax.models import llava_next
from saejax.models import tiles
from saejax.pipeline import llava_models
from saejax.store import hashing

# Shares of what a scene is shown for, one after the other: a caption, an open
# question, one with two options; else one with four.
_CAPTIONED, _OPEN, _OF_TWO = 0.25, 0.6, 0.75
_TOLD = ('colour', 'shape', 'background', 'count', 'size')  # In full captions.
_STREAM = 3_000
_TEXT_LENGTH = (
  56  # The fullest caption has 31 words; a question has at most 17.
)
ROW_LENGTH = 108  # With the 78 positions of an image.


@flax.struct.dataclass
class AnswerBatch:
  """Rows, and which of their tokens are to be told from those before.

  Attributes:
    tokens: [B, T].
    image: of the rows that have one; None without.
    next_BT: the token after each.
    weight_BT: 1 where that is to be told, else 0.
  """

  tokens: llama.Tokens
  image: llava_next.Image | None
  next_BT: Any
  weight_BT: Any


@dataclasses.dataclass(frozen=True)
class Rows:
  """Prompts and answers in words; which scene each is about."""

  prompt: list[str]
  answer: list[str]


def prompt(text: str, image: bool) -> str:
  """What is put before an answer."""
  before = f'{llava_folder.IMAGE} ' if image else ''
  return f'{llava_models.USER} {before}{text} {llava_models.ASSISTANT}'


def rows(
  world: scenes_lib.World, scenes: scenes_lib.Scenes, image: bool
) -> Rows:
  """One exercise for every scene, a function of (seed, i).

  With an image: to caption it, or to answer a question about it. Without: a
  caption to go on with from nothing, or one that says all and a question.
  """
  n = len(scenes.index_N)
  u_N2 = hashing.uniform(scenes.index_N, 2, seed=world.seed, stream=_STREAM)
  said = captions.caption(world, scenes).text
  kinds = questions.KINDS if image else _TOLD
  asked: list[tuple[str, str] | None] = [None] * n
  kind_N = (u_N2[:, 1] * len(kinds)).astype(int)
  form_N = np.searchsorted((_OPEN, _OF_TWO), u_N2[:, 0])
  for (j, kind), (form, options) in itertools.product(
    enumerate(kinds), enumerate((1, 2, 4))
  ):
    found = questions.ask(world, scenes, kind, options)
    texts = found.text if options == 1 else found.choices()
    for i, row in enumerate(found.row_n):
      if kind_N[row] == j and form_N[row] == form:
        right = questions.LETTERS[found.right_n[i]]
        asked[row] = texts[i], found.answer[i] if options == 1 else right
  if image:
    default = [(prompt(questions.DESCRIBE, True), text) for text in said]
    context = [''] * n
  else:
    default = [('', text) for text in said]
    full = dataclasses.replace(world, captions='full')
    context = [f'{t} ' for t in captions.caption(full, scenes).text]
  found_rows = [
    given
    if ask is None or u < _CAPTIONED
    else (prompt(told + ask[0], image), ask[1])
    for given, ask, u, told in zip(
      default, asked, u_N2[:, 0], context, strict=True
    )
  ]
  return Rows(*map(list, zip(*found_rows, strict=True)))


def see(
  image_nHW3: np.ndarray, source_BT: np.ndarray, layout: tiles.Layout
) -> llava_next.Image:
  """Drawn scenes as the model sees them.

  A scene is one tile, so that the image as a whole and the only tile it is cut
  into are the same, and embedded once.

  Args:
    image_nHW3: scenes as drawn, uint8.
    source_BT: of `tiles.pack`.
    layout: of the model.
  """
  each = layout.patches**2
  once_BT = source_BT // (2 * each) * each + source_BT % each
  once_BT = np.where(source_BT == -2, len(image_nHW3) * each, once_BT)
  return llava_next.Image(
    tile_NHWC=image_nHW3.astype(np.float32) / 127.5 - 1,
    source_BT=np.where(source_BT == -1, -1, once_BT),
  )


def batch(
  model: llava_folder.LLaVA,
  rows_: Rows,
  image_nHW3: np.ndarray | None = None,
  length: int | None = None,
) -> AnswerBatch:
  """Rows as the model reads them.

  Args:
    model: its tokenizer and config are used.
    rows_: prompts and answers.
    image_nHW3: scenes as drawn, of the rows whose prompts have an image.
    length: tokens of a row; what is longer loses its end.
  """
  encode = lambda texts, **k: model.tokenizer(texts, **k)['input_ids']
  heads = encode(rows_.prompt)
  tails = encode(rows_.answer, add_special_tokens=False)
  config = model.module.config
  end = [model.tokenizer.eos_token_id]
  image_id = config.image_token_index
  side = config.vision.image_size
  ids, at, used = tiles.pack(
    [h + t + end for h, t in zip(heads, tails, strict=True)],
    [[(side, side)] * h.count(image_id) for h in heads],
    image_id,
    config.layout,
  )
  length = length or max(map(len, ids))
  fill = lambda arrays, value: np.stack(
    [
      np.pad(a[:length], (0, max(length - len(a), 0)), constant_values=value)
      for a in arrays
    ]
  ).astype(np.int32)
  ids_BT, source_BT = fill(ids, 0), fill(at, -1)
  lengths = np.array([len(a) for a in ids])
  first_B = lengths - [len(t) + 1 for t in tails] - 1
  at_T = np.arange(length)
  weight_BT = (at_T >= first_B[:, None]) & (at_T < lengths[:, None] - 1)
  image = see(image_nHW3, source_BT, config.layout) if used else None
  return AnswerBatch(
    tokens=llama.tokens_of(ids_BT, lengths, image_id),
    image=image,
    next_BT=np.roll(ids_BT, -1, axis=1),
    weight_BT=weight_BT.astype(np.float32),
  )


def text_batch(model, world, index_N: Sequence[int]) -> AnswerBatch:
  """A batch of text alone."""
  scenes = scenes_lib.sample(world, index_N)
  return batch(model, rows(world, scenes, False), length=_TEXT_LENGTH)


def image_batch(model, world, index_N: Sequence[int]) -> AnswerBatch:
  """A batch of which an eighth are texts, lest they be forgotten."""
  scenes = scenes_lib.sample(world, index_N)
  texts = len(index_N) // 8
  shown, told = rows(world, scenes, True), rows(world, scenes, False)
  cut = len(index_N) - texts
  mixed = Rows(
    shown.prompt[:cut] + told.prompt[cut:],
    shown.answer[:cut] + told.answer[cut:],
  )
  side = model.module.config.vision.image_size
  return batch(model, mixed, render.render(scenes, side)[:cut], ROW_LENGTH)


def place(b: AnswerBatch, mesh: jax.sharding.Mesh) -> AnswerBatch:
  """On the mesh, split by rows."""
  by_row = jax.NamedSharding(mesh, jax.P('data'))
  return jax.tree.map(lambda a: jax.device_put(a, by_row), b)
