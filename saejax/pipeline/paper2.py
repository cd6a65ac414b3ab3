"""The study of arXiv 2506.04706, whole: every stage for one model.

A folder of a study holds store/, layerNN/ with run/, splice/, autointerp/ and
steer-FACTOR/ of every chosen layer, probe/, transfer/ and sharing/; and of one
layer site-store/, its analysis/ and names/, and site/. Of data
whose classes are not known, stages that ask after classes are left out.
"""

from collections.abc import Callable
import dataclasses
import itertools
import os
from typing import Any

from saejax import io
from saejax import results
from saejax import run
from saejax import store as store_lib
from saejax.data import specs
from saejax.explorer import build
from saejax.pipeline import analysing
from saejax.pipeline import caching
from saejax.pipeline import interpreting
from saejax.pipeline import interpreting_explainers as explainers
from saejax.pipeline import interpreting_subject as subject
from saejax.pipeline import naming
from saejax.pipeline import naming_words
from saejax.pipeline import paper2_setup as setup
from saejax.pipeline import probing_layers
from saejax.pipeline import sharing
from saejax.pipeline import splicing
from saejax.pipeline import stages
from saejax.pipeline import steering
from saejax.pipeline import steering_layers
from saejax.report import claims_sight
from saejax.report import paper2 as report
from saejax.report import study as study_report
from saejax.train import loop

SITE = 'site'


@dataclasses.dataclass(frozen=True)
class _Study:
  """A study with all that its config leaves to the model.

  Attributes:
    config: with layers, a size and k.
    width: of the residual stream.
    out: its folder.
    say: tells what is done.
  """

  config: setup.Paper2Config
  width: int
  out: str
  say: stages.Say

  def at(self, *path: str) -> str:
    return os.path.join(self.out, *path)

  def of_layer(self, layer: int, name: str) -> str:
    return self.at(f'layer{layer:02d}', name)

  def sae(self, layer: int) -> str:
    return os.path.join(self.of_layer(layer, 'run'), loop.DICTIONARY)

  @property
  def store(self) -> str:
    return self.at('store')

  @property
  def is_world(self) -> bool:
    return isinstance(specs.parse(self.config.dataset), specs.SceneSet)


def _cache(s: _Study) -> None:
  if os.path.exists(os.path.join(s.store, store_lib.MANIFEST)):
    return
  with stages.stage(s.say, 'Keeping activations'):
    caching.cache(setup.cache_config(s.config), s.store)


def _train(s: _Study) -> None:
  """A dictionary of every chosen layer."""
  for layer in s.config.layers:
    path = s.of_layer(layer, 'run')
    if os.path.exists(os.path.join(s.sae(layer), io.CONFIG)):
      continue
    with stages.stage(s.say, f'Layer {layer}: training a dictionary'):
      loop.train(
        setup.train_config(s.config, s.store, layer), path, resume=True
      )


def _done(s: _Study, what: str, out: str, make: Callable[[], Any]) -> None:
  """Writes what a stage finds, unless its results are there."""
  if results.are_in(out):
    return
  with stages.stage(s.say, what):
    make().write(out)


def _probe(s: _Study) -> None:
  """What can be read at images: by probes of them, and of bare captions."""
  c = s.config
  saes = {layer: s.sae(layer) for layer in c.layers}
  for name, train, of in (
    ('probe', 'image', saes), ('transfer', 'text', {}),
  ):  # fmt: skip
    _done(
      s,
      f'Probing images by {train}s',
      s.at(name),
      lambda train=train, of=of: probing_layers.probe(
        s.store, setup.probe_config(c, train), of
      ),
    )


def _look_into(s: _Study, layer: int) -> None:
  """What a layer's dictionary keeps, and what its concepts are."""
  c, sae = s.config, s.sae(layer)
  _done(
    s,
    f'Layer {layer}: putting reconstructions in place',
    s.of_layer(layer, 'splice'),
    lambda: splicing.splice(setup.splice_config(c, layer), sae),
  )

  def explained():
    found = subject.read(setup.interpret_config(c, sae, s.store, s.is_world))
    prepared = [subject.prepare(found, source) for source in found.sources]
    naming = explainers.Naming(found.train_texts)
    return interpreting.interpret(found, prepared, naming)

  _done(
    s,
    f'Layer {layer}: explaining concepts',
    s.of_layer(layer, 'autointerp'),
    explained,
  )


