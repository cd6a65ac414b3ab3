"""Which module and config a Hugging Face `model_type` stands for."""

from collections.abc import Callable
import dataclasses
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from saejax import errors
from saejax import types
from saejax.models import aimv2
from saejax.models import clip
from saejax.models import siglip
from saejax.models import siglip2


@dataclasses.dataclass(frozen=True)
class Family:
  module: type[nn.Module]
  parse: Callable[[dict[str, Any]], Any]


# SigLIP 2 models of one resolution call themselves 'siglip', and are.
FAMILIES = {
  'clip': Family(clip.CLIP, clip.CLIPConfig.from_dict),
  'siglip': Family(siglip.SigLIP, siglip.SigLIPConfig.from_dict),
  'siglip2': Family(siglip2.SigLIP2, siglip.SigLIPConfig.from_dict),
  'aimv2': Family(aimv2.AIMv2, aimv2.AIMv2Config.from_dict),
}


def build(
  config: dict[str, Any], dtype: jnp.dtype = jnp.float32
) -> clip.CLIP | siglip.SigLIP:
  """The two-tower module that a Hugging Face config describes.

  Args:
    config: what `config.json` holds.
    dtype: of the computation; parameters stay float32.

  Raises:
    UserError: the config is of a model type that is not here.
  """
  kind = config.get('model_type')
  if kind not in FAMILIES:
    raise errors.UserError(
      f'The model is of type {kind!r}; this version reads '
      f'{", ".join(FAMILIES)}.'
    )
  family = FAMILIES[kind]
  return family.module(family.parse(config), dtype)


def example(module: clip.CLIP | siglip.SigLIP) -> tuple[Any, jax.Array]:
  """The smallest inputs that the module takes: an image and token ids."""
  vision = module.config.vision
  if isinstance(module, siglip2.SigLIP2):
    image = siglip2.Patches(
      jnp.zeros((1, 1, 3 * vision.patch_size**2)),
      jnp.ones((1, 1), bool),
      jnp.ones((1, 2), jnp.int32),
    )
  else:
    image = jnp.zeros((1, vision.image_size, vision.image_size, 3))
  return image, jnp.zeros((1, 1), jnp.int32)


def abstract_params(module: clip.CLIP | siglip.SigLIP) -> types.ArrayTree:
  """Shapes of the module's parameters; nothing is computed."""
  shapes = jax.eval_shape(module.init, jax.random.key(0), *example(module))
  return shapes['params']
