"""The report: one page that shows what was found, and says what it means."""

from collections.abc import Mapping
import dataclasses
import functools
import importlib.resources
from typing import Any

import numpy as np

from saejax import results
from saejax import store as store_lib
from saejax.report import analysis as analysis_lib
from saejax.report import cards
from saejax.report import figures
from saejax.report import markup
from saejax.report import pictures
from saejax.store import files

_GAP_LEAST = 0.4  # Of the shipped model; real CLIP has 0.85.
_TITLE = 'What the vectors of a small CLIP are made of'
_FACT_COLUMNS = (
  '',
  'facts a probe reads',
  'share one concept reads',
  'share that beats all three',
  'share that does both',
)
Entry = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Story:
  """What there is to tell: folders of a store, an analysis, evaluations.

  `evaluations` are by k; `k` is the dictionary that was analysed.
  """

  store: str
  analysis: str
  evaluations: Mapping[int, str]
  k: int
  latents: int

  @functools.cached_property
  def found(self) -> analysis_lib.Analysis:
    return analysis_lib.Analysis(self.analysis)

  @functools.cached_property
  def opened(self) -> store_lib.Store:
    return store_lib.Store(self.store)

  @functools.cached_property
  def thumbnail(self) -> pictures.Thumbnail:
    return pictures.of_store(self.opened.about)

  def entry(self, name: str) -> Entry:
    return self.found.results[name]

  def number(self, name: str) -> str:
    return markup.number(self.entry(name))


def sparsity_points(evaluations: Mapping[int, str]) -> list[dict[str, float]]:
  """One point of the sparsity curve for each evaluation."""
  points = []
  for k, folder in sorted(evaluations.items()):
    found = results.read(folder)
    point: dict[str, float] = {'k': k}
    for prefix in ('', 'image/', 'text/'):
      point[f'{prefix}l0'] = found[f'{prefix}l0']['value']
      for field, key in (('value', ''), ('low', '_low'), ('high', '_high')):
        point[f'{prefix}r2{key}'] = found[f'{prefix}r2'][field]
    points.append(point)
  return points


def _intro(s: Story) -> str:
  streams = {name: len(s.opened[name]) for name in s.opened.streams}
  return markup.tag(
    'header',
    markup.tag('h1', _TITLE),
    markup.paragraph(
      'A vision-language model turns a picture, or a sentence, into one list '
      'of numbers, such that a picture and its caption come out alike. A '
      'sparse autoencoder writes each list as a sum of a few out of many '
      '<i>concepts</i>. This page shows the concepts of a small model that was '
      'trained on a world of drawn scenes whose causes are all known, so that '
      'what is found can be checked.',
    ),
    markup.paragraph(
      f'{streams["image"]:,} pictures and {streams["text"]:,} captions, '
      f'vectors of width {s.opened["image"].d}; a dictionary of {s.latents} '
      f'concepts of which about {s.k} are active at a time. All numbers are '
      'from scenes that neither model nor dictionary was trained on; intervals '
      'hold 95 % and come from resampling scenes.',
    ),
  )


def _model(s: Story) -> str:
  gap = s.entry('raw/gap')
  shows = gap['value'] >= _GAP_LEAST
  verdict = (
    f'It has to be at least {_GAP_LEAST} for what follows to be like real '
    f'models, where it is about 0.85: {"it is" if shows else "it is NOT"}.'
  )
  stream = s.opened['image']
  rows = stream.rows('test')[:8]
  captions: dict[int, str] = {}
  text = s.opened['text']
  wanted = stream.column('pair')[rows]
  pair_N = text.column('pair')
  for pair in wanted:
    first = np.flatnonzero(pair_N == pair)[:1]
    captions[int(pair)] = text.words(first)[0].get('caption', '')
  seen = ''.join(
    cards.image(s.thumbnail, words, markup.text(captions[int(pair)]))
    for words, pair in zip(stream.words(rows), wanted, strict=True)
  )
  return markup.section(
    'model',
    'The model and its world',
    markup.tag('div', seen, class_='strip'),
    markup.paragraph(
      'Captions tell only a part of a scene, as people do; textures and light '
      'are never told, and tense, mood and speaker cannot be seen. Asked for '
      'the caption of a picture among '
      f'{s.entry("raw/text_to_image/recall@1")["n"]:,}, the model puts a right '
      f'one first with probability {s.number("raw/image_to_text/recall@1")}, '
      'among the first ten '
      f'{s.number("raw/image_to_text/recall@10")}; guessing would give '
      f'{s.number("raw/image_to_text/chance@1")}.',
    ),
    markup.paragraph(
      'Pictures and captions lie apart all the same: the distance between '
      f'their means, the <i>modality gap</i>, is {s.number("raw/gap")}. '
      f'{verdict} A picture and its own caption have cosine '
      f'{s.number("raw/paired_cosine")}, any two '
      f'{s.number("raw/unpaired_cosine")}.',
    ),
  )


