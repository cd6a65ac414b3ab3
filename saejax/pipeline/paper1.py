"""The study of arXiv 2504.11695, whole: every stage for every model."""

from collections.abc import Sequence
import dataclasses
import os
from typing import Any

from saejax import errors
from saejax import io
from saejax import pretrained
from saejax import results
from saejax import run
from saejax import store as store_lib
from saejax.data import specs
from saejax.explorer import build
from saejax.models import hub
from saejax.pipeline import analysing
from saejax.pipeline import embedding
from saejax.pipeline import evaluation
from saejax.pipeline import intervening
from saejax.pipeline import naming
from saejax.pipeline import pareto
from saejax.pipeline import stability_folder
from saejax.pipeline import stability_runs
from saejax.pipeline import stages
from saejax.report import claims
from saejax.report import paper1 as report
from saejax.train import config as config_lib
from saejax.train import loop

SITE = 'site'
CENTERS = ('none', 'modality')
WORLDS = ('full', 'unrelated')  # Captions of the worlds that answer otherwise.
_LATENTS, _STEPS = 256, 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Paper1Config:
  """Flags of `paper1`; its defaults are fit for the small models that ship.

  Attributes:
    models: folders, ids of the hub, or names of models that ship.
    dataset: a spec, see `data.specs`.
    offline: never ask the network for a model.
    arch: variant of the dictionaries that are analysed.
    latents: concepts; or
    expansion: concepts over the width.
    k: mean number of active concepts a row.
    seeds: of the dictionaries that are compared; the first is analysed.
    steps: of training; or
    epochs: passes over the rows.
    lr: peak learning rate.
    l0s: of the curves of R² against L0.
    methods: of those curves.
    alternations: batches that fit those of the methods that take turns.
    draws: matched random sets of each intervention.
    diets: shares of images on which dictionaries are trained beside; or none.
    counter_worlds: run the first model on both other kinds of captions too.
  """

  models: tuple[str, ...]
  dataset: str = 'scenes:n=6000,splits=0.8/0.1/0.1'
  offline: bool = False
  arch: str = 'batch_topk'
  latents: int | None = None
  expansion: float | None = None
  k: int = 8
  seeds: tuple[int, ...] = (0, 1)
  steps: int | None = None
  epochs: float | None = None
  lr: float = 2e-3
  l0s: tuple[int, ...] = (4, 8, 16)
  methods: tuple[str, ...] = ('batch_topk', 'topk', 'jumprelu', 'pca', 'ica',
                              'kmeans', 'semi_nmf')  # fmt: skip
  # Three times as many raise the R² of Semi-NMF on small models by 0.001.
  alternations: int = 100
  draws: int = 60
  diets: tuple[str, ...] = ('1/6', '1/3', '1/2', '2/3', '5/6')
  counter_worlds: bool = False


def _filled(config: Paper1Config) -> Paper1Config:
  """With a size and a length, where neither way of giving them is used."""
  if config.latents is None and config.expansion is None:
    config = dataclasses.replace(config, latents=_LATENTS)
  if config.steps is None and config.epochs is None:
    config = dataclasses.replace(config, steps=_STEPS)
  return config


def _training(config: Paper1Config, store: str, center: str, seed: int):
  return config_lib.TrainConfig(
    store=store,
    arch=config.arch,
    latents=config.latents,
    expansion=config.expansion,
    k=config.k,
    steps=config.steps,
    epochs=config.epochs,
    lr=config.lr,
    mix='equal',
    center=center,
    seed=seed,
  )


def _pareto(config: Paper1Config, stores: Sequence[str]) -> pareto.ParetoConfig:
  return pareto.ParetoConfig(
    stores=tuple(stores),
    methods=config.methods,
    l0s=config.l0s,
    latents=config.latents,
    expansion=config.expansion,
    seeds=config.seeds,
    steps=config.steps,
    epochs=config.epochs,
    lrs=(config.lr,),
    alternations=config.alternations,
  )


def _intervening(config: Paper1Config) -> intervening.InterveneConfig:
  """UserError if there are too few draws."""
  return intervening.InterveneConfig(
    draws=config.draws, images=500, sizes=(8, 16, 32)
  )


def name_of(model: str) -> str:
  """A model's folder: its name without what a path cannot hold."""
  return os.path.normpath(model).replace(os.sep, '--')


