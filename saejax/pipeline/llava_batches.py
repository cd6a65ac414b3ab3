"""What the small LLaVA-NeXT is trained on: rows of text, and of scenes."""

from collections.abc import Sequence
from typing import Any

import flax
import jax
import numpy as np

from saejax.data import render
from saejax.data import scenes as scenes_lib
from saejax.models import llama
from saejax.models import llava_folder
from saejax.models import llava_next
from saejax.models import tiles
from saejax.pipeline import llava_rows

ROW_LENGTH = (
  148  # The 78 positions of an image, and questions: 1 row in 25 has more.
)
TEXT_LENGTH = 80  # A caption that says all, and questions: likewise.
ASKED_LENGTH = 108  # An image and one.


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


def _read(
  tokenizer: Any, rows: llava_rows.Rows
) -> tuple[list[list[int]], list[list[bool]]]:
  """Each row's token ids, and which of them are answers or their ends."""
  encode = lambda texts, **k: tokenizer(texts, **k)['input_ids']
  heads = iter(encode([row[0][0] for row in rows]))
  nexts = [text for row in rows for text, _ in row[1:]]
  nexts = iter(encode(nexts, add_special_tokens=False) if nexts else [])
  answers = [text for row in rows for _, text in row]
  answers = iter(encode(answers, add_special_tokens=False))
  ids, is_told = [], []
  for row in rows:
    ids.append([])
    is_told.append([])
    for turn in range(len(row)):
      before = next(nexts if turn else heads)
      answer = [*next(answers), tokenizer.eos_token_id]
      ids[-1] += before + answer
      is_told[-1] += [False] * len(before) + [True] * len(answer)
  return ids, is_told


def batch(
  model: llava_folder.LLaVA,
  rows: llava_rows.Rows,
  image_nHW3: np.ndarray | None = None,
  length: int | None = None,
) -> AnswerBatch:
  """Rows as the model reads them.

  Args:
    model: its tokenizer and config are used.
    rows: dialogues; an image stands before the first answer.
    image_nHW3: scenes as drawn, of the rows that have an image.
    length: tokens of a row; what is longer loses its end.
  """
  ids, is_told = _read(model.tokenizer, rows)
  config = model.module.config
  image_id = config.image_token_index
  side = config.vision.image_size
  ids, at, used = tiles.pack(
    ids,
    [[(side, side)] * row.count(image_id) for row in ids],
    image_id,
    config.layout,
  )
  # Images took more room, all of it before what is to be told.
  is_told = [
    [False] * (len(i) - len(t)) + t for i, t in zip(ids, is_told, strict=True)
  ]
  length = length or max(map(len, ids))
  fill = lambda arrays, value: np.stack(
    [
      np.pad(a[:length], (0, max(length - len(a), 0)), constant_values=value)
      for a in arrays
    ]
  ).astype(np.int32)
  ids_BT, source_BT, told_BT = fill(ids, 0), fill(at, -1), fill(is_told, 0)
  told_BT[:, 0] = 0  # Before the first token there is none to tell it from.
  lengths = np.array([min(len(a), length) for a in ids])
  image = see(image_nHW3, source_BT, config.layout) if used else None
  return AnswerBatch(
    tokens=llama.tokens_of(ids_BT, lengths, image_id),
    image=image,
    next_BT=np.roll(ids_BT, -1, axis=1),
    weight_BT=np.roll(told_BT, -1, axis=1).astype(np.float32),
  )


def text_batch(model, world, index_N: Sequence[int]) -> AnswerBatch:
  """A batch of text alone."""
  scenes = scenes_lib.sample(world, index_N)
  return batch(model, llava_rows.rows(world, scenes, False), length=TEXT_LENGTH)


def image_batch(model, world, index_N: Sequence[int]) -> AnswerBatch:
  """A batch of which an eighth are texts, lest they be forgotten."""
  scenes = scenes_lib.sample(world, index_N)
  cut = len(index_N) - len(index_N) // 8
  shown, told = (llava_rows.rows(world, scenes, i) for i in (True, False))
  side = model.module.config.vision.image_size
  drawn = render.render(scenes, side)[:cut]
  return batch(model, [*shown[:cut], *told[cut:]], drawn, ROW_LENGTH)


def place(b: AnswerBatch, mesh: jax.sharding.Mesh) -> AnswerBatch:
  """On the mesh, split by rows."""
  by_row = jax.NamedSharding(mesh, jax.P('data'))
  return jax.tree.map(lambda a: jax.device_put(a, by_row), b)
