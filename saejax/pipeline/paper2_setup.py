"""What `paper2` is asked for, and what its stages are asked for by it."""

import dataclasses

import numpy as np

from saejax import errors
from saejax import pretrained
from saejax.data import questions
from saejax.data import scenes
from saejax.data import specs
from saejax.models import llava_folder
from saejax.pipeline import caching
from saejax.pipeline import interpreting_subject as subject
from saejax.pipeline import probing_tasks
from saejax.pipeline import splicing_setup
from saejax.pipeline import steering_scenes
from saejax.pipeline import steering_setup
from saejax.report import claims_steering
from saejax.train import config as config_lib

_CHOSEN = (1 / 6, 1 / 2, 5 / 6)  # Of the depth.
_EXPANSION = 8.0
# Images take more concepts than texts, and k is the mean over both.
_K = 3 / 64  # Of the width.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Paper2Config:
  """Flags of `paper2`; its defaults are fit for the small model that ships.

  Attributes:
    model: a model folder, an id on the hub, or the name of a model that ships.
    dataset: a spec, see `data.specs`; classes are known of scenes.
    layers: that are studied, from 1; empty for three over the depth. Layer 0 is
      read beside them.
    latents: concepts of each dictionary; or
    expansion: concepts over the width.
    k: mean number of active concepts a token; None for 3/64 of the width.
    steps: of training.
    lr: peak learning rate.
    per_example: positions of each stream that are kept of an example; None for
      all.
    factors: whose classes are read and steered.
    classes: of each factor that are steered, at most.
    images: that are asked about, of each class that is steered.
    captions: of other scenes, that tell the damage.
    nulls: directions by chance.
    examples: that reconstructions are spliced into, at most.
    concepts: of each dictionary that are explained.
    site_layer: whose concepts the site shows; None for the middle one.
    site_examples: of which it shows where they fire.
    prompt: how a row reads before its answer.
    offline: never ask the network for the model.
    dtype: of the model's parameters and the computation.
    batch: rows of the model at a time.
    seed: of dictionaries and draws.
  """

  model: str = 'llava-scenes'
  dataset: str = 'scenes:n=4000,splits=0.7/0.1/0.2'
  layers: tuple[int, ...] = ()
  latents: int | None = None
  expansion: float | None = None
  k: int | None = None
  steps: int = 1000
  lr: float = 2e-3
  per_example: int | None = None
  factors: tuple[str, ...] = ('colour', 'shape')
  classes: int = 5
  images: int = 8
  captions: int = 16
  nulls: int = 399
  examples: int = 800
  concepts: int = 40
  site_layer: int | None = None
  site_examples: int = 1000
  prompt: str = 'USER: {image} {question} ASSISTANT:'
  offline: bool = False
  dtype: str = 'float32'
  batch: int = 32
  seed: int = 0


def cache_config(c: Paper2Config) -> caching.CacheConfig:
  return caching.CacheConfig(
    model=c.model,
    dataset=c.dataset,
    layers=tuple(sorted({0, *c.layers})),
    prompt=c.prompt.replace('{question}', questions.DESCRIBE) + ' {caption}',
    per_example=c.per_example,
    tower=True,
    offline=c.offline,
    dtype=c.dtype,
    batch=c.batch,
  )


def site_cache_config(c: Paper2Config) -> caching.CacheConfig:
  """Some examples with all of their positions, at the layer of the site."""
  return dataclasses.replace(
    cache_config(c),
    layers=(c.site_layer,),
    per_example=None,
    tower=False,
    examples=c.site_examples,
  )


def train_config(c: Paper2Config, store: str, layer: int):
  return config_lib.TrainConfig(
    store=store,
    streams=tuple(caching.stream_name(layer, x) for x in caching.CONTEXTS),
    latents=c.latents,
    expansion=c.expansion,
    k=c.k,
    steps=c.steps,
    lr=c.lr,
    mix='equal',
    # So that what fires nowhere stands for the mean, the floor of splicing.
    center='modality',
    # Else the modality of longer rows takes most of the concepts.
    scale='modality',
    seed=c.seed,
  )


def probe_config(c: Paper2Config, train: str) -> probing_tasks.ProbeConfig:
  return probing_tasks.ProbeConfig(
    labels=c.factors,
    probes=('multinomial',),
    train_stream=train,
    test_stream='image',
    seed=c.seed,
  )


def splice_config(c: Paper2Config, layer: int) -> splicing_setup.SpliceConfig:
  return splicing_setup.SpliceConfig(
    model=c.model, layer=layer, dataset=c.dataset, examples=c.examples,
    prompt=c.prompt, offline=c.offline, dtype=c.dtype, batch=c.batch,
  )  # fmt: skip


def steer_config(c: Paper2Config, layer: int, factor: str, sae: str | None):
  return steering_setup.SteerConfig(
    model=c.model,
    layer=layer,
    factor=factor,
    dataset=c.dataset,
    classes=steering_scenes.FACTORS[factor][: c.classes],
    sites=('image', 'turned'),
    directions=('adjusted', 'means', *(('sae',) if sae else ()), 'random'),
    strengths=(0.5, 1.0, 2.0),
    images=c.images,
    captions=c.captions,
    nulls=c.nulls,
    prompt=c.prompt,
    sae=sae,
    offline=c.offline,
    dtype=c.dtype,
    batch=c.batch,
    seed=c.seed,
  )


