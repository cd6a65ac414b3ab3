"""The report of a study: claims, what was measured, nulls and verdicts."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import math
import os
from typing import Any

from saejax.report import claims
from saejax.report import markup
from saejax.store import files

HTML, MARKDOWN = 'report.html', 'report.md'
_FIGURES = (
  ('pareto/figures/pareto', 'R² against L0 of every method'),
  ('{model}/none/stability/figures/stability', 'Stability over seeds'),
  ('{model}/none/stability/figures/tenths', 'Stability of rare and common'),
  ('{model}/diets/figures/diets', 'Other mixtures of images and texts'),
  ('{model}/none/analysis/figures/modality', 'Modality scores'),
  ('{model}/none/analysis/figures/gap_cosine', 'Concepts and the gap'),
  ('{model}/none/analysis/figures/bridges', 'The strongest bridges'),
  ('{model}/intervene/figures/interventions', 'What removing concepts does'),
)
_WORLD = (
  'These rows come from a procedural world of drawn scenes. A verdict here '
  'says that the tool works on data whose causes are known; it is no evidence '
  'about the paper’s models and photographs.'
)
_COUNTER_WORLDS = (
  'The first model again, on rows as they are, where captions are otherwise. '
  '“partial” is the world above: captions name a part of their picture. In '
  '“full” they name all that has a name, in “unrelated” they tell of another '
  'picture.',
  'Where captions tell of other pictures no bridge is real, so the claim about '
  'bridges must fail there. The other claims read rows one at a time, and rows '
  'of “unrelated” are spread as those of “partial” are: these verdicts, and '
  'their numbers but for chance, must stay. Where they do not, they rest on '
  'chance.',
  'Where captions say all, pairing must add more to similarity than where they '
  'say a part. Their texts are longer than any that the model was trained on, '
  'so that the other verdicts may differ.',
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
COUNTER_WORLDS = 'The same verdicts in counter-worlds'
Worlds = Mapping[str, Sequence[claims.Judged]]
Found = Mapping[str, Mapping[str, Sequence[claims.Judged]]]


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


def _lines(numbers: Mapping[str, Mapping[str, Any]]) -> list[str]:
  return [f'{name}: {number(entry)}' for name, entry in numbers.items()]


def _rows(found: Found, i: int):
  """Model, centring, verdict, measured and null of a claim."""
  for model, centers in found.items():
    for center, judged in centers.items():
      j = judged[i]
      if not j.measured:
        continue  # Not for this centring.
      yield model, center, j.verdict, _lines(j.measured), _lines(j.null)


def _pictures(out: str, models: Sequence[str]) -> list[tuple[str, str]]:
  """Paths, without their ending, of figures that are there, and words."""
  found = []
  for path, words in _FIGURES:
    for model in models if '{model}' in path else ('',):
      at = path.format(model=model)
      if os.path.exists(os.path.join(out, f'{at}.svg')):
        found.append((at, f'{words}: {model}' if model else words))
  return found


def _claims(found: Found):
  """Number, words and rule of every claim."""
  first = next(iter(next(iter(found.values())).values()))
  for i, claim in enumerate(claims.CLAIMS):
    yield i, ' '.join((claim.__doc__ or '').split()), first[i].rule


def _world_rows(worlds: Worlds):
  """Claim, and of each world its verdict and first numbers."""
  for i, claim in enumerate(claims.CLAIMS):
    of_claim = [judged[i] for judged in worlds.values()]
    yield (
      f'{i + 1} {claim.__name__.replace("_", " ")}',
      [(j.verdict, _lines(j.measured)[:2]) for j in of_claim],
    )


def _line(cells: Iterable[str]) -> str:
  """A line of a table in Markdown."""
  return '| ' + ' | '.join(c.replace('|', '\\|') for c in cells) + ' |'


def _markdown_worlds(worlds: Worlds) -> list[str]:
  head = ['Claim', *worlds]
  rows = [
    _line([claim, *('; '.join([verdict, *first]) for verdict, first in cells)])
    for claim, cells in _world_rows(worlds)
  ]
  words = [line for part in _COUNTER_WORLDS for line in ('', part)]
  title = ['', f'## {COUNTER_WORLDS}', *words, '']
  return [*title, _line(head), _line(['---'] * len(head)), *rows]


def markdown(
  out: str, dataset: str, found: Found, worlds: Worlds | None = None
) -> str:
  """The report as Markdown."""
  lines = ['# The linear structure of embedding spaces', '', f'Data: {dataset}']
  lines += ['', _WORLD] if dataset.startswith('scenes') else []
  for i, words, rule in _claims(found):
    lines += ['', f'## Claim {i + 1}', '', words, '', rule, '']
    lines += ['| Model | Centring | Verdict | Measured | Null |']
    lines += ['| --- | --- | --- | --- | --- |']
    for model, center, verdict, measured, null in _rows(found, i):
      cells = model, center, verdict, '; '.join(measured), '; '.join(null)
      lines.append(_line(cells))
  lines += _markdown_worlds(worlds) if worlds else []
  lines += ['', '## Figures', '']
  for path, words in _pictures(out, list(found)):
    lines += [f'![{words}]({path}.svg)', '']
  return '\n'.join(lines) + '\n'


def _verdict(verdict: str) -> str:
  return markup.tag('b', markup.text(verdict), class_=verdict)


def _numbers(lines: Iterable[str]) -> str:
  return ''.join(markup.tag('div', markup.text(line)) for line in lines)


def _html_claims(found: Found) -> list[str]:
  t, text = markup.tag, markup.text
  body = []
  head = ('Model', 'Centring', 'Verdict', 'Measured', 'Null')
  for i, words, rule in _claims(found):
    rows = [
      (
        text(model),
        text(center),
        _verdict(verdict),
        _numbers(measured),
        _numbers(null),
      )
      for model, center, verdict, measured, null in _rows(found, i)
    ]
    body += [
      t('h2', f'Claim {i + 1}'),
      markup.paragraph(t('b', text(words))),
      markup.paragraph(text(rule)),
      markup.table(head, rows),
    ]
  return body


def _html_worlds(worlds: Worlds) -> list[str]:
  rows = [
    (
      markup.text(claim),
      *(_verdict(verdict) + _numbers(first) for verdict, first in cells),
    )
    for claim, cells in _world_rows(worlds)
  ]
  head = ('Claim', *worlds)
  return [
    markup.tag('h2', COUNTER_WORLDS),
    *(markup.paragraph(markup.text(words)) for words in _COUNTER_WORLDS),
    markup.table(head, rows),
  ]


def _html_figures(out: str, models: Sequence[str]) -> str:
  t = markup.tag
  drawn = []
  for path, words in _pictures(out, models):
    picture = t('img', src=f'{path}.svg', alt=words).removesuffix('</img>')
    drawn.append(t('figure', picture, t('figcaption', markup.text(words))))
  return t('div', *drawn, class_='figures')


def html(
  out: str, dataset: str, found: Found, worlds: Worlds | None = None
) -> str:
  """The report as a page; figures lie beside it."""
  t, text = markup.tag, markup.text
  body = [t('h1', 'The linear structure of embedding spaces')]
  body.append(markup.paragraph(text(f'Data: {dataset}')))
  if dataset.startswith('scenes'):
    body.append(markup.paragraph(text(_WORLD)))
  body += _html_claims(found)
  body += _html_worlds(worlds) if worlds else []
  body += [t('h2', 'Figures'), _html_figures(out, list(found))]
  return markup.page('saejax: paper 1', _STYLE, ''.join(body))


def write(
  out: str, dataset: str, found: Found, worlds: Worlds | None = None
) -> str:
  """Writes both; the path of the page.

  Args:
    out: folder of the study.
    dataset: what was embedded.
    found: what was judged, by model and centring.
    worlds: what was judged of one model, by kind of captions.
  """
  given = out, dataset, found, worlds
  files.write_text(os.path.join(out, MARKDOWN), markdown(*given))
  path = os.path.join(out, HTML)
  files.write_text(path, html(*given))
  return path
