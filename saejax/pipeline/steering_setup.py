"""What `steer` is asked for, and what it works with: a model and directions."""

from collections.abc import Sequence
import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from saejax import errors
from saejax import io
from saejax import pretrained
from saejax.analysis import steering as steering_lib
from saejax.data import specs
from saejax.models import llava_folder
from saejax.pipeline import embedding
from saejax.pipeline import onward
from saejax.pipeline import steering_directions as directions_lib
from saejax.pipeline import steering_effects as effects
from saejax.pipeline import steering_scenes
from saejax.pipeline import trained_on
from saejax.report import claims_steering

_PART = 4  # Of so many directions by chance one turns tokens.
_POOL = 4000  # Scenes of val or test that are looked at, at most.
LEAST_SCENES = directions_lib.LEAST_SCENES


@dataclasses.dataclass(frozen=True, kw_only=True)
class SteerConfig:
  """Flags of `steer`.

  Attributes:
    model: a model folder, an id on the hub, or the name of a model that ships.
    layer: whose input is edited.
    factor: whose classes are steered, of `steering_scenes.FACTORS`.
    dataset: `scenes:…`.
    classes: that are steered; empty for all.
    sites: where and how is edited, of `onward.SITES`.
    directions: kinds, of `steering_directions.KINDS`.
    tested: the kind that is held against directions by chance.
    strengths: in units of the mean length of an image token; where tokens are
      turned, of the length that each has in what is turned, times what the
      classes lost to other factors.
    damage: that a strength may do, in nats per token.
    images: scenes that are asked about, of each class.
    captions: other scenes whose captions are told.
    train_scenes: that directions are made of, at most.
    nulls: directions by chance, half of them of shuffled labels; where tokens
      are turned a quarter of them, or as many as a class needs to pass.
    rollouts: scenes of each class that are written about.
    atoms: of sparse decompositions.
    prompt: how a row reads; {image} and {question} are filled in.
    letters: that name options; none asks plainly, for the name of a class.
    sae: folder of an SAE of the layer, or None.
    revision: branch, tag or commit on the hub; None for `main`.
    offline: never ask the network for the model.
    dtype: of the parameters and the computation.
    batch: rows at a time.
    seed: of what is drawn.
  """

  model: str = 'llava-scenes'
  layer: int
  factor: str = 'colour'
  dataset: str = 'scenes'
  classes: tuple[str, ...] = ()
  sites: tuple[str, ...] = onward.SITES
  directions: tuple[str, ...] = (
    'adjusted', 'means', 'probe', 'text', 'unembed', 'random',
  )  # fmt: skip
  tested: str = 'adjusted'
  strengths: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)
  damage: float = 0.25
  images: int = 16
  captions: int = 32
  train_scenes: int = 2000
  nulls: int = 999
  rollouts: int = 4
  atoms: int = 64
  prompt: str = 'USER: {image} {question} ASSISTANT:'
  letters: tuple[str, ...] = ()
  sae: str | None = None
  revision: str | None = None
  offline: bool = False
  dtype: str = 'float32'
  batch: int = 32
  seed: int = 0

  def __post_init__(self):
    for name, known in (
      ('sites', onward.SITES), ('directions', directions_lib.KINDS),
    ):  # fmt: skip
      for value in getattr(self, name) or ('',):
        if value not in known:
          raise errors.UserError(
            f'--{name}: {value!r} is unknown; choose of {", ".join(known)}.'
          )
    if self.factor not in steering_scenes.FACTORS:
      raise errors.UserError(
        f'--factor={self.factor} is unknown; choose of '
        f'{", ".join(steering_scenes.FACTORS)}.'
      )
    for name in self.classes:
      if name not in steering_scenes.FACTORS[self.factor]:
        raise errors.UserError(
          f'--classes: {name!r} is no {self.factor}; choose of '
          f'{", ".join(steering_scenes.FACTORS[self.factor])}.'
        )
    if len(self.classes) == 1:
      raise errors.UserError('--classes: name two or more, or none for all.')
    if self.tested not in self.directions:
      raise errors.UserError(
        f'--tested={self.tested} is not among --directions.'
      )
    if 'sae' in self.directions and self.sae is None:
      raise errors.UserError('--directions: sae needs --sae.')
    for name, least in (
      ('layer', 0), ('images', 1), ('captions', 1), ('train_scenes', 20),
      ('nulls', 19), ('rollouts', 0), ('atoms', 1), ('batch', 1), ('seed', 0),
    ):  # fmt: skip
      if getattr(self, name) < least:
        raise errors.UserError(
          f'--{name}={getattr(self, name)} must be at least {least}.'
        )
    rises = all(np.diff(self.strengths) > 0)
    if not self.strengths or self.strengths[0] <= 0 or not rises:
      raise errors.UserError('--strengths must be above 0, and rise.')
    if self.damage <= 0:
      raise errors.UserError(f'--damage={self.damage} must be positive.')
    marks = [self.prompt.count(m) for m in ('{image}', '{question}')]
    if marks != [1, 1]:
      raise errors.UserError(
        f'--prompt={self.prompt!r} must hold {{image}} and {{question}} once.'
      )
    if self.dtype not in embedding.DTYPES:
      raise errors.UserError(
        f'--dtype={self.dtype} is unknown: choose '
        f'{" or ".join(embedding.DTYPES)}.'
      )
    if len(self.letters) == 1:
      raise errors.UserError('--letters: name two or more, or none.')