def _sparsity(s: Story) -> str:
  points = sparsity_points(s.evaluations)
  twin = s.found.twin
  beside = (
    'The same training on a Gaussian twin, data with the same means and '
    'covariances and no structure beyond them, explains '
    f'{markup.number(twin.results["r2"])} where this explains '
    f'{s.number("r2")}: the difference is structure that the concepts found.'
    if twin
    else ''
  )
  return markup.section(
    'sparsity',
    'How much a few concepts explain',
    markup.figure(
      figures.sparsity_curve(points),
      'Share of variance within each modality that is explained, by how many '
      'concepts a row uses. Each point is a dictionary of its own.',
    ),
    markup.paragraph(
      'More active concepts explain more; the shape of the curve says how few '
      f'suffice. With k = {s.k}, retrieval from the reconstructions puts a '
      'right caption first with probability '
      f'{s.number("reconstructed/image_to_text/recall@1")}, against '
      f'{s.number("raw/image_to_text/recall@1")} from the vectors themselves.',
      beside,
    ),
  )


def _modality(s: Story, drawn: Mapping[str, figures.Figure]) -> str:
  floor = 'geometry/cosine_to_gap_floor_'
  twin = s.found.twin
  key = 'modality/single_share'
  beside = (
    f'(in the Gaussian twin {markup.number(twin.results[key])}, so this alone '
    'is no finding)'
    if twin
    else ''
  )
  return markup.section(
    'modality',
    'Which modality concepts speak for',
    markup.figure(
      drawn['modality'],
      'The modality score of a concept is the share of its activity that comes '
      'from pictures. Left, each concept counts once; right, by its energy, '
      'that is how strongly it is used.'
      + (' The line is the Gaussian twin.' if twin else ''),
    ),
    markup.paragraph(
      f'Of {s.number("concepts/live")} concepts that fire, '
      f'{s.number("modality/image")} are surely for pictures alone, '
      f'{s.number("modality/text")} for captions alone and '
      f'{s.number("modality/shared")} surely between. The share beyond the '
      f'cuts is {s.number(key)} {beside}; with modality labels shuffled it '
      f'would be {s.number("modality/single_share_permuted")}.',
    ),
    markup.figure(
      drawn['gap_cosine'],
      'Each dot is a concept. Left means: at a right angle to the direction '
      'that tells pictures from captions.',
    ),
    markup.paragraph(
      'How near do they lie to the gap? 1 would be the gap itself, 0 a right '
      'angle. The median |cos| to its direction is '
      f'{s.number("geometry/cosine_to_gap_median")}, where random directions '
      f'have {s.number(floor + "isotropic")}, and random ones that '
      f'follow the data {s.number(floor + "covariance")}.',
    ),
  )


