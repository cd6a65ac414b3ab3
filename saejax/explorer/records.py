"""The record of each concept and bridge, from the arrays of an analysis."""

from collections.abc import Callable
import dataclasses
from typing import Any

import numpy as np

from saejax.explorer import heat as heat_lib
from saejax.explorer import schema
from saejax.explorer import sources
from saejax.explorer import texts as texts_lib

Json = dict[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Ids:
  """Numbers of an analysis' rows and concepts on its site.

  Attributes:
    picture_R, text_R: ids by row of the store's streams; -1 for nothing.
    index_S: index of each concept of the dictionary; -1 where it is dead.
  """

  picture_R: np.ndarray
  text_R: np.ndarray
  index_S: np.ndarray

  def of(self, side: str, rows: np.ndarray) -> np.ndarray:
    """Ids of rows; -1 stays."""
    id_R = self.picture_R if side == 'image' else self.text_R
    if not len(id_R):
      return np.full(np.shape(rows), -1)
    return np.where(rows >= 0, id_R[rows], -1)


def adjacency(ends_2M: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
  """Bridges of each concept: edges, and where each concept's begin [n + 1].

  They keep the order of the edges, strongest first; one of a concept with
  itself is listed once.
  """
  m = ends_2M.shape[1]
  edge = np.concatenate([np.arange(m), np.arange(m)])
  end = ends_2M.ravel()
  own = np.concatenate([np.ones(m, bool), ends_2M[0] != ends_2M[1]])
  edge, end = edge[own], end[own]
  order = np.lexsort((edge, end))
  starts = np.searchsorted(end[order], np.arange(n + 1))
  return edge[order], starts


def _bands(
  bounds: dict[str, slice],
  ids_X: np.ndarray,
  values_X: np.ndarray,
  heat: Callable[[int, int], Json | None],
) -> Json:
  """Examples by band; `heat` makes the map of a place and an id."""
  found: Json = {}
  for name, band in bounds.items():
    rows, seen = [], set()
    for x in range(band.start, band.stop):
      if (id_ := int(ids_X[x])) >= 0 and id_ not in seen:
        seen.add(id_)
        rows.append([id_, schema.short(values_X[x]), heat(x, id_)])
    found[name] = rows
  return found


def band_bounds(about: Json) -> dict[str, slice]:
  """Where each band stands among the examples."""
  found, start = {}, 0
  for band in about['bands']:
    found[band['name']] = slice(start, start + band['size'])
    start += band['size']
  return found


def _histogram(e, concept: int) -> Json:
  image, text = (e[f'histogram_{s}'][concept] for s in ('image', 'text'))
  low, high = e['histogram_range'][concept]
  edges = []
  if np.isfinite(low):
    # A concept of one activation has bins about it, for there to be any.
    high = high if high > low else low * np.e
    edges = [schema.short(x) for x in np.geomspace(low, high, len(image) + 1)]
  return {'edges': edges, 'image': image.tolist(), 'text': text.tolist()}


def concept_record(
  a: sources.Analysed,
  ids: Ids,
  labels: texts_lib.Labels,
  ends_2M: np.ndarray,
  heats: heat_lib.Heats,
) -> Callable[[int], Json]:
  """Makes the record of a concept by its index."""
  e, live = a.evidence, a.live
  bounds = band_bounds(a.about)
  edges, starts = adjacency(ends_2M, len(live))
  steered = {int(c): i for i, c in enumerate(e['steer_concepts'])}

  def steer(concept: int) -> Json | None:
    if (at := steered.get(concept)) is None:
      return None
    query = int(ids.of('text', e['steer_query'][at]))
    found_TK = ids.of('image', e['steer_rows'][at])
    if query < 0 or not (found_TK >= 0).any():
      return None
    kept = [[i for i in row if i >= 0] for row in found_TK.tolist()]
    return {'query': query, 'pictures': kept}

  def stability(concept: int) -> Json | None:
    if a.stability_S is None or not np.isfinite(a.stability_S[concept]):
      return None
    value = schema.short(a.stability_S[concept])
    return {'value': value, 'over': a.stability_over, 'all': []}

  def bands(side: str, concept: int) -> Json:
    rows_X = e[f'{side}_rows'][concept]
    return _bands(
      bounds,
      ids.of(side, rows_X),
      e[f'{side}_values'][concept],
      lambda x, id_: heats.of(side, concept, x, int(rows_X[x]), id_),
    )

  def record(index: int) -> Json:
    concept = int(live[index])
    sides = {f'{side}s': bands(side, concept) for side in heat_lib.SIDES}
    own = edges[starts[index] : starts[index + 1]][: schema.CONCEPT_BRIDGES]
    scale = heats.scale(concept)
    return {
      'id': concept,
      'index': index,
      'labels': labels.every[index],
      'histogram': _histogram(e, concept),
      **sides,
      'bridges': own.tolist(),
      'stability': stability(concept),
      'steer': steer(concept),
      'note': None,
      **({'heat_scale': scale} if scale else {}),
    }

  return record


def bridge_record(a: sources.Analysed, ids: Ids) -> Callable[[int], Json]:
  """Makes the record of a bridge by its number."""
  e, b = a.evidence, a.bridges

  def cell(edge: int, at: int) -> list[list]:
    rows = []
    pictures = ids.of('image', e['bridge_image_rows'][edge, at]).tolist()
    said = ids.of('text', e['bridge_text_rows'][edge, at]).tolist()
    values = e['bridge_values'][edge, at]
    for picture, text, (x, y) in zip(pictures, said, values, strict=True):
      if picture >= 0 or text >= 0:
        rows.append([picture, text, schema.short(x), schema.short(y)])
    return rows

  def record(edge: int) -> Json:
    counts = e['bridge_table'][edge].tolist()
    expected, low, high = e['bridge_null'][edge].tolist()
    null = {'expected': schema.short(expected), 'low': low, 'high': high}
    return {
      'edge': edge,
      'image': int(b['image_concept'][edge]),
      'text': int(b['text_concept'][edge]),
      'table': dict(zip(schema.CELLS, counts, strict=True))
      | {'pairs': sum(counts)},
      'null': null | {'how': a.about['null']},
      'rank': edge + 1,
      **{name: cell(edge, i) for i, name in enumerate(schema.CELLS)},
    }

  return record


def query_examples(a: sources.Analysed, ids: Ids) -> Json:
  """Concepts of some pictures and texts, strongest first."""

  def rows(side: str) -> list[list]:
    e, found, seen = a.evidence, [], set()
    id_n = ids.of(side, e[f'query_{side}_rows'])
    index_nK = e[f'query_{side}_concepts']
    index_nK = np.where(index_nK >= 0, ids.index_S[index_nK], -1)
    for id_, own, values in zip(
      id_n.tolist(),
      index_nK.tolist(),
      e[f'query_{side}_values'].tolist(),
      strict=True,
    ):
      if id_ >= 0 and id_ not in seen:
        seen.add(id_)
        pairs = zip(own, values, strict=True)
        found.append([id_, [[i, schema.short(v)] for i, v in pairs if i >= 0]])
    return found

  return {'pictures': rows('image'), 'texts': rows('text')}
