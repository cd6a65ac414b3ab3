"""Analyses become a site."""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import functools
import importlib.metadata
import os
import pathlib
import tempfile
from typing import Any

import numpy as np

from saejax import errors
from saejax.explorer import columns
from saejax.explorer import content
from saejax.explorer import heat
from saejax.explorer import matching
from saejax.explorer import parquet
from saejax.explorer import pictures as pictures_lib
from saejax.explorer import records
from saejax.explorer import rows as rows_lib
from saejax.explorer import schema
from saejax.explorer import single_file
from saejax.explorer import sources
from saejax.explorer import texts as texts_lib
from saejax.explorer import tour
from saejax.explorer import writing
from saejax.store import files

THUMBNAILS = ('auto', 'all', 'none')
TARGETS = ('folder', 'hf-space', 'embedding-atlas')
# The classes of an analysis, in its order, as classes of a site.
_CLASSES = np.array(
  [schema.CLASSES.index(c) for c in ('unclassified', 'image', 'shared', 'text')]
)
_SAID = 4  # Captions of a concept that name the places of the map.
Json = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SiteConfig:
  """What a site is made from, and how.

  Attributes:
    names, stability: folders for the analyses in their order; may be fewer.
    thumbnails: 'auto' shows pictures if the store states their licence, 'all'
      in any case, 'none' never.
    max_mb: of all pictures; they become smaller to meet it.
    title: by default, the model's name.
    target: 'folder', or one with what a host or viewer needs beside it.
    static: the built page; by default, the one that saejax has.
  """

  analysis: tuple[str, ...]
  names: tuple[str, ...] = ()
  stability: tuple[str, ...] = ()
  thumbnails: str = 'auto'
  max_mb: float = 900.0
  title: str | None = None
  target: str = 'folder'
  static: pathlib.Path | None = None

  @property
  def page(self) -> pathlib.Path:
    return self.static or writing.static_folder()


def _read_all(config: SiteConfig) -> list[sources.Analysed]:
  paths = config.analysis
  if not paths or len({os.path.abspath(p) for p in paths}) < len(paths):
    raise errors.UserError(
      f'--analysis={",".join(paths)}: name one folder or more, each once.'
    )
  for flag in ('names', 'stability'):
    given = getattr(config, flag)
    if len(given) > len(paths):
      raise errors.UserError(
        f'--{flag} names {len(given)} folders for {len(paths)} analyses: give '
        'one for each, in the same order; leave a place empty for none.'
      )
  padded = lambda given: [*given, *[''] * (len(paths) - len(given))]
  every = zip(
    paths, padded(config.names), padded(config.stability), strict=True
  )
  return [sources.read(p, n or None, s or None) for p, n, s in every]


def _shows_pictures(
  analyses: Sequence[sources.Analysed], thumbnails: str
) -> bool:
  """Whether pictures are published; UserError where that is not settled."""
  if thumbnails == 'none':
    return False
  shown = [a for a in analyses if rows_lib.has_pictures(a)]
  for a in shown:
    if thumbnails == 'auto' and rows_lib.licence(a) is None:
      raise errors.UserError(
        f'The store {a.store.path} does not state the licence of its pictures, '
        'and a site would publish them again. Leave them out with '
        '--thumbnails=none, or show them with --thumbnails=all if you may.'
      )
  return bool(shown)


def _clusters(
  a: sources.Analysed, labels: texts_lib.Labels, place_N4, ids, texts
) -> list[Json]:
  """Names of places on the map."""
  text_NX = ids.of('text', a.evidence['text_rows'][a.live, :_SAID])
  words_of = functools.cache(lambda i: texts_lib.words(texts[i]))
  said = [
    list(dict.fromkeys(w for i in own if i >= 0 for w in words_of(i)))
    for own in text_NX.tolist()
  ]
  energy_N = (a.concepts['energy_image'] + a.concepts['energy_text'])[a.live]
  return texts_lib.clusters(
    a.evidence['cluster'][a.live], place_N4, labels.best, energy_N, said
  )


def _tail(path: str) -> str:
  """The end of a path, without what it says of the machine."""
  parts = [
    p for p in os.path.normpath(path).split(os.sep) if p not in ('', '.')
  ]
  return '/'.join(parts[-2:])