def _steer(s: _Study) -> None:
  c = s.config
  for layer, factor in itertools.product(c.layers, c.factors):
    out = s.of_layer(layer, f'steer-{factor}')
    if results.are_in(out):
      continue
    with stages.stage(s.say, f'Layer {layer}: steering {factor}'):
      asked = setup.steer_config(c, layer, factor, s.sae(layer))
      steering.steer(asked, out, resume=True)
  _done(
    s,
    'Comparing layers that were steered',
    s.at('steer'),
    lambda: steering_layers.compare(_steered(s), c.nulls),
  )


def _site(s: _Study) -> None:
  """A site of one layer's concepts, with where they fire.

  Pictures of others are left out: whether they may be shown, `explore` asks.
  """
  site, layer = s.at(SITE), s.config.site_layer
  if os.path.exists(site):
    return
  store, sae = s.at('site-store'), s.sae(layer)
  analysis, names = (s.of_layer(layer, n) for n in ('analysis', 'names'))
  with stages.stage(s.say, f'Layer {layer}: making a site of its concepts'):
    if not os.path.exists(os.path.join(store, store_lib.MANIFEST)):
      caching.cache(setup.site_cache_config(s.config), store)
    if not results.are_in(analysis):
      analysing.analyse(sae, store, analysis, 'test', with_twin=False)
    if not results.are_in(names):
      asked = naming.NameConfig(
        sae=sae, store=store, model=naming_words.NO_MODEL
      )
      naming.name(asked, names)
    asked = build.SiteConfig(
      analysis=(analysis,),
      names=(names,),
      thumbnails='auto' if s.is_world else 'none',
    )
    build.write(asked, site, lambda _: None)


def _found(path: str) -> dict[str, Any]:
  return results.read(path) if results.are_in(path) else {}


def _steered(s: _Study) -> dict[str, dict[int, dict[str, Any]]]:
  """What steering found, by factor and layer."""
  c = s.config
  return {
    f: {n: _found(s.of_layer(n, f'steer-{f}')) for n in c.layers}
    for f in c.factors
  }


def _evidence(s: _Study) -> claims_sight.Evidence:
  """What lies in the folder of a study."""
  c = s.config
  by_layer = lambda name: {n: _found(s.of_layer(n, name)) for n in c.layers}
  return claims_sight.Evidence(
    layers=c.layers,
    factors=c.factors,
    width=s.width,
    probe=_found(s.at('probe')),
    transfer=_found(s.at('transfer')),
    sharing=_found(s.at('sharing')),
    splice=by_layer('splice'),
    steer=_steered(s),
    over_layers=_found(s.at('steer')),
    autointerp=by_layer('autointerp'),
  )


def _report(s: _Study) -> str:
  """Writes the report; its path."""
  c, e = s.config, _evidence(s)
  setting = (
    f'Layers {", ".join(map(str, c.layers))} of width {s.width}, layer 0 '
    f'beside them; of each a BatchTopK SAE, trained on tokens of images, of '
    f'the captions after them and of bare captions, with k = {c.k}. Steered at '
    'each, at the positions of the image: class means with all else that '
    'scenes hold being equal are added, or what each token holds of the factor '
    f'alone is turned to them; beside {c.nulls} random directions, and a '
    'quarter as many where tokens are turned. '
    'Explanations are the words that are most distinctive '
    'of the examples of train.'
  )
  judged = [claim(e) for claim in claims_sight.CLAIMS]
  drawn = report.figures(c.layers, c.factors)
  return study_report.write(
    s.out, report.report(s.out, c.model, c.dataset, setting, judged, drawn)
  )


def study(config: setup.Paper2Config, out: str, say: stages.Say = print) -> str:
  """Runs everything that is not there yet; the path of the report.

  Raises:
    UserError, StoreError: something cannot be run.
  """
  setup.check(config)
  asked = {'paper2': dataclasses.asdict(config)}
  run.check_folder(out, asked, resume=True)
  filled, width = setup.fill(config)
  run.open_folder(out, asked, resume=True)
  s = _Study(filled, width, out, say)
  with stages.compiled_once():
    _cache(s)
    _train(s)
    if s.is_world:
      _probe(s)
    saes = [s.sae(layer) for layer in filled.layers]
    _done(
      s,
      'Comparing images and texts',
      s.at('sharing'),
      lambda: sharing.sharing(s.store, saes, sharing.SharingConfig()),
    )
    for layer in filled.layers:
      _look_into(s, layer)
    if s.is_world:
      _steer(s)
    path = _report(s)  # Whatever becomes of the site.
    _site(s)
  return path
