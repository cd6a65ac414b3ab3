"""What a site holds, before it is files."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np
from PIL import Image

from saejax.explorer import schema

Json = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Edges:
  """Bridges by concept index, strongest excess first; `flags_M` are bits."""

  image_M: np.ndarray
  text_M: np.ndarray
  columns: Sequence[schema.Column]
  flags_M: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dictionary:
  """The live concepts of one dictionary; N of them, M bridges.

  Attributes:
    id: letters, digits and dashes.
    about: what else meta.json says: title, model, dataset, arch, latents, k,
      split, rows, reads, row, heat, cuts, bands, sampling, steering, python,
      bibtex, provenance.
    id_N: numbers of the concepts in the dictionary.
    place_N4: joint x, y and split x, y, from 0 to 1.
    columns: at least `schema.COLUMNS`.
    class_N: index into `schema.CLASSES`.
    flags_N: bits of `schema`, without `PICTURED`.
    edges: the bridges.
    near_N8: index of neighbours, -1 for none; `schema.NEAR_SIDE` of images
      first.
    near_cosine_N8: their cosines.
    labels, source_N, sources: a name for each, '' for none; who gave it.
    clusters: names on the map.
    medoid_N: the picture that stands for a concept on the map; -1 for none.
    concept: the record of a concept, by index.
    bridge: the record of a bridge with examples, by number.
    shown_bridges: how many have examples.
    examples: what pictures.json holds.
  """

  id: str
  about: Mapping[str, Any]
  id_N: np.ndarray
  place_N4: np.ndarray
  columns: Sequence[schema.Column]
  class_N: np.ndarray
  flags_N: np.ndarray
  edges: Edges
  near_N8: np.ndarray
  near_cosine_N8: np.ndarray
  labels: Sequence[str]
  source_N: np.ndarray
  sources: Sequence[Mapping[str, str]]
  clusters: Sequence[Mapping[str, Any]]
  medoid_N: np.ndarray
  concept: Callable[[int], Json]
  bridge: Callable[[int], Json]
  shown_bridges: int
  examples: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pictures:
  """Pictures by id.

  Attributes:
    count: how many there are.
    draw: gives those of some ids, each within a side in pixels.
    sensitive: ids to be blurred.
  """

  count: int
  draw: Callable[[Sequence[int], int], list[Image.Image]]
  sensitive: Sequence[int] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Match:
  """Concepts of dictionary `a` in `b`: [N_a] indices, -1 for none."""

  a: str
  b: str
  method: str
  index_N: np.ndarray
  correlation_N: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Site:
  """Everything; `card` is as docs/explorer.md says."""

  title: str
  dictionaries: Sequence[Dictionary]
  card: Mapping[str, Any]
  texts: Sequence[str]
  pictures: Pictures
  matches: Sequence[Match] = ()
  tour: Sequence[Mapping[str, str]] = ()
