"""Scenes of one thing, and what is asked of them while a model is steered.

A class is the answer to a question. Of a scene of another class it is asked
with options, the class among them, in every order of the letters, so that a
model that likes a letter gains nothing. (A colour is a class; that the thing is
red is the answer in a scene of a red thing.)
"""

from collections.abc import Sequence
import dataclasses

import numpy as np
from PIL import Image

from saejax import errors
from saejax import store as store_lib
from saejax.data import captions
from saejax.data import questions
from saejax.data import render
from saejax.data import scenes as scenes_lib
from saejax.data import specs
from saejax.models import llava_folder
from saejax.pipeline import onward
from saejax.store import hashing

FACTORS = {
  'colour': tuple(scenes_lib.COLOURS),
  'shape': scenes_lib.SHAPES,
  'background': tuple(scenes_lib.BACKGROUNDS),
  'size': scenes_lib.SIZES,
}
OPTIONS = 4
_STREAM = 5_000


@dataclasses.dataclass(frozen=True)
class Shown:
  """Scenes of one thing, of one split.

  Attributes:
    scenes: their factors.
    images: as drawn.
    label: class of each by factor; all have one.
  """

  scenes: scenes_lib.Scenes
  images: Sequence[Image.Image]
  label: dict[str, np.ndarray]

  def __len__(self) -> int:
    return len(self.images)

  def take(self, at_n: np.ndarray) -> 'Shown':
    taken = {
      f.name: getattr(self.scenes, f.name)[at_n]
      for f in dataclasses.fields(self.scenes)
    }
    return Shown(
      scenes=scenes_lib.Scenes(**taken),
      images=[self.images[i] for i in at_n],
      label={k: v[at_n] for k, v in self.label.items()},
    )


def alone(data: specs.SceneSet, split: str) -> np.ndarray:
  """Numbers of the scenes of one thing of a split."""
  index_N = np.arange(data.n)
  split_N = store_lib.assign_splits(index_N, data.splits, seed=data.seed)
  index_n = index_N[split_N == store_lib.SPLITS.index(split)]
  if not len(index_n):
    return index_n
  return index_n[scenes_lib.sample(data.world, index_n).count_N == 1]


def labels(sampled: scenes_lib.Scenes) -> dict[str, np.ndarray]:
  """The class of each scene of one thing, by factor."""
  return {
    'colour': sampled.colour_NO[:, 0],
    'shape': sampled.shape_NO[:, 0],
    'background': sampled.background_N,
    'size': sampled.size_NO[:, 0],
  }


def show(data: specs.SceneSet, split: str, most: int, side: int) -> Shown:
  """The first scenes of one thing of a split, at most so many.

  Raises:
    UserError: there are none.
  """
  index_n = alone(data, split)[:most]
  if not len(index_n):
    raise errors.UserError(
      f'--dataset has no scene of one thing in {split}: give more scenes, or '
      'larger splits.'
    )
  sampled = scenes_lib.sample(data.world, index_n)
  return Shown(
    scenes=sampled,
    images=[Image.fromarray(a) for a in render.render(sampled, side)],
    label=labels(sampled),
  )


def question(shown: Shown, factor: str, world: scenes_lib.World) -> list[str]:
  """The question after a factor, of every scene."""
  found = questions.ask(world, shown.scenes, factor, options=1)
  if len(found.row_n) != len(shown):
    raise ValueError(f'Some scenes have no one answer for {factor}.')
  return found.text


def beside(shown: Shown, factor: str) -> np.ndarray:
  """What scenes hold beside a factor, and where their thing is: [n, F]."""
  apart = f'{factor}=', 'pair='  # A pair says the colour and the shape.
  of = [
    i for i, name in enumerate(scenes_lib.FACTORS) if not name.startswith(apart)
  ]
  x_n, y_n = shown.scenes.centre_NO2[:, 0].T
  place_nF = np.stack([x_n, y_n, x_n**2, y_n**2, x_n * y_n], axis=1)
  return np.concatenate(
    [scenes_lib.present(shown.scenes)[:, of], place_nF], axis=1
  )


