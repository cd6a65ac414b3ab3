"""What `splice` is asked for, and what it works with."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from saejax import errors
from saejax import nn
from saejax import pretrained
from saejax import types
from saejax.data import questions
from saejax.data import records
from saejax.data import specs
from saejax.models import llava_folder
from saejax.pipeline import embedding
from saejax.pipeline import steering_scenes
from saejax.pipeline import trained_on


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpliceConfig:
  """Flags of `splice`.

  Attributes:
    model: a model folder, an id on the hub, or the name of a model that ships.
    layer: whose input the SAE reconstructs.
    dataset: a spec, see `data.specs`; questions are asked of scenes alone.
    examples: of each split, at most.
    prompt: how a row reads before its answer.
    letters: that name options; none offers their words alone.
    revision: branch, tag or commit on the hub; None for `main`.
    offline: never ask the network for the model.
    dtype: of the parameters and the computation.
    batch: rows at a time.
  """

  model: str = 'llava-scenes'
  layer: int
  dataset: str = 'scenes'
  examples: int = 256
  prompt: str = 'USER: {image} {question} ASSISTANT:'
  letters: tuple[str, ...] = ()
  revision: str | None = None
  offline: bool = False
  dtype: str = 'float32'
  batch: int = 32

  def __post_init__(self):
    for name, least in (('layer', 0), ('examples', 2), ('batch', 2)):
      if getattr(self, name) < least:
        raise errors.UserError(
          f'--{name}={getattr(self, name)} must be at least {least}.'
        )
    if self.dtype not in embedding.DTYPES:
      raise errors.UserError(
        f'--dtype={self.dtype} is unknown: choose '
        f'{" or ".join(embedding.DTYPES)}.'
      )
    marks = [self.prompt.count(m) for m in ('{image}', '{question}')]
    if marks != [1, 1]:
      raise errors.UserError(
        f'--prompt={self.prompt!r} must hold {{image}} and {{question}} once.'
      )
    if len(self.letters) not in (0, len(questions.LETTERS)):
      raise errors.UserError(
        f'--letters={",".join(self.letters)}: name {len(questions.LETTERS)}, '
        'or none.'
      )


@dataclasses.dataclass(frozen=True)
class Setup:
  """A model with an SAE of one of its layers.

  Attributes:
    model: on the device.
    sae: the dictionary.
    variables: its parameters and constants.
    layer: whose input it reconstructs.
    data: what the model is shown.
    prompt: how a row reads before its answer.
    letters: that name options; none offers their words alone.
    batch: rows at a time.
    mean: of what enters the layer, by modality, once it is known.
  """

  model: llava_folder.LLaVA
  sae: nn.LinearSAE
  variables: types.ArrayTree
  layer: int
  data: specs.SceneSet | records.Dataset
  prompt: str
  letters: Sequence[str]
  batch: int
  mean: Mapping[str, np.ndarray]

  @property
  def asker(self) -> steering_scenes.Asker:
    return steering_scenes.Asker(
      self.model, self.prompt, self.batch, self.letters
    )


def start(
  config: SpliceConfig,
  sae: nn.LinearSAE,
  variables: types.ArrayTree,
  path: str,
) -> Setup:
  """Loads the model; UserError where the SAE at `path` does not fit it."""
  data = specs.parse(config.dataset)
  model = llava_folder.load(
    pretrained.find(config.model),
    revision=config.revision,
    offline=config.offline,
    dtype=jnp.dtype(config.dtype),
  )
  text = model.module.config.text
  if config.layer > text.num_hidden_layers:
    raise errors.UserError(
      f'--layer={config.layer}: there is no such layer; the model has '
      f'{text.num_hidden_layers}, and that stands for what leaves the last.'
    )
  if sae.d != text.hidden_size:
    raise errors.UserError(
      f'--sae={path} reads rows of width {sae.d}; the residual stream of the '
      f'model has {text.hidden_size}.'
    )
  trained_on.check(path, config.layer)
  setup = Setup(
    model=dataclasses.replace(model, params=jax.device_put(model.params)),
    sae=sae,
    variables=variables,
    layer=config.layer,
    data=data,
    prompt=config.prompt,
    letters=config.letters,
    batch=config.batch,
    mean={},
  )
  setup.asker.letter_ids()
  return setup