def check(config: Paper1Config) -> None:
  """UserError for what a later stage would find."""
  names = [name_of(model) for model in config.models]
  if not names or len(set(names)) < len(names):
    raise errors.UserError(
      f'--models={",".join(config.models)} must name one model or more, each '
      'once.'
    )
  if len(config.seeds) < 2 or len(set(config.seeds)) < len(config.seeds):
    raise errors.UserError('--seeds must be two or more different numbers.')
  data = specs.parse(config.dataset)
  is_world = isinstance(data, specs.SceneSet) and data.captions == 'partial'
  if config.counter_worlds and not is_world:
    raise errors.UserError(
      f'--counter_worlds changes the captions of scenes; --dataset='
      f'{config.dataset} must be scenes:… with captions=partial.'
    )
  shares = stability_runs.parse_shares(config.diets)
  if len(shares) == 1:
    raise errors.UserError(
      f'--diets={",".join(config.diets)}: name two shares or more, or none.'
    )
  config_lib.check(_training(config, '', CENTERS[0], config.seeds[0]))
  pareto.check_flags(_pareto(config, names))
  _intervening(config)


def _center(
  config: Paper1Config, store: str, out: str, center: str, say: stages.Say
):
  """Dictionaries of one centring, evaluated, analysed and compared."""
  runs = {
    seed: os.path.join(out, 'runs', f'seed{seed}') for seed in config.seeds
  }
  saes = [os.path.join(path, loop.DICTIONARY) for path in runs.values()]
  if not all(os.path.exists(os.path.join(sae, io.CONFIG)) for sae in saes):
    with stages.stage(say, f'  Training {len(runs)} dictionaries'):
      for seed, path in runs.items():
        loop.train(_training(config, store, center, seed), path, resume=True)
  folder = lambda name: os.path.join(out, name)
  if not results.are_in(folder('evaluation')):
    results.write(folder('evaluation'), evaluation.evaluate(saes[0], store))
  if not results.are_in(folder('analysis')):
    with stages.stage(say, '  Analysing it beside its Gaussian twin'):
      analysing.analyse(saes[0], store, folder('analysis'), 'test', True)
  if not results.are_in(folder('stability')):
    with stages.stage(say, '  Comparing them'):
      stability_folder.compare_runs(
        saes, [store], folder('stability'), say=lambda _: None
      )
  return saes[0]


def _diets(config: Paper1Config, store: str, out: str, say: stages.Say):
  """Dictionaries of other mixtures of images and texts, compared."""
  shares = stability_runs.parse_shares(config.diets)
  if not shares or results.are_in(out):
    return
  asked = dataclasses.replace(
    _training(config, store, CENTERS[0], config.seeds[0]), mix='natural'
  )
  runs = stability_runs.runs(asked, config.seeds, (), shares)
  with stages.stage(say, f'  Training {len(runs)} on mixtures'):
    stability_folder.train_and_compare(runs, out, say=lambda _: None)


def _uses(
  config: Paper1Config, sae: str, store: str, out: str, say: stages.Say
):
  """What bridges do, and what concepts are called."""
  folder = os.path.join(out, 'intervene')
  if not results.are_in(folder):
    with stages.stage(say, '  Removing bridges beside matched random concepts'):
      found = intervening.intervene(sae, store, _intervening(config))
      found.write(folder)
  folder = os.path.join(out, 'names')
  if not results.are_in(folder):
    with stages.stage(say, '  Naming concepts'):
      naming.name(naming.NameConfig(sae=sae, store=store, model='none'), folder)


def _has_store(out: str) -> bool:
  return os.path.exists(os.path.join(out, 'store', store_lib.MANIFEST))


def _embed(
  config: Paper1Config, model: str, dataset: str, out: str, say: stages.Say
) -> str:
  store = os.path.join(out, 'store')
  if not _has_store(out):
    with stages.stage(say, '  Embedding'):
      asked = embedding.EmbedConfig(
        model=model, dataset=dataset, offline=config.offline
      )
      embedding.embed(asked, store)
  return store


def _model(config: Paper1Config, model: str, out: str, say: stages.Say) -> str:
  """Every stage of one model but the curves; the folder of its store."""
  store = _embed(config, model, config.dataset, out, say)
  for center in CENTERS:
    say(f'  Centring: {center}')
    sae = _center(config, store, os.path.join(out, center), center, say)
    if center == CENTERS[0]:
      _uses(config, sae, store, out, say)
  _diets(config, store, os.path.join(out, 'diets'), say)
  return store


