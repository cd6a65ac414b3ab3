"""Heat-maps of examples: where in a picture or a text a concept fires.

Bytes q: 0 where it is silent, up to `STEPS` at the concept's scale; `UNKNOWN`
where the store lacks rows, and those that it has are silent.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from saejax import errors
from saejax.explorer import sources

STEPS, UNKNOWN = 254, 255
SIDES = ('image', 'text')
Json = dict[str, Any]


def pieces(
  text: str, spans_n2: np.ndarray, q_n: np.ndarray
) -> tuple[list[str], list[int]]:
  """A text in pieces that join to it, and a byte for each.

  White space before a token is the token's; what no token has is UNKNOWN.

  Args:
    text: the whole.
    spans_n2: letters of tokens, from and to, rising.
    q_n: their bytes.
  """
  words: list[str] = []
  found: list[int] = []
  last = 0
  for (start, end), q in zip(spans_n2.tolist(), q_n.tolist(), strict=True):
    gap = text[last:start]
    if gap.strip():
      words.append(gap)
      found.append(UNKNOWN)
      last = start
    if end <= last:  # A letter of several tokens, or none at all.
      if found and end > 0 and found[-1] != UNKNOWN:
        found[-1] = max(found[-1], q)
      continue
    words.append(text[last:end])
    found.append(q)
    last = end
  if text[last:]:
    words.append(text[last:])
    found.append(UNKNOWN)
  return words, found


class Heats:
  """The heat-maps of an analysis, by concept and by place of the example."""

  def __init__(self, a: sources.Analysed, texts: Sequence[str]):
    self._e, self._texts = a.evidence, texts
    self._told: Mapping[str, Any] = a.about.get('heat') or {}
    self._place = {
      side: {r: i for i, r in enumerate(self._array(side, 'rows').tolist())}
      for side in self._told
    }

  def _array(self, side: str, name: str) -> np.ndarray:
    return self._e[f'{side}_heat_{name}']

  def scale(self, concept: int) -> Json | None:
    """Activations that STEPS stands for; None without any map."""
    if not self._told:
      return None
    return {
      f'{side}s': float(f'{float(self._array(side, "scale")[concept]):.4g}')
      if side in self._told
      else None
      for side in SIDES
    }

  def fires(self, side: str, concepts: np.ndarray) -> np.ndarray:
    """Which concepts have a map in which they fire."""
    if side not in self._told:
      return np.zeros(len(concepts), bool)
    width = self._e[f'{side}_rows'].shape[1]
    starts = self._array(side, 'starts')
    return starts[(concepts + 1) * width] > starts[concepts * width]

  def _cells(self, side: str, concept: int, x: int):
    """Where an example fires, and how much."""
    width = self._e[f'{side}_rows'].shape[1]
    starts, at = self._array(side, 'starts'), concept * width + x
    run = slice(int(starts[at]), int(starts[at + 1]))
    cell = self._array(side, 'cells')[run].astype(np.int64)
    return cell, self._array(side, 'q')[run]

  def of(self, side: str, concept: int, x: int, row: int, id_: int):
    """The map of an example as records have it; None where there is none.

    Args:
      side: 'image' or 'text'.
      concept: its number.
      x: place of the example among those of the concept.
      row: the store's row that stands for it.
      id_: of the picture or text.
    """
    if side not in self._told:
      return None
    at, (cell, q) = self._place[side][row], self._cells(side, concept, x)
    return (
      self._picture(at, cell, q)
      if side == 'image'
      else self._text(at, cell, q, self._texts[id_])
    )

  def _picture(self, at: int, cell: np.ndarray, q: np.ndarray) -> Json:
    w, h = self._told['image']['w'], self._told['image']['h']
    bits = self._array('image', 'kept')[at]
    kept = np.flatnonzero(np.unpackbits(bits, count=w * h))
    rest = 0
    if len(kept) < w * h:  # Those that are known to be silent are told too.
      rest, q_P = UNKNOWN, np.zeros(w * h, np.uint8)
      q_P[cell] = q
      cell = np.union1d(kept, cell)
      q = q_P[cell]
    return {'w': w, 'h': h, 'at': cell.tolist(), 'q': q.tolist(), 'rest': rest}

  def _text(self, at: int, cell: np.ndarray, q: np.ndarray, text: str) -> Json:
    starts = self._array('text', 'token_starts')
    spans_n2 = self._array('text', 'spans')[starts[at] : starts[at + 1]]
    q_n = np.zeros(len(spans_n2), np.uint8)
    q_n[cell] = q
    tokens, found = pieces(text, spans_n2, q_n)
    return {'tokens': tokens, 'q': found}


def _is_whole(value: Any) -> bool:
  return isinstance(value, int) and not isinstance(value, bool)


def _check_bytes(q: Any, where: str) -> None:
  is_byte = lambda v: _is_whole(v) and 0 <= v <= UNKNOWN
  if not isinstance(q, list) or not all(map(is_byte, q)):
    raise errors.UserError(f'{where}: q must be whole numbers from 0 to 255.')


def _check_words(words: Any, n: int, where: str) -> None:
  if not (
    isinstance(words, list)
    and len(words) == n
    and all(isinstance(word, str) for word in words)
  ):
    raise errors.UserError(f'{where}: tokens must be words, one for each q.')


def _check_cells(heat: Json, where: str) -> None:
  sides = heat['w'], heat['h']
  if not all(_is_whole(n) and n > 0 for n in sides):
    raise errors.UserError(
      f'{where}: w and h of a heat-map are {sides[0]!r} and {sides[1]!r}; '
      'expected whole numbers above 0.'
    )
  size = sides[0] * sides[1]
  at = heat.get('at', range(size))
  if not (
    isinstance(at, list | range)
    and len(at) == len(heat['q'])
    and all(_is_whole(c) and 0 <= c < size for c in at)
  ):
    raise errors.UserError(
      f'{where}: a heat-map of {size} cells must have one of them for each q.'
    )


def check(heat: Any, side: str, where: str) -> None:
  """UserError unless a map is what docs/explorer.md says of it."""
  if heat is None:
    return
  keys = {'w', 'h', 'q'} if side == 'image' else {'tokens', 'q'}
  if not isinstance(heat, dict) or not keys <= heat.keys():
    raise errors.UserError(
      f'{where}: a heat-map lacks one of {", ".join(sorted(keys))}.'
    )
  _check_bytes(heat['q'], where)
  if side == 'text':
    _check_words(heat['tokens'], len(heat['q']), where)
    return
  _check_cells(heat, where)
  _check_bytes([heat.get('rest', 0)], where)


def check_concept(record: Mapping[str, Any], where: str) -> None:
  """UserError unless all maps of a concept's record are good.

  Where there are maps, `heat_scale` must say what their bytes stand for.
  """
  scales = record.get('heat_scale')
  for side in SIDES:
    maps = [row[2] for rows in record[f'{side}s'].values() for row in rows]
    for found in maps:
      check(found, side, where)
    scale = scales.get(f'{side}s') if isinstance(scales, dict) else None
    is_number = isinstance(scale, int | float) and not isinstance(scale, bool)
    if any(maps) and not (is_number and 0 <= scale < np.inf):
      raise errors.UserError(
        f'{where}: a concept has heat-maps of {side}s, and its heat_scale of '
        f'them is {scale!r}; expected a number that is not negative.'
      )


def activations(heat: Mapping[str, Any], scale: float) -> np.ndarray:
  """Activations of a map: [h, w], or [tokens]; NaN where q is UNKNOWN."""
  q = np.array(heat['q'], np.float64)
  if 'w' in heat:
    listed = q
    q = np.full(heat['w'] * heat['h'], float(heat.get('rest', 0)))
    q[heat.get('at', slice(None))] = listed
    q = q.reshape(heat['h'], heat['w'])
  return np.where(q == UNKNOWN, np.nan, q / STEPS * scale)
