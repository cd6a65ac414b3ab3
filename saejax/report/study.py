"""The report of a study by claims, as a page and as Markdown.

Of each claim: its words, how a verdict follows, and a table of verdicts with
what was measured and what it was held against.
"""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import math
import os
from typing import Any

from saejax.report import judging
from saejax.report import markup
from saejax.store import files

HTML, MARKDOWN = 'report.html', 'report.md'
WORLD = (
  'These rows come from a procedural world of drawn scenes. A verdict here '
  'says that the tool works on data whose causes are known; it is no evidence '
  'about the paper’s models and photographs.'
)
_STYLE = (
  'body{font:16px/1.5 system-ui,sans-serif;max-width:76rem;margin:2rem auto;'
  'padding:0 1rem}p{max-width:46rem}table{border-collapse:collapse;'
  'font-size:.85rem;display:block;overflow-x:auto}td,th{border-bottom:1px '
  'solid #ccc;padding:.3rem .8rem .3rem 0;text-align:left;vertical-align:top}'
  'th,td:nth-child(-n+3){min-width:4.5rem}img{max-width:100%}.figures{display:'
  'grid;grid-template-columns:repeat(auto-fit,minmax(min(34rem,100%),1fr));'
  'gap:1rem}figure{margin:0}figure:first-child{grid-column:1/-1}'
  '.holds{color:#00664a}.fails{color:#a33d00}.open{color:#555}'
)
_TOLD = ('Verdict', 'Measured', 'Null')


@dataclasses.dataclass(frozen=True)
class Claim:
  """A claim, and what was found of it.

  Attributes:
    title: of its part.
    words: what is claimed.
    rule: how a verdict follows.
    rows: what a line is of, by column, and what was found there.
  """

  title: str
  words: str
  rule: str
  rows: Sequence[tuple[Sequence[str], judging.Judged]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
  """All that a report tells.

  Attributes:
    title: of the report.
    name: of the page.
    about: paragraphs at its head.
    head: what the lines of tables are of, by column.
    claims: in order.
    figures: paths without their ending, from the folder of the report, and
      words.
    markdown: lines between the claims and the figures.
    html: the same of the page.
  """

  title: str
  name: str
  about: Sequence[str]
  head: Sequence[str]
  claims: Sequence[Claim]
  figures: Sequence[tuple[str, str]]
  markdown: Sequence[str] = ()
  html: Sequence[str] = ()


def words_of(claim: Any) -> str:
  """What a function that judges says it judges, on one line."""
  return ' '.join((claim.__doc__ or '').split())


def number(entry: Mapping[str, Any]) -> str:
  """A number with its bounds, what they are, and n, as plain words.

  Told to the digit that the bounds leave open, lest what differs reads alike.
  """
  value, low, high = (entry.get(key) for key in ('value', 'low', 'high'))
  if None in (value, low, high):
    words, rests = markup.value(entry), []
  else:
    digits = max(2, -math.floor(math.log10(max(high - low, 1e-4))))
    words, low, high = (f'{v:.{digits}f}' for v in (value, low, high))
    rests = [f'{low} to {high}, {entry.get("interval", "interval")}']
  if entry.get('n') is not None:
    rests.append(f'n = {entry["n"]:,}')
  return f'{words} ({"; ".join(rests)})' if rests else words


def lines(numbers: Mapping[str, Mapping[str, Any]]) -> list[str]:
  return [f'{name}: {number(entry)}' for name, entry in numbers.items()]


def drawn(
  out: str, figures: Iterable[tuple[str, str]]
) -> list[tuple[str, str]]:
  """Those figures, by path without ending and words, that are there."""
  return [
    (path, words)
    for path, words in figures
    if os.path.exists(os.path.join(out, f'{path}.svg'))
  ]


def line(cells: Iterable[str]) -> str:
  """A line of a table in Markdown."""
  return '| ' + ' | '.join(c.replace('|', '\\|') for c in cells) + ' |'


def markdown(r: Report) -> str:
  """The report as Markdown."""
  found = [f'# {r.title}']
  for words in r.about:
    found += ['', words]
  head = [*r.head, *_TOLD]
  for claim in r.claims:
    found += ['', f'## {claim.title}', '', claim.words, '', claim.rule, '']
    found += [line(head), line(['---'] * len(head))]
    for cells, j in claim.rows:
      told = j.verdict, '; '.join(lines(j.measured)), '; '.join(lines(j.null))
      found.append(line([*cells, *told]))
  found += [*r.markdown, '', '## Figures', '']
  for path, words in r.figures:
    found += [f'![{words}]({path}.svg)', '']
  return '\n'.join(found) + '\n'


def verdict(word: str) -> str:
  return markup.tag('b', markup.text(word), class_=word)


def numbers(told: Iterable[str]) -> str:
  """Lines of a cell of HTML."""
  return ''.join(markup.tag('div', markup.text(words)) for words in told)


def _claim(claim: Claim, head: Sequence[str]) -> list[str]:
  rows = [
    (
      *map(markup.text, cells),
      verdict(j.verdict),
      numbers(lines(j.measured)),
      numbers(lines(j.null)),
    )
    for cells, j in claim.rows
  ]
  return [
    markup.tag('h2', markup.text(claim.title)),
    markup.paragraph(markup.tag('b', markup.text(claim.words))),
    markup.paragraph(markup.text(claim.rule)),
    markup.table([*head, *_TOLD], rows),
  ]


def html(r: Report) -> str:
  """The report as a page; figures lie beside it."""
  t = markup.tag
  body = [t('h1', markup.text(r.title))]
  body += [markup.paragraph(markup.text(words)) for words in r.about]
  for claim in r.claims:
    body += _claim(claim, r.head)
  figures = []
  for path, words in r.figures:
    picture = t('img', src=f'{path}.svg', alt=words).removesuffix('</img>')
    figures.append(t('figure', picture, t('figcaption', markup.text(words))))
  body += [*r.html, t('h2', 'Figures'), t('div', *figures, class_='figures')]
  return markup.page(r.name, _STYLE, ''.join(body))


def write(out: str, r: Report) -> str:
  """Writes both; the path of the page."""
  files.write_text(os.path.join(out, MARKDOWN), markdown(r))
  path = os.path.join(out, HTML)
  files.write_text(path, html(r))
  return path