def _about(a: sources.Analysed, id_: str) -> Json:
  arch = a.config.get('arch', 'unknown')
  latents, k = a.about['latents'], a.about['k']
  trained = a.config.get('provenance', {})
  settings = trained.get('config') or {}
  keys = ('seed', 'data_seed', 'steps', 'lr', 'batch', 'mix', 'center', 'scale')
  commit = a.record.get('provenance', {}).get('commit')
  made = {key: settings[key] for key in keys if key in settings}
  name = f'{arch}, {latents:,} concepts, k = {k}'
  layer = (a.about.get('streams') or {}).get('image', '').partition('.')[0]
  where = f', layer {int(layer[5:])}' if layer.startswith('layer') else ''
  return {
    'title': f'{name}, of {a.model}{where}',
    'model': a.model,
    'dataset': a.dataset,
    'arch': arch,
    'latents': latents,
    'k': k,
    'split': a.about['split'],
    'rows': a.about['rows'],
    'reads': a.reads,
    'row': a.about.get('row', 'A row is a picture or a text.'),
    'heat': a.about.get('heat'),
    'cuts': {'image': 0.9, 'text': 0.1},
    'bands': a.about['bands'],
    'sampling': a.about['sampling'],
    'steering': {'strengths': a.about['strengths'], 'what': a.about['steering']}
    if len(a.evidence['steer_concepts'])
    else None,
    'python': f"import saejax\nsae, params = saejax.load('{_tail(a.sae)}')\n"
    "direction = params['params']['w_dec'][{id}]",
    'bibtex': f'@misc{{{id_},\n  title = {{Concepts of {a.model}: {name}}},\n'
    '  howpublished = {saejax concept explorer}\n}',
    'provenance': {
      'commit': commit,
      'store': a.store.hash,
      'trained': made,
    },
  }


def _edges(a: sources.Analysed, index_S: np.ndarray) -> content.Edges:
  b = a.bridges
  image_M, text_M = (index_S[b[f'{s}_concept']] for s in ('image', 'text'))
  if dead := int(((image_M < 0) | (text_M < 0)).sum()):
    raise errors.UserError(
      f'{a.path} has {dead} bridges of concepts that it does not list as live: '
      'it was written by an older analyse. Run it again, with another --out.'
    )
  flags_M = (
    b['replicated'] * schema.REPLICATED
    + b['cross'] * schema.CROSS
    + b['aligned'] * schema.ALIGNED
    + (image_M == text_M) * schema.SELF
  )
  return content.Edges(
    image_M=image_M,
    text_M=text_M,
    columns=columns.of_bridges(a),
    flags_M=flags_M,
  )


def _dictionary(
  a: sources.Analysed, id_: str, ids: records.Ids, shown: rows_lib.Shown
) -> content.Dictionary:
  live, e = a.live, a.evidence
  labels = texts_lib.labels(a)
  place_N4 = np.concatenate(
    [a.concepts['map'][live], e['map_split'][live]], axis=1
  )
  edges = _edges(a, ids.index_S)
  first_NX = ids.of('image', e['image_rows'][live])[
    :, : a.about['bands'][0]['size']
  ]
  medoid_N = first_NX[:, 0] if len(live) else np.zeros(0, int)
  sensitive_N = np.isin(first_NX, shown.sensitive).any(1)
  flags_N = np.array([schema.LABELLED * bool(x) for x in labels.best], np.uint8)
  flags_N = flags_N | (sensitive_N * schema.SENSITIVE).astype(np.uint8)
  heats = heat.Heats(a, shown.texts)
  mapped_N = np.zeros(len(live), bool)
  for side in heat.SIDES:
    shown_N = (ids.of(side, e[f'{side}_rows'][live]) >= 0).any(1)
    mapped_N |= heats.fires(side, live) & shown_N
  flags_N = flags_N | (mapped_N * schema.HEAT).astype(np.uint8)
  near_N8 = e['near'][live]
  return content.Dictionary(
    id=id_,
    about=_about(a, id_),
    id_N=live,
    place_N4=place_N4,
    columns=columns.of_concepts(a, labels.score_N),
    class_N=_CLASSES[a.concepts['modality_class'][live]],
    flags_N=flags_N,
    edges=edges,
    near_N8=np.where(near_N8 >= 0, ids.index_S[near_N8], -1),
    near_cosine_N8=e['near_cosine'][live],
    labels=labels.best,
    source_N=labels.source_N,
    sources=labels.sources,
    clusters=_clusters(a, labels, place_N4, ids, shown.texts),
    medoid_N=medoid_N,
    concept=records.concept_record(
      a, ids, labels, np.stack([edges.image_M, edges.text_M]), heats
    ),
    bridge=records.bridge_record(a, ids),
    shown_bridges=len(e['bridge_table']),
    examples=records.query_examples(a, ids),
  )


