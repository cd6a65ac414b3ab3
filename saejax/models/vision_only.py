"""The image tower of a two-tower model as a model of its own.

Its embedding is what the tower pools, or of a CLIP with a projection, what that
makes of it. Parameter paths are the names of the classes of `transformers` 5.
"""

import dataclasses
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from saejax import errors
from saejax.models import aimv2
from saejax.models import clip
from saejax.models import siglip
from saejax.models import siglip2
from saejax.models import transformer


@dataclasses.dataclass(frozen=True, kw_only=True)
class VisionConfig:
  """Has the shape of a two-tower config.

  Attributes:
    vision: the tower's.
    projection_dim: the width of an embedding.
  """

  vision: clip.TowerConfig
  projection_dim: int


class VisionOnly(nn.Module):
  """`image` is that of a two-tower model; there is no `text`.

  Attributes:
    tower: what pools an image.
    projects: whether a projection follows, and the tower is a part by name.
  """

  config: VisionConfig
  tower: nn.Module
  projects: bool = False
  dtype: jnp.dtype = jnp.float32

  def setup(self):
    if self.projects:
      self.vision_model = self.tower.copy(name=None)
      self.visual_projection = nn.Dense(
        self.config.projection_dim, use_bias=False, dtype=self.dtype
      )
    else:
      nn.share_scope(self, self.tower)

  def image(self, image: Any) -> tuple[jax.Array, transformer.Out]:
    """Embeds preprocessed images: unit rows [B, D], and intermediates."""
    if self.projects:
      pooled_BD, out = self.vision_model(image)
      out['projected'] = self.visual_projection(pooled_BD)
    else:
      pooled_BD, out = self.tower(image)
      out['projected'] = pooled_BD
    return clip.unit_rows(out['projected']), out

  def __call__(self, image: Any) -> jax.Array:
    """Returns image rows."""
    return self.image(image)[0]


def clip_tower(config: dict[str, Any], dtype: jnp.dtype) -> VisionOnly:
  """`CLIPVisionModelWithProjection`, or `CLIPVisionModel`, which has none."""
  vision = clip.CLIPConfig.from_dict({'vision_config': config}).vision
  projects = any(
    'WithProjection' in name for name in config.get('architectures') or ()
  )
  width = config.get('projection_dim', 512) if projects else vision.hidden_size
  return VisionOnly(
    VisionConfig(vision=vision, projection_dim=width),
    clip.VisionTower(vision, dtype),
    projects,
    dtype,
  )


def _with_head(
  vision: clip.TowerConfig, tower: nn.Module, flag: str, dtype: jnp.dtype
) -> VisionOnly:
  if not getattr(vision, flag):
    raise errors.UserError(
      f'The config has {flag} false: the model has no embedding of an image.'
    )
  config = VisionConfig(vision=vision, projection_dim=vision.hidden_size)
  return VisionOnly(config, tower, dtype=dtype)


def siglip_tower(config: dict[str, Any], dtype: jnp.dtype) -> VisionOnly:
  vision = siglip.TowerConfig.from_dict(config)
  tower = siglip.VisionTower(vision, dtype)
  return _with_head(vision, tower, 'vision_use_head', dtype)


def siglip2_tower(config: dict[str, Any], dtype: jnp.dtype) -> VisionOnly:
  vision = siglip.TowerConfig.from_dict(config)
  tower = siglip2.VisionTower(vision, dtype)
  return _with_head(vision, tower, 'vision_use_head', dtype)


def aimv2_tower(config: dict[str, Any], dtype: jnp.dtype) -> VisionOnly:
  vision = aimv2.TowerConfig.from_dict(config)
  tower = aimv2.VisionTower(vision, dtype)
  return _with_head(vision, tower, 'use_head', dtype)