def _world(
  config: Paper1Config, captions: str, out: str, say: stages.Say
) -> list[claims.Judged]:
  """The stages that verdicts rest on, in a world of other captions."""
  model = config.models[0]
  say(f'World with captions={captions}: {model}')
  data = dataclasses.replace(specs.parse(config.dataset), captions=captions)
  store = _embed(config, model, data.spec(), out, say)
  center = CENTERS[0]
  _center(config, store, os.path.join(out, center), center, say)
  _diets(config, store, os.path.join(out, 'diets'), say)
  curves = os.path.join(out, 'pareto')
  _curves(config, [store], curves, say)
  return _judge(out, center, _of_model(results.read(curves), [model], model))


def _curves(config: Paper1Config, stores: list[str], out: str, say: stages.Say):
  if results.are_in(out):
    return
  with stages.stage(say, 'R² against L0 of SAEs and other methods'):
    pareto.compare(_pareto(config, stores), out, resume=True, say=say)


def _of_model(
  entries: dict[str, Any], names: list[str], name: str
) -> dict[str, Any]:
  """What `pareto` found of one store, without the prefix."""
  prefix = 'pareto/' if len(names) == 1 else f'pareto/{name}/'
  return {
    key.removeprefix(prefix): e
    for key, e in entries.items()
    if key.startswith(prefix)
  }


def _judge(
  out: str, center: str, curves: dict[str, Any]
) -> list[claims.Judged]:
  """Every claim of one model and centring, by what lies in its folder."""

  def found(*path: str) -> dict[str, Any]:
    folder = os.path.join(out, *path)
    return results.read(folder) if results.are_in(folder) else {}

  is_first = center == CENTERS[0]  # Some stages are of rows as they are.
  evidence = claims.Evidence(
    pareto=curves if is_first else {},
    stability=found(center, 'stability'),
    analysis=found(center, 'analysis'),
    intervene=found('intervene') if is_first else {},
    diets=found('diets') if is_first else {},
  )
  return [claim(evidence) for claim in claims.CLAIMS]


def judge(
  out: str, models: list[str], stores: list[str]
) -> dict[str, dict[str, list[claims.Judged]]]:
  """Every claim of every model and centring: found[model][center]."""
  panels = pareto.panel_names(stores)
  curves = results.read(os.path.join(out, 'pareto'))
  return {
    model: {
      center: _judge(
        os.path.join(out, model), center, _of_model(curves, panels, panel)
      )
      for center in CENTERS
    }
    for model, panel in zip(models, panels, strict=True)
  }


def _site(config: Paper1Config, names: list[str], out: str, say: stages.Say):
  """A site of every model's concepts, if it is not there.

  Pictures of others are left out: whether they may be shown, `explore` asks.
  """
  site = os.path.join(out, SITE)
  if os.path.exists(site):
    return
  folders = lambda *path: tuple(os.path.join(out, n, *path) for n in names)
  is_drawn = isinstance(specs.parse(config.dataset), specs.SceneSet)
  asked = build.SiteConfig(
    analysis=folders(CENTERS[0], 'analysis'),
    names=folders('names'),
    thumbnails='auto' if is_drawn else 'none',
  )
  with stages.stage(say, 'Making a site of the concepts'):
    build.write(asked, site, lambda _: None)


def study(config: Paper1Config, out: str, say: stages.Say = print) -> str:
  """Runs everything that is not there yet; the path of the report.

  Raises:
    UserError, StoreError: something cannot be run.
  """
  config = _filled(config)
  check(config)
  asked = {'paper1': dataclasses.asdict(config)}
  names = [name_of(model) for model in config.models]
  for name, model in zip(names, config.models, strict=True):
    if not _has_store(os.path.join(out, name)):
      hub.resolve(pretrained.find(model), offline=config.offline)
  run.open_folder(out, asked, resume=True)
  stores, worlds = [], {}
  with stages.compiled_once():
    for i, (name, model) in enumerate(zip(names, config.models, strict=True)):
      say(f'Model {i + 1}/{len(names)}: {model}')
      stores.append(_model(config, model, os.path.join(out, name), say))
    _curves(config, stores, os.path.join(out, 'pareto'), say)
    for captions in WORLDS if config.counter_worlds else ():
      folder = os.path.join(out, 'worlds', captions)
      worlds[captions] = _world(config, captions, folder, say)
  _site(config, names, out, say)
  found = judge(out, names, stores)
  if worlds:
    worlds = {'partial': found[names[0]][CENTERS[0]]} | worlds
  return report.write(out, config.dataset, found, worlds)