@dataclasses.dataclass(frozen=True)
class Made:
  """Directions of classes, and those by chance.

  Attributes:
    directions: by kind.
    classes: that have a direction of every kind, and sources.
    null_ND: by chance.
    entering: what they are made of.
  """

  directions: directions_lib.Directions
  classes: Sequence[int]
  null_ND: np.ndarray
  entering: directions_lib.Entering


def scenes_of(config: SteerConfig) -> specs.SceneSet:
  data = specs.parse(config.dataset)
  if not isinstance(data, specs.SceneSet):
    raise errors.UserError(
      f'--dataset={config.dataset} must be scenes:…, whose classes are known.'
    )
  return data


def load(config: SteerConfig) -> llava_folder.LLaVA:
  """The model on the device; UserError where it has no such layer."""
  model = llava_folder.load(
    pretrained.find(config.model),
    revision=config.revision,
    offline=config.offline,
    dtype=jnp.dtype(config.dtype),
  )
  count = model.module.config.text.num_hidden_layers
  if config.layer > count:
    raise errors.UserError(
      f'--layer={config.layer}: there is no such layer; the model has {count}, '
      f'and {count} stands for what leaves the last.'
    )
  return dataclasses.replace(model, params=jax.device_put(model.params))


def _split(data, config: SteerConfig, split: str, side: int):
  """Scenes that are asked about, and others whose captions are told."""
  shown = steering_scenes.show(data, split, _POOL, side)
  if len(shown) < 2 * config.captions:
    raise errors.UserError(
      f'--dataset has {len(shown)} scenes of one thing in {split}; --captions='
      f'{config.captions} needs twice as many.'
    )
  cut = len(shown) - config.captions
  return shown.take(np.arange(cut)), shown.take(np.arange(cut, len(shown)))