def _card(analyses: Sequence[sources.Analysed], with_pictures: bool) -> Json:
  joined = lambda found: '; '.join(dict.fromkeys(f for f in found if f))
  told = lambda a, key: a.store.about.get(key) or ''
  try:
    version = importlib.metadata.version('saejax')
  except importlib.metadata.PackageNotFoundError:
    version = ''
  commits = [a.record.get('provenance', {}).get('commit') for a in analyses]
  notes = [] if with_pictures else ['This site is made without pictures.']
  if any(a.about['split'] != 'test' for a in analyses):
    notes.append('Numbers are of all rows, those that were trained on too.')
  drawn = any(pictures_lib.world_of(a.store.about) for a in analyses)
  whence = 'drawn by saejax' if drawn else 'the data set'
  return {
    'dataset': joined(a.dataset for a in analyses),
    'licence': joined(str(told(a, 'licence')) for a in analyses) or 'unknown',
    'citation': joined(str(told(a, 'citation')) for a in analyses),
    'pictures_from': whence if with_pictures else 'none',
    'made_with': f'saejax {version}'.strip(),
    'commit': joined(commits),
    'notes': notes,
  }


def site(config: SiteConfig) -> content.Site:
  """Reads everything, and says what the site holds.

  Raises:
    UserError, StoreError: something cannot be read, or must not be shown.
  """
  analyses = _read_all(config)
  writing.check_page(config.page)
  with_pictures = _shows_pictures(analyses, config.thumbnails)
  shown = rows_lib.collect(analyses, with_pictures)
  saes = []
  ids = sources.ids(config.analysis)
  for i, (a, id_) in enumerate(zip(analyses, ids, strict=True)):
    own = records.Ids(shown.picture_R[i], shown.text_R[i], a.index_S)
    saes.append(_dictionary(a, id_, own, shown))
  pictures = dataclasses.replace(
    pictures_lib.from_sources(shown.pictures), sensitive=shown.sensitive
  )
  models = dict.fromkeys(a.model for a in analyses)
  return content.Site(
    title=config.title or f'Concepts of {", ".join(models)}',
    dictionaries=saes,
    card=_card(analyses, bool(shown.pictures)),
    texts=shown.texts,
    pictures=pictures,
    matches=matching.match_all(analyses, ids),
    tour=tour.stops(saes[0]),
  )


def _write_into(
  config: SiteConfig, made: content.Site, folder: str, say: Callable
) -> None:
  writing.write_page(folder, config.page)
  say(f'Encoding {made.pictures.count:,} pictures …')
  side, packs = pictures_lib.packs_within(
    made.pictures, int(config.max_mb * 1e6)
  )
  say(f'Writing {len(made.texts):,} texts and the records of concepts …')
  writing.write_data(made, folder, side, packs)
  if config.target == 'hf-space':
    about = f'Made with {made.card["made_with"]}.'
    writing.write_readme(folder, made.title, about)
  if config.target == 'embedding-atlas':
    parquet.write(folder, made)


def write(
  config: SiteConfig, out: str, say: Callable[[str], None] = print
) -> str:
  """Makes a site at `out`, whole or not at all; returns the path.

  Raises:
    UserError, StoreError: something is missing, or `out` is taken; nothing is
      left behind.
  """
  writing.check_vacant(out)
  made = site(config)
  with writing.whole(out) as folder:
    _write_into(config, made, folder, say)
  return out


def write_single(
  config: SiteConfig, out: str, say: Callable[[str], None] = print
) -> str:
  """Makes a site as one HTML file; returns its path, and raises likewise."""
  single_file.check_path(out)
  if config.target != 'folder':
    raise errors.UserError(
      f'--target={config.target} is a folder; leave out --single_file.'
    )
  made = site(config)
  single_file.check(made)
  with tempfile.TemporaryDirectory() as folder:
    _write_into(config, made, folder, say)
    page = single_file.combine(folder)
  os.makedirs(os.path.dirname(os.path.abspath(out)), exist_ok=True)
  files.write_text(out, page)
  return out