def _bridges(s: Story, drawn: Mapping[str, figures.Figure]) -> str:
  has_truth = 'bridges/top20_true' in s.found.results
  twin, key = s.found.twin, 'bridges/replicated_cross'
  beside = (
    f'(In the Gaussian twin {markup.number(twin.results[key])} do: its pairs '
    'are correlated as the real ones are.)'
    if twin
    else ''
  )
  truth = (
    'Here we can check: of the '
    f'{s.number("bridges/top20")} strongest, a share of '
    f'{s.number("bridges/top20_true")} joins two concepts that read the '
    'same fact of the scene, and covers '
    f'{s.number("bridges/top20_true_factors")} facts; a further '
    f'{s.number("bridges/top20_related")} joins facts that go together in '
    'this world. Of random pairs, '
    f'{s.number("bridges/random_true")} and '
    f'{s.number("bridges/random_related")} do.'
    if has_truth
    else ''
  )
  return markup.section(
    'bridges',
    'How pictures and captions meet: bridges',
    markup.paragraph(
      'Where concepts speak for one modality each, how does a picture match '
      'its caption? By pairs of concepts, one of each, that fire together on '
      'matched rows and point the same way. The bridge score B of all pairs '
      'adds up to the similarity of matched reconstructions: '
      f'{s.number("bridges/sum_b")} against '
      f'{s.number("bridges/similarity")}, exactly. '
      f'Unmatched rows have {s.number("bridges/sum_b0")} as it is, '
      'so bridges are ranked by what matching adds, their excess. '
      f'{s.number(key)} cross bridges pass a '
      'corrected test on one part of the scenes and hold on another.',
      beside,
    ),
    markup.paragraph(truth) if truth else '',
    markup.figure(
      drawn['bridges'],
      'The strongest cross bridges, and what shuffling leaves.',
    ),
    *cards.bridge_cards(s.found, s.thumbnail, s.opened['image'].labels),
  )


def _factors(s: Story) -> str:
  r = s.found.results
  if 'factors/image/probed' not in r:
    return ''
  rows = []
  for side, what in (('image', 'pictures'), ('text', 'captions')):
    key = f'factors/{side}/'
    if f'{key}read' not in r:
      continue
    names = ('probed', 'read', 'beats', 'read_and_beats')
    rows.append([what, *(markup.number(r[key + n]) for n in names)])
  kinds = ('sae', 'random', 'pca', 'untrained')
  means = [
    [what, *(markup.number(r[f'factors/{side}/mean_auroc_{k}']) for k in kinds)]
    for side, what in (('image', 'pictures'), ('text', 'captions'))
    if f'factors/{side}/read' in r
  ]
  return markup.section(
    'facts',
    'What single concepts read',
    markup.paragraph(
      'Every scene is labelled with what it holds, every caption with what it '
      'mentions. We ask of each fact that a linear probe reads from the '
      'vectors (AUROC at least 0.95) whether one concept alone reads it (at '
      'least 0.90). The concept is chosen on some scenes and scored once on '
      'others, and so is the best of as many random directions, of the '
      'principal axes, and of an untrained dictionary.',
    ),
    markup.table(_FACT_COLUMNS, rows),
    markup.paragraph('Mean AUROC of the chosen readers:'),
    markup.table(['', 'concept', 'random', 'PCA', 'untrained'], means),
  )


def _next() -> str:
  return markup.section(
    'next',
    'The same on real models',
    markup.paragraph(
      'Embeddings that you have already, of images and captions row by row, '
      'go the same way:'
    ),
    markup.tag(
      'pre',
      markup.text(
        './launch.sh import_embeddings --image=images.npy --text=captions.npy '
        '\\\n    --captions=captions.txt --image_paths=paths.txt '
        '--out=runs/store\n'
        './launch.sh train_sae --store=runs/store --expansion=8 --k=16 '
        '--out=runs/sae\n'
        './launch.sh evaluate --sae=runs/sae/sae --store=runs/store '
        '--out=runs/evaluation\n'
        './launch.sh analyse --sae=runs/sae/sae --store=runs/store '
        '--out=runs/analysis\n'
      ),
    ),
    markup.paragraph(
      'Every number of this page stands, with its interval, in '
      '<code>analysis/results.json</code> and '
      '<code>evaluations/*/results.json</code> beside it.'
    ),
  )


def render(s: Story) -> str:
  """The page as HTML."""
  drawn = analysis_lib.draw(s.found, s.found.results)
  style = importlib.resources.files('saejax.report').joinpath('page.css')
  body = (
    _intro(s)
    + _model(s)
    + _sparsity(s)
    + _modality(s, drawn)
    + _bridges(s, drawn)
    + _factors(s)
    + markup.section(
      'concepts',
      'Concepts, the most used of each kind',
      *cards.concept_cards(s.found, s.thumbnail, s.opened['image'].labels),
    )
    + _next()
  )
  return markup.page(_TITLE, style.read_text(encoding='utf-8'), body)


def write(path: str, s: Story) -> None:
  """Writes the page: whole, or not at all."""
  files.write_text(path, render(s))