@dataclasses.dataclass(frozen=True)
class Choices:
  """Questions with options in words, one row a scene and order of letters.

  Or plain ones, one row a scene, answered by the name of a class.

  Attributes:
    text: questions, with their options where letters name them.
    options: what is chosen from: letters, or the names of all classes.
    scene_n: which scene each is about.
    target_n: the place of the target among the options.
    truth_n: that of what the scene shows.
  """

  text: list[str]
  options: tuple[str, ...]
  scene_n: np.ndarray
  target_n: np.ndarray
  truth_n: np.ndarray


def choices(
  shown: Shown,
  factor: str,
  target: int | None,
  world: scenes_lib.World,
  letters: Sequence[str],
) -> Choices:
  """Each scene's question with its options in every cyclic order.

  Args:
    shown: scenes.
    factor: of FACTORS.
    target: the class that is among the options of every scene; None for others
      alone, and then the target is the truth.
    world: of the scenes.
    letters: that name options, at least as many; none asks for a name.
  """
  names = FACTORS[factor]
  if not letters:
    truth_n = shown.label[factor]
    return Choices(
      text=question(shown, factor, world),
      options=names,
      scene_n=np.arange(len(shown)),
      target_n=np.full_like(truth_n, target) if target is not None else truth_n,
      truth_n=truth_n,
    )
  count = round(1 / chance(factor, letters))
  text, scene, targets, truths = [], [], [], []
  asked = question(shown, factor, world)
  u_nC = hashing.uniform(
    shown.scenes.index_N, len(names), seed=world.seed, stream=_STREAM
  )
  for i, (words, truth) in enumerate(
    zip(asked, shown.label[factor], strict=True)
  ):
    goal = int(truth) if target is None else target
    first = list(dict.fromkeys((goal, int(truth))))
    others = [c for c in np.argsort(u_nC[i]) if c not in first]
    offered = (first + others)[:count]
    for turn in range(count):
      order = offered[turn:] + offered[:turn]
      told = ' '.join(
        f'{letter} {names[c]}'
        for letter, c in zip(letters, order, strict=False)
      )
      text.append(f'{words} {told}')
      scene.append(i)
      targets.append(order.index(goal))
      truths.append(order.index(int(truth)))
  return Choices(
    text, (*letters,), np.array(scene), np.array(targets), np.array(truths)
  )


def chance(factor: str, letters: Sequence[str]) -> float:
  """One over what `choices` offers."""
  offered = len(FACTORS[factor])
  return 1 / (min(OPTIONS, offered, len(letters)) if letters else offered)


@dataclasses.dataclass(frozen=True)
class Asker:
  """Makes rows that a model reads.

  Attributes:
    model: that is asked.
    prompt: holds {image} and {question}.
    batch: rows at a time.
    letters: that name options; none where names of classes are asked for.
  """

  model: llava_folder.LLaVA
  prompt: str
  batch: int
  letters: Sequence[str]

  def row(self, text: str) -> str:
    return self.prompt.format(image=llava_folder.IMAGE, question=text)

  def letter_ids(self) -> list[int]:
    """Tokens of the letters; UserError where two begin alike."""
    ids = self.word_ids(self.letters)
    if len(set(ids)) < len(ids):
      raise errors.UserError(
        f'--letters={",".join(self.letters)}: two of them begin with the same '
        'token of the model. Choose others, such as A,B,C,D.'
      )
    return ids

  def word_ids(self, names: Sequence[str]) -> list[int]:
    """The first token of each name."""
    encode = self.model.tokenizer
    return [encode(n, add_special_tokens=False)['input_ids'][0] for n in names]

  def asked(self, shown: Shown, asked: Choices) -> list[onward.Batch]:
    return onward.batches(
      self.model,
      [self.row(t) for t in asked.text],
      [''] * len(asked.text),
      [shown.images[i] for i in asked.scene_n],
      self.batch,
    )

  def captioned(
    self, shown: Shown, world: scenes_lib.World, factor: str
  ) -> list[onward.Batch]:
    """Each scene's caption as the answer to a request for one.

    Names of classes of the factor do not count: that these change is what
    steering is for, and captions of unrelated images would hold none.
    """
    said = captions.caption(world, shown.scenes).text
    return onward.batches(
      self.model,
      [self.row(questions.DESCRIBE)] * len(said),
      said,
      shown.images,
      self.batch,
      FACTORS[factor],
    )
