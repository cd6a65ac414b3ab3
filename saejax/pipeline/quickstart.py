"""From nothing to a report: every stage on the procedural world, in a row."""

from collections.abc import Callable
import dataclasses
import os

from saejax import errors
from saejax import nn
from saejax import pretrained
from saejax import results
from saejax import run
from saejax import store as store_lib
from saejax.data import specs
from saejax.explorer import build
from saejax.pipeline import analysing
from saejax.pipeline import embedding
from saejax.pipeline import evaluation
from saejax.pipeline import stages
from saejax.pipeline import vlm
from saejax.report import page
from saejax.train import config as config_lib
from saejax.train import loop

REPORT, SITE = 'report.html', 'site'
# Those that have k concepts a row, and codes that can be analysed.
ARCHS = tuple(
  name for name, m in nn.ARCHITECTURES.items() if m.meets_k and not m.signed
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuickstartConfig:
  """Flags of `quickstart`; the defaults take about five minutes on two cores.

  `ks` are the L0s of the curve, `k` the one of them that is analysed.
  """

  scenes: int = 24_576
  seed: int = 2
  captions: str = 'partial'
  arch: str = 'batch_topk'
  latents: int = 256
  ks: tuple[int, ...] = (4, 8, 16)
  k: int = 8
  steps: int = 1_500
  lr: float = 2e-3
  retrain: bool = False
  vlm_steps: int = 600

  @property
  def dataset(self) -> str:
    # More held-out rows than usual, so that rare factors can be told.
    return (
      f'scenes:n={self.scenes},seed={self.seed},captions={self.captions},'
      'splits=0.7/0.15/0.15'
    )


def _check(config: QuickstartConfig) -> None:
  """Mistakes that a stage would find only after the work of those before."""
  if config.k not in config.ks:
    ks = ','.join(map(str, config.ks))
    raise errors.UserError(f'--k={config.k} must be one of --ks={ks}.')
  if min(config.steps, config.vlm_steps) < 1:
    raise errors.UserError('--steps and --vlm_steps must be positive.')
  if config.arch not in ARCHS:
    raise errors.UserError(
      f'--arch={config.arch} is not for the quickstart, which sets k and '
      f'analyses: choose one of {", ".join(ARCHS)}.'
    )
  if min(config.ks) < 1:
    raise errors.UserError(f'--ks={min(config.ks)} must be at least 1.')
  if max(config.ks) > config.latents:
    raise errors.UserError(
      f'--k={max(config.ks)} is larger than the dictionary: it has '
      f'{config.latents} concepts.'
    )
  specs.parse(config.dataset)


def _model(config: QuickstartConfig, out: str) -> str:
  """The folder of the model: the one that ships, or one trained here."""
  if not config.retrain:
    return pretrained.path('clip-scenes')
  trained = vlm.VLMConfig(
    steps=config.vlm_steps, captions=config.captions, checkpoint_every=200
  )
  return vlm.train_vlm(trained, os.path.join(out, 'vlm'), resume=True)


def training(
  config: QuickstartConfig, store: str, k: int
) -> config_lib.TrainConfig:
  """How the dictionary of one k is trained."""
  return config_lib.TrainConfig(
    store=store,
    arch=config.arch,
    latents=config.latents,
    k=k,
    steps=config.steps,
    lr=config.lr,
    mix='equal',
    checkpoint_every=500,
  )


def quickstart(
  config: QuickstartConfig, out: str, say: Callable[[str], None] = print
) -> str:
  """Runs every stage; returns the path of `report.html`, beside `site`.

  Killed, it goes on when run again with the same arguments.

  Raises:
    UserError: `out` holds something else, or a setting cannot be run.
  """
  _check(config)
  run.open_folder(out, {'quickstart': dataclasses.asdict(config)}, resume=True)
  store, analysis = os.path.join(out, 'store'), os.path.join(out, 'analysis')
  with stages.stage(say, f'1/6 Model: {_model_words(config)}'):
    model = _model(config, out)
  with stages.stage(
    say, f'2/6 Embedding {config.scenes:,} scenes and captions'
  ):
    if not os.path.exists(os.path.join(store, store_lib.MANIFEST)):
      asked = embedding.EmbedConfig(model=model, dataset=config.dataset)
      embedding.embed(asked, store)
  dictionaries = {}
  ks = ', '.join(map(str, config.ks))
  with stages.stage(
    say, f'3/6 Training dictionaries of {config.latents} (k={ks})'
  ):
    for k in config.ks:
      trained = os.path.join(out, 'runs', f'k{k}')
      dictionaries[k] = loop.train(training(config, store, k), trained, True)
  evaluations = {}
  with stages.stage(say, '4/6 Evaluating them on scenes that nothing has seen'):
    for k, sae in dictionaries.items():
      evaluations[k] = os.path.join(out, 'evaluations', f'k{k}')
      if not results.are_in(evaluations[k]):
        results.write(evaluations[k], evaluation.evaluate(sae, store))
  with stages.stage(
    say, f'5/6 Analysing k={config.k} beside its structureless twin'
  ):
    if not results.are_in(analysis):
      sae = dictionaries[config.k]
      analysing.analyse(sae, store, analysis, 'test', with_twin=True)
  site = os.path.join(out, SITE)
  with stages.stage(say, '6/6 Making a site of its concepts'):
    if not os.path.exists(site):
      build.write(build.SiteConfig(analysis=(analysis,)), site, lambda _: None)
  report = os.path.join(out, REPORT)
  page.write(
    report,
    page.Story(
      store=store,
      analysis=analysis,
      evaluations=evaluations,
      k=config.k,
      latents=config.latents,
    ),
  )
  return report


def _model_words(config: QuickstartConfig) -> str:
  if config.retrain:
    return f'training a small CLIP from nothing, {config.vlm_steps} steps'
  return 'the small CLIP that saejax ships'
