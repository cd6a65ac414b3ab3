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
from saejax.models import vision_only

Module = clip.CLIP | siglip.SigLIP | vision_only.VisionOnly


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

# Image towers alone.
TOWERS = {
  'clip_vision_model': vision_only.clip_tower,
  'siglip_vision_model': vision_only.siglip_tower,
  'siglip2_vision_model': vision_only.siglip2_tower,
  'aimv2_vision_model': vision_only.aimv2_tower,
}


def build(config: dict[str, Any], dtype: jnp.dtype = jnp.float32) -> Module:
  """The module of two towers, or of one, that a Hugging Face config describes.

  Args:
    config: what `config.json` holds.
    dtype: of the computation; parameters stay float32.

  Raises:
    UserError: the config is of a model type that is not here.
  """
  kind = config.get('model_type')
  if kind in TOWERS:
    return TOWERS[kind](config, dtype)
  if kind not in FAMILIES:
    raise errors.UserError(
      f'The model is of type {kind!r}; this version reads '
      f'{", ".join((*FAMILIES, *TOWERS))}.'
    )
  family = FAMILIES[kind]
  return family.module(family.parse(config), dtype)


def reads_patches(module: Module) -> bool:
  """Whether images come as `siglip2.Patches`, and not as pixels."""
  tower = getattr(module, 'tower', None)
  return isinstance(module, siglip2.SigLIP2) or isinstance(
    tower, siglip2.VisionTower
  )


def example(module: Module) -> tuple[Any, ...]:
  """The smallest inputs that the module takes: an image and any token ids."""
  vision = module.config.vision
  if reads_patches(module):
    image = siglip2.Patches(
      jnp.zeros((1, 1, 3 * vision.patch_size**2)),
      jnp.ones((1, 1), bool),
      jnp.ones((1, 2), jnp.int32),
    )
  else:
    image = jnp.zeros((1, vision.image_size, vision.image_size, 3))
  if isinstance(module, vision_only.VisionOnly):
    return (image,)
  return image, jnp.zeros((1, 1), jnp.int32)


def abstract_params(module: Module) -> types.ArrayTree:
  """Shapes of the module's parameters; nothing is computed."""
  shapes = jax.eval_shape(module.init, jax.random.key(0), *example(module))
  return shapes['params']
