"""A page of what a query finds, before and after a change of its concepts."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import importlib.resources
from typing import Any

from saejax.report import cards
from saejax.report import markup
from saejax.report import pictures


@dataclasses.dataclass(frozen=True)
class Query:
  """A row of a store, and what was done to its concepts."""

  stream: str
  row: int
  words: Mapping[str, Any]
  add: Sequence[tuple[int, float]]
  remove: Sequence[int]

  def said(self) -> str:
    """What was done, in words."""
    parts = [f'concept {c} added at {v:.3g}' for c, v in self.add]
    parts += [f'concept {c} removed' for c in self.remove]
    return ', '.join(parts) or 'nothing changed'


def _rows(
  lines: Sequence[Mapping[str, Any]],
  words: Sequence[Mapping[str, Any]],
  thumbnail: pictures.Thumbnail,
) -> str:
  """Pictures in a strip; captions in a list."""
  when = lines[0]['query'] if lines else ''
  if lines and lines[0]['stream'] == 'text':
    return markup.tag(
      'ol',
      *(
        markup.tag(
          'li',
          f'{markup.text(e["words"]) or e["row"]} <small>{e[when]:.2f}</small>',
        )
        for e in lines
      ),
    )
  return markup.tag(
    'div',
    *(
      cards.image(thumbnail, said, f'{e["row"]}: {e[when]:.2f}')
      for e, said in zip(lines, words, strict=True)
    ),
    class_='strip',
  )


def page(
  query: Query,
  lines: Sequence[Mapping[str, Any]],
  words: Mapping[str, Sequence[Mapping[str, Any]]],
  thumbnail: pictures.Thumbnail,
) -> str:
  """The query and its two lists of rows, as a document.

  Args:
    query: what was asked.
    lines: of retrieved rows: `query` ('before' or 'after'), `stream`, `row`,
      `words` and the similarities.
    words: of the rows of each list.
    thumbnail: draws a row.
  """
  asked = markup.text(str(query.words.get('caption', '')))
  seen = thumbnail(query.words) if query.stream == 'image' else None
  parts = [
    markup.tag('h1', f'{query.stream} {query.row}, {query.said()}'),
    markup.picture(seen, '', f'image {query.row}') if seen else '',
    markup.tag('blockquote', asked) if asked else '',
  ]
  for when, title in (
    ('before', 'Before: the reconstruction of the query'),
    ('after', 'After: with its concepts changed'),
  ):
    own = [e for e in lines if e['query'] == when]
    parts.append(
      markup.section(when, title, _rows(own, words[when], thumbnail))
    )
  style = importlib.resources.files('saejax.report').joinpath('page.css')
  return markup.page(
    'A query and its concepts',
    style.read_text(encoding='utf-8'),
    ''.join(parts),
  )
