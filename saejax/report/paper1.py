"""The report of a study: claims, what was measured, nulls and verdicts."""

from collections.abc import Mapping
from collections.abc import Sequence

from saejax.report import claims
from saejax.report import markup
from saejax.report import study

HTML, MARKDOWN = study.HTML, study.MARKDOWN
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
COUNTER_WORLDS = 'The same verdicts in counter-worlds'
Worlds = Mapping[str, Sequence[claims.Judged]]
Found = Mapping[str, Mapping[str, Sequence[claims.Judged]]]


def _figures(models: Sequence[str]) -> list[tuple[str, str]]:
  """Paths, without their ending, and words."""
  found = []
  for path, words in _FIGURES:
    if '{model}' in path:
      found += [(path.format(model=m), f'{words}: {m}') for m in models]
    else:
      found.append((path, words))
  return found


def _claims(found: Found) -> list[study.Claim]:
  """Every claim, with what was found by model and centring."""
  first = next(iter(next(iter(found.values())).values()))
  return [
    study.Claim(
      f'Claim {i + 1}',
      study.words_of(claim),
      first[i].rule,
      [
        ((model, center), judged[i])
        for model, centers in found.items()
        for center, judged in centers.items()
        if judged[i].measured  # Else it is not for this centring.
      ],
    )
    for i, claim in enumerate(claims.CLAIMS)
  ]


def _world_rows(worlds: Worlds):
  """Claim, and of each world its verdict and first numbers."""
  for i, claim in enumerate(claims.CLAIMS):
    of_claim = [judged[i] for judged in worlds.values()]
    yield (
      f'{i + 1} {claim.__name__.replace("_", " ")}',
      [(j.verdict, study.lines(j.measured)[:2]) for j in of_claim],
    )


def _markdown_worlds(worlds: Worlds) -> list[str]:
  head = ['Claim', *worlds]
  rows = [
    study.line(
      [claim, *('; '.join([verdict, *first]) for verdict, first in cells)]
    )
    for claim, cells in _world_rows(worlds)
  ]
  words = [line for part in _COUNTER_WORLDS for line in ('', part)]
  title = ['', f'## {COUNTER_WORLDS}', *words, '']
  return [*title, study.line(head), study.line(['---'] * len(head)), *rows]


def _html_worlds(worlds: Worlds) -> list[str]:
  rows = [
    (
      markup.text(claim),
      *(
        study.verdict(verdict) + study.numbers(first)
        for verdict, first in cells
      ),
    )
    for claim, cells in _world_rows(worlds)
  ]
  head = ('Claim', *worlds)
  return [
    markup.tag('h2', COUNTER_WORLDS),
    *(markup.paragraph(markup.text(words)) for words in _COUNTER_WORLDS),
    markup.table(head, rows),
  ]


def _report(
  out: str, dataset: str, found: Found, worlds: Worlds | None
) -> study.Report:
  about = [f'Data: {dataset}']
  return study.Report(
    title='The linear structure of embedding spaces',
    name='saejax: paper 1',
    about=[*about, study.WORLD] if dataset.startswith('scenes') else about,
    head=('Model', 'Centring'),
    claims=_claims(found),
    figures=study.drawn(out, _figures(list(found))),
    markdown=_markdown_worlds(worlds) if worlds else (),
    html=_html_worlds(worlds) if worlds else (),
  )


def markdown(
  out: str, dataset: str, found: Found, worlds: Worlds | None = None
) -> str:
  """The report as Markdown."""
  return study.markdown(_report(out, dataset, found, worlds))


def html(
  out: str, dataset: str, found: Found, worlds: Worlds | None = None
) -> str:
  """The report as a page; figures lie beside it."""
  return study.html(_report(out, dataset, found, worlds))


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
  return study.write(out, _report(out, dataset, found, worlds))
