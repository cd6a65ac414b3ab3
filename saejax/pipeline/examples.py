"""Images with a caption, one by one, of whatever data set."""

from collections.abc import Mapping
import dataclasses
from typing import Any

import numpy as np
from PIL import Image

from saejax import store as store_lib
from saejax.data import captions
from saejax.data import loading
from saejax.data import records
from saejax.data import render
from saejax.data import scenes
from saejax.data import specs

Data = specs.SceneSet | records.Dataset


@dataclasses.dataclass(frozen=True)
class Example:
  """An image and what is said of it.

  Attributes:
    index: its number in the data set.
    image: RGB.
    caption: its first that can be used; empty where none is wanted.
    group: equal for one image.
    split: code of `store.SPLITS`.
    labels: factors of a scene that the image holds, and that the caption
      mentions; None of other data.
    label: the class, an index into the data set's `classes`, or None.
    words: for the sidecar: what the image was.
  """

  index: int
  image: Image.Image
  caption: str
  group: int
  split: int
  labels: tuple[np.ndarray, np.ndarray] | None = None
  label: int | None = None
  words: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def count(data: Data) -> int:
  return data.n if isinstance(data, specs.SceneSet) else len(data)


def spread(n: int, most: int | None) -> np.ndarray:
  """Numbers of so many of n examples, evenly spread: rising int64; of all."""
  count = n if most is None else min(n, most)
  return np.arange(count) * n // max(count, 1)


def read(
  data: Data, start: int, stop: int, side: int
) -> tuple[list[Example], list[loading.Skipped]]:
  """A run of examples, as `read_at` gives them."""
  return read_at(data, np.arange(start, stop), side)


def read_at(
  data: Data, index_n: np.ndarray, side: int, has_texts: bool = True
) -> tuple[list[Example], list[loading.Skipped]]:
  """Some examples, without those that cannot be used.

  Args:
    data: the data set.
    index_n: numbers of examples.
    side: in pixels, of scenes that are drawn.
    has_texts: whether captions are wanted; without, none is looked at.

  Returns:
    Examples, and what was skipped.
  """
  if isinstance(data, specs.SceneSet):
    return _scenes(data, index_n, side), []
  found, skipped = [], []
  for i in index_n.tolist():
    item = loading.load(data, i, lambda image: image, has_texts)
    skipped += item.skipped
    if item.image is None:
      continue
    own = item.split and store_lib.SPLITS.index(item.split)
    hashed = store_lib.assign_splits(np.array([item.group]))[0]
    split = int(hashed if own is None else own)
    found.append(
      Example(
        index=i, image=item.image, caption=next(iter(item.captions), ''),
        group=item.group, split=split, label=item.label, words=item.words,
      )
    )  # fmt: skip
  return found, skipped


def _scenes(data: specs.SceneSet, index_n, side: int) -> list[Example]:
  sampled = scenes.sample(data.world, index_n)
  split_N = store_lib.assign_splits(
    sampled.index_N, data.splits, seed=data.seed
  )
  said = captions.caption(data.world, sampled)
  drawn_NHW3 = render.render(sampled, side)
  shown_NF = scenes.present(sampled).astype(np.uint8)
  told_NF = said.mentioned_NF.astype(np.uint8)
  return [
    Example(
      index=i,
      image=Image.fromarray(drawn_NHW3[n]),
      caption=said.text[n],
      group=i,
      split=int(split_N[n]),
      labels=(shown_NF[n], told_NF[n]),
      words={'scene': i},
    )
    for n, i in enumerate(index_n.tolist())
  ]
