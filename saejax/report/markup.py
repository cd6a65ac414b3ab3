"""Pieces of HTML: escaped words, numbers with their bounds, tables, figures."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import html
from typing import Any

from saejax import results
from saejax.report import figures

Entry = Mapping[str, Any]


def tag(name: str, *inside: str, **attributes: str) -> str:
  """An element; `inside` is HTML already, attributes are escaped here.

  A trailing underscore keeps `class_` from being a keyword.
  """
  given = ''.join(
    f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
    for key, value in attributes.items()
  )
  return f'<{name}{given}>{"".join(inside)}</{name}>'


def text(words: str) -> str:
  return html.escape(words)


def paragraph(*inside: str) -> str:
  return tag('p', ' '.join(inside))


def value(entry: Entry) -> str:
  """The number alone, short."""
  v = entry['value']
  if v is None:
    return '—'
  if entry.get('unit') == results.P_VALUE:
    return results.p_words(entry)
  if isinstance(v, int) or float(v).is_integer():
    return f'{int(v):,}'
  return f'{v:.3g}' if abs(v) < 0.1 else f'{v:.2f}'


def number(entry: Entry) -> str:
  """The number with its 95 % interval and what it rests on."""
  rests = []
  if entry.get('low') is not None:
    low, high = value({'value': entry['low']}), value({'value': entry['high']})
    rests.append(f'95 % {low} to {high}')
  if entry.get('n') is not None:
    rests.append(f'n = {entry["n"]:,}')
  small = tag('small', f' ({", ".join(rests)})') if rests else ''
  return tag('b', text(value(entry))) + small


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  """A table of HTML cells; the first of a row is its heading."""
  line = lambda cells, name: ''.join(tag(name, c) for c in cells)
  body = ''.join(
    tag('tr', tag('th', row[0], scope='row') + line(row[1:], 'td'))
    for row in rows
  )
  return tag(
    'table', tag('thead', tag('tr', line(head, 'th'))) + tag('tbody', body)
  )


def figure(drawn: figures.Figure, caption: str) -> str:
  return tag('figure', drawn.svg(), tag('figcaption', caption))


def picture(uri: str | None, under: str, title: str = '') -> str:
  """A thumbnail with a line under it; words alone where there is no picture."""
  seen = (
    f'<img src="{uri}" alt="{html.escape(title)}" loading="lazy">'
    if uri
    else tag('span', text(title), class_='nopicture')
  )
  return tag('div', seen, tag('small', under), class_='picture')


def section(anchor: str, title: str, *inside: str) -> str:
  return tag('section', tag('h2', text(title)), *inside, id=anchor)


def page(title: str, style: str, body: str) -> str:
  """A whole document that loads nothing from anywhere."""
  return (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    f'<title>{html.escape(title)}</title><style>{style}</style></head>'
    f'<body>{body}</body></html>\n'
  )