def make(config: SteerConfig, asker: steering_scenes.Asker, sae: Any) -> Made:
  """Directions of classes and by chance, of training scenes.

  Raises:
    UserError: fewer than two classes have enough scenes.
  """
  data = scenes_of(config)
  side = asker.model.module.config.vision.image_size
  shown = steering_scenes.show(data, 'train', config.train_scenes, side)
  e = directions_lib.read(
    asker, shown, data.world, config.factor, config.layer, sae
  )
  w_dec_SD = None if sae is None else np.asarray(sae[1]['params']['w_dec'])
  made = directions_lib.directions(
    asker, e, config.factor, config.directions, w_dec_SD, config.seed
  )
  names = steering_scenes.FACTORS[config.factor]
  counts_C = np.bincount(e.label_n, minlength=len(names))
  whole_C = np.all([np.isfinite(v).all(1) for v in made.unit.values()], axis=0)
  classes = [
    c
    for c, name in enumerate(names)
    if whole_C[c]
    and counts_C[c] >= LEAST_SCENES
    and (not config.classes or name in config.classes)
  ]
  if len(classes) < 2:
    raise errors.UserError(
      f'Of the classes of {config.factor}, {len(classes)} have '
      f'{LEAST_SCENES} scenes in train: give --dataset or --train_scenes more.'
    )
  half = config.nulls // 2
  null_ND = np.concatenate(
    [
      steering_lib.like_covariance(
        e.image_nD, config.nulls - half, config.seed + 1
      ),
      steering_lib.of_shuffled(e.image_nD, e.label_n, half, config.seed + 2),
    ]
  )
  return Made(made, classes, null_ND, e)


def at(
  site: str, s: effects.Subject, made: Made
) -> tuple[str, effects.Subject, Made]:
  """A site with who is asked there, and directions as they are taken there.

  What is turned is the span of the factor's classes without what tells those of
  other factors, and directions, those by chance among them, are taken within
  it. A strength of 1 then gives a token the length that it has in there, times
  what the classes lost by that. Little damage is done, so that nearly every
  strength is asked about, of a part of the directions by chance.
  """
  if site != 'turned':
    return site, s, made
  e = made.entering
  own_nD, lost = directions_lib.own_span(e, s.factor)
  within = lambda v_ND: steering_lib.unit(v_ND @ own_nD.T @ own_nD)
  unit = {kind: within(v_CD) for kind, v_CD in made.directions.unit.items()}
  # As many as a class needs to pass, corrected for all of them.
  least = math.ceil(len(made.classes) / claims_steering.LEVEL)
  every = max(len(made.null_ND) // max(least, len(made.null_ND) // _PART), 1)
  made = dataclasses.replace(
    made,
    directions=dataclasses.replace(made.directions, unit=unit),
    null_ND=within(made.null_ND[::every]),
  )
  span = onward.Span(
    basis_nD=own_nD.astype(np.float32),
    centre_D=e.image_nD.mean(0).astype(np.float32),
  )
  return site, dataclasses.replace(s, norm=lost, span=span), made


def load_sae(config: SteerConfig, model: llava_folder.LLaVA) -> Any:
  """The SAE and its variables, or None; UserError where it does not fit."""
  if config.sae is None:
    return None
  sae = io.load(config.sae)
  trained_on.check(config.sae, config.layer)
  d = model.module.config.text.hidden_size
  if sae[0].d != d:
    raise errors.UserError(
      f'--sae={config.sae} reads rows of width {sae[0].d}; the residual stream '
      f'of the model has {d}.'
    )
  return sae


def subject(config: SteerConfig, model: llava_folder.LLaVA) -> effects.Subject:
  """The model with its scenes; strengths have no unit yet."""
  data = scenes_of(config)
  asker = steering_scenes.Asker(
    model, config.prompt, config.batch, config.letters
  )
  names = config.letters or steering_scenes.FACTORS[config.factor]
  if len(set(asker.word_ids(names))) < len(names):
    raise errors.UserError(
      f'{",".join(names)}: two of these begin with the same token of the '
      'model. Give other --letters, such as A,B,C,D.'
    )
  side = model.module.config.vision.image_size
  pools = {p: _split(data, config, p, side) for p in ('val', 'test')}
  return effects.Subject(
    asker=asker,
    world=data.world,
    factor=config.factor,
    layer=config.layer,
    norm=1.0,
    strength_K=np.array(config.strengths),
    asked={p: pool[0] for p, pool in pools.items()},
    told={p: pool[1] for p, pool in pools.items()},
    images=config.images,
  )