def interpret_config(c: Paper2Config, sae: str, store: str, is_world: bool):
  return subject.InterpretConfig(
    sae=sae,
    store=store,
    dataset=None if is_world else c.dataset,
    concepts=c.concepts,
    seed=c.seed,
  )


def _check_flags(c: Paper2Config) -> None:
  """UserError for what the flags say by themselves."""
  for layer in c.layers:
    if layer < 1:
      raise errors.UserError(
        f'--layers names {layer}: name layers from 1; layer 0 is read beside '
        'them.'
      )
  known = ', '.join(steering_scenes.FACTORS)
  for factor in c.factors or ('',):
    if factor not in steering_scenes.FACTORS:
      raise errors.UserError(
        f'--factors: {factor!r} is unknown; choose of {known}.'
      )
  for name, least in (
    ('classes', 2), ('steps', 1), ('per_example', 2), ('k', 1),
    ('site_examples', 50),
  ):  # fmt: skip
    value = getattr(c, name)
    if value is not None and value < least:
      raise errors.UserError(f'--{name}={value} must be at least {least}.')


def _check_nulls(c: Paper2Config, layers: int) -> None:
  """UserError where the correction over classes and layers lets none pass.

  Holm: the least p of a class, one over nulls and itself, times the tests.
  """
  most = max(min(c.classes, len(steering_scenes.FACTORS[f])) for f in c.factors)
  least = round(most * layers / claims_steering.LEVEL) - 1
  if c.nulls < least:
    where = 'a layer' if layers == 1 else f'each of {layers} layers'
    raise errors.UserError(
      f'--nulls={c.nulls}: of {most} classes at {where} none can pass with '
      f'fewer than {least}. Give more, or fewer --classes or --layers.'
    )


def fill(c: Paper2Config) -> tuple[Paper2Config, int]:
  """With what is left to the model, and the model's width.

  Raises:
    UserError: the model cannot be used, or has no such layer.
  """
  found, _ = llava_folder.describe(pretrained.find(c.model), offline=c.offline)
  text = found.module.config.text
  count, width = text.num_hidden_layers, text.hidden_size
  layers = c.layers or tuple(
    sorted({max(round(part * count), 1) for part in _CHOSEN})
  )
  layers = tuple(sorted(set(layers)))
  if isinstance(specs.parse(c.dataset), specs.SceneSet):
    _check_nulls(c, len(layers))
  if layers[-1] > count:
    raise errors.UserError(
      f'--layers: there is no layer {layers[-1]}; the model has {count}, and '
      f'{count} stands for what leaves the last.'
    )
  site_layer = c.site_layer
  if site_layer is None:
    site_layer = layers[len(layers) // 2]
  elif site_layer not in layers:
    raise errors.UserError(
      f'--site_layer={site_layer} is not among the layers that are studied, '
      f'{",".join(map(str, layers))}.'
    )
  expansion = c.expansion
  if c.latents is None and expansion is None:
    expansion = _EXPANSION
  return dataclasses.replace(
    c, layers=layers, site_layer=site_layer, expansion=expansion,
    k=c.k or max(int(_K * width), 1),
  ), width  # fmt: skip


def _check_scenes(c: Paper2Config, data: specs.SceneSet) -> None:
  """UserError where there are too few scenes of one thing to steer by."""
  for split in ('val', 'test'):
    n = len(steering_scenes.alone(data, split))
    if n < 2 * c.captions:
      raise errors.UserError(
        f'--dataset={c.dataset} has {n} scenes of one thing in {split}; '
        f'--captions={c.captions} needs twice as many.'
      )
  least = steering_setup.LEAST_SCENES
  sampled = scenes.sample(data.world, steering_scenes.alone(data, 'train'))
  label = steering_scenes.labels(sampled)
  for factor in c.factors:
    enough = np.bincount(label[factor], minlength=c.classes) >= least
    n = int(enough[: c.classes].sum())
    if n < 2:
      raise errors.UserError(
        f'--dataset={c.dataset}: of the classes of {factor} that are steered, '
        f'{n} have {least} scenes of one thing in train; two or more must. '
        'Give more scenes.'
      )


def check(c: Paper2Config) -> None:
  """UserError for what can be told before the model is looked for."""
  _check_flags(c)
  data = specs.parse(c.dataset)
  some = dataclasses.replace(
    c, layers=c.layers or (1,), k=c.k or 1, site_layer=c.site_layer or 1
  )
  splice_config(some, 1)
  caching.check(cache_config(some))
  caching.check(site_cache_config(some))
  config_lib.check(train_config(some, '', 1))
  interpret_config(some, '', '', True)
  if isinstance(data, specs.SceneSet):
    _check_nulls(c, len(set(c.layers)) or 1)
    for factor in c.factors:
      steer_config(some, 1, factor, None)
    _check_scenes(c, data)
