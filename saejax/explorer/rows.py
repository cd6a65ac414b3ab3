"""Rows that a site shows: each picture and each text once, by number."""

from collections.abc import Sequence
import dataclasses

import numpy as np

from saejax.explorer import pictures as pictures_lib
from saejax.explorer import sources

_UNSTATED = {'', 'none', 'unknown', 'null'}


@dataclasses.dataclass(frozen=True)
class Shown:
  """Pictures and texts of a site, and which row of which store is which.

  Attributes:
    pictures: where each comes from.
    texts: each once.
    sensitive: pictures whose rows say so.
    picture_R, text_R: for each analysis, ids by row of its image and text
      stream; -1 where there is nothing to show.
  """

  pictures: list[pictures_lib.Source]
  texts: list[str]
  sensitive: list[int]
  picture_R: list[np.ndarray]
  text_R: list[np.ndarray]


def by_place(a: sources.Analysed) -> np.ndarray:
  """Live concepts so that those near each other on the map come together."""
  cluster_N3 = a.evidence['cluster'][a.live]
  return a.live[np.lexsort(cluster_N3.T[::-1])]


def used(a: sources.Analysed, side: str) -> np.ndarray:
  """Rows of a stream that are shown, near concepts' rows together."""
  e, order = a.evidence, by_place(a)
  own = 'steer_rows' if side == 'image' else 'steer_query'
  flat = np.concatenate(
    [
      e[f'{side}_rows'][order].ravel(),
      e[f'bridge_{side}_rows'].ravel(),
      e[f'query_{side}_rows'].ravel(),
      e[own].ravel(),
    ]
  ).astype(np.int64)
  flat = flat[flat >= 0]
  found, first = np.unique(flat, return_index=True)
  return found[np.argsort(first, kind='stable')]


def collect(analyses: Sequence[sources.Analysed], with_pictures: bool) -> Shown:
  """Numbers pictures and texts of all analyses; equal ones have one number."""
  picture_ids: dict[pictures_lib.Source, int] = {}
  text_ids: dict[str, int] = {}
  sensitive: set[int] = set()
  picture_R, text_R = [], []
  for a in analyses:
    stream = a.stream('image')
    at_R = np.full(len(stream), -1)
    rows = used(a, 'image') if with_pictures else np.zeros(0, np.int64)
    world = pictures_lib.world_of(a.store.about)
    for row, words in zip(rows.tolist(), stream.words(rows), strict=True):
      if (found := pictures_lib.source(words, world)) is not None:
        at_R[row] = picture_ids.setdefault(found, len(picture_ids))
        if words.get('sensitive') is True:
          sensitive.add(int(at_R[row]))
    picture_R.append(at_R)
    stream = a.stream('text')
    at_R = np.full(len(stream), -1)
    rows = used(a, 'text')
    for row, words in zip(rows.tolist(), stream.words(rows), strict=True):
      if isinstance(caption := words.get('caption'), str):
        at_R[row] = text_ids.setdefault(caption, len(text_ids))
    text_R.append(at_R)
  return Shown(
    list(picture_ids), list(text_ids), sorted(sensitive), picture_R, text_R
  )


def has_pictures(a: sources.Analysed) -> bool:
  """Whether any picture of an analysis can be had here."""
  world = pictures_lib.world_of(a.store.about)
  rows = used(a, 'image')
  words = a.stream('image').words(rows)
  return any(pictures_lib.source(w, world) is not None for w in words)


def licence(a: sources.Analysed) -> str | None:
  """The licence that the store states for its pictures, if it states one."""
  told = a.store.about.get('licence')
  stated = isinstance(told, str) and told.strip().lower() not in _UNSTATED
  return told.strip() if stated else None
