"""Examples that a model with an SAE in it is shown, and asked about."""

from collections.abc import Sequence
import dataclasses

import numpy as np
from PIL import Image

from saejax import store as store_lib
from saejax.data import captions
from saejax.data import questions
from saejax.data import render
from saejax.data import scenes as scenes_lib
from saejax.data import specs
from saejax.models import llama
from saejax.models import llava_folder
from saejax.pipeline import examples as examples_lib
from saejax.pipeline import onward
from saejax.pipeline import splicing_setup

_RUN = 64  # Records that are read at a time.


@dataclasses.dataclass(frozen=True)
class Shown:
  """Images of one split with a caption each; scenes, if they are scenes."""

  images: Sequence[Image.Image]
  said: Sequence[str]
  group_n: np.ndarray
  scenes: scenes_lib.Scenes | None


@dataclasses.dataclass(frozen=True)
class Asked:
  """Questions with options about scenes that were shown.

  Attributes:
    text: with options.
    images: of each.
    right_n: the place of the right option.
    option_ids_n: the token of each option.
    kind_n: of `questions.KINDS`.
    group_n: the scene.
  """

  text: Sequence[str]
  images: Sequence[Image.Image]
  right_n: np.ndarray
  option_ids_n: Sequence[Sequence[int]]
  kind_n: Sequence[str]
  group_n: np.ndarray


def show(setup: splicing_setup.Setup, split: str, most: int) -> Shown:
  """The first examples of a split, at most so many."""
  data, side = setup.data, setup.model.module.config.vision.image_size
  code = store_lib.SPLITS.index(split)
  if isinstance(data, specs.SceneSet):
    index_N = np.arange(data.n)
    split_N = store_lib.assign_splits(index_N, data.splits, seed=data.seed)
    index_n = _even(index_N[split_N == code][:most], setup.batch)
    sampled = scenes_lib.sample(data.world, index_n)
    return Shown(
      images=[Image.fromarray(a) for a in render.render(sampled, side)],
      said=captions.caption(data.world, sampled).text,
      group_n=index_n,
      scenes=sampled,
    )
  found: list[examples_lib.Example] = []
  for start in range(0, len(data), _RUN):
    part, _ = examples_lib.read(data, start, min(start + _RUN, len(data)), side)
    found += [e for e in part if e.split == code]
    if len(found) >= most:
      break
  found = _even(found[:most], setup.batch)
  return Shown(
    images=[e.image for e in found],
    said=[e.caption for e in found],
    group_n=np.array([e.group for e in found]),
    scenes=None,
  )


def _even(rows, batch: int):
  """Rows without a last that would be alone: another's image is the next's."""
  return rows[:-1] if len(rows) % batch == 1 else rows


def captioned(setup: splicing_setup.Setup, shown: Shown) -> list[onward.Batch]:
  """Each image's caption as the answer to a request for one."""
  row = setup.asker.row(questions.DESCRIBE)
  return onward.batches(
    setup.model, [row] * len(shown.said), shown.said, shown.images, setup.batch
  )


def _offered(setup: splicing_setup.Setup, found: questions.Questions):
  """Questions with their options, and the token that stands for each."""
  if setup.letters:
    ids = setup.asker.letter_ids()
    return found.choices(setup.letters), [ids[: len(o)] for o in found.options]
  return found.offered(), [setup.asker.word_ids(o) for o in found.options]


def ask(
  setup: splicing_setup.Setup, shown: Shown, kinds: Sequence[str]
) -> Asked:
  """All questions of some kinds that have one answer.

  Those whose options begin alike are left out: they are told apart by their
  first tokens.
  """
  text, row, right, ids, kind_n = [], [], [], [], []
  for kind in kinds:
    found = questions.ask(setup.data.world, shown.scenes, kind)
    for words, of, place, i in zip(
      *_offered(setup, found), found.right_n, found.row_n, strict=True
    ):
      if len(set(of)) == len(of):
        text.append(words)
        ids.append(of)
        right.append(place)
        row.append(i)
        kind_n.append(kind)
  kept = _even(np.arange(len(text)), setup.batch)
  row = np.array(row, int)[kept]
  return Asked(
    text=[text[i] for i in kept],
    images=[shown.images[i] for i in row],
    right_n=np.array(right, int)[kept],
    option_ids_n=[ids[i] for i in kept],
    kind_n=[kind_n[i] for i in kept],
    group_n=shown.group_n[row],
  )


def questioned(
  setup: splicing_setup.Setup, asked: Asked, shows: bool
) -> list[onward.Batch]:
  """Questions as rows, with their images or without any."""
  image = llava_folder.IMAGE if shows else ''
  rows = [
    setup.prompt.format(image=image, question=text) for text in asked.text
  ]
  if not shows:
    rows = [row.replace('  ', ' ') for row in rows]
  return onward.batches(
    setup.model,
    rows,
    [''] * len(rows),
    asked.images if shows else None,
    setup.batch,
  )


def positions(tokens: llama.Tokens, modality: str) -> np.ndarray:
  """Where an image stands, or words but the first: bool [B, T]."""
  if modality == 'image':
    return np.asarray(tokens.is_image_BT)
  is_text_BT = np.asarray(tokens.is_real_BT) & ~np.asarray(tokens.is_image_BT)
  return is_text_BT & (np.asarray(tokens.position_BT) > 0)


def means(setup: splicing_setup.Setup, shown: Shown) -> dict[str, np.ndarray]:
  """The mean of what enters the layer, by modality."""
  d = setup.model.module.config.text.hidden_size
  sums = {m: np.zeros(d) for m in ('image', 'text')}
  counts = dict.fromkeys(sums, 0)
  for b in captioned(setup, shown):
    x_BTD = onward.rows_entering(setup.model, b, setup.layer)
    for m in sums:
      x_nD = x_BTD[positions(b.inputs.tokens, m)[: b.n]]
      sums[m] += x_nD.sum(0, dtype=np.float64)
      counts[m] += len(x_nD)
  return {m: (sums[m] / max(counts[m], 1)).astype(np.float32) for m in sums}
