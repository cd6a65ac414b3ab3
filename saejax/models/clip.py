"""CLIP (Radford et al., arXiv 2103.00020) in Linen.

Two pre-norm transformers, projected into one space: a ViT with a class token
over images, a causal text tower read at its end-of-text token. Parameter
paths are the names of `transformers.CLIPModel`.
"""

import dataclasses
from typing import Any
from typing import Self

from flax import linen as nn
import jax
import jax.numpy as jnp

from saejax import errors
from saejax.models import positions
from saejax.models import transformer

# `transformers` treats this id as "the largest id is the end of text", the
# rule of OpenAI's first release; any other id is looked for itself.
_LEGACY_EOS_ID = 2

# Configs of `transformers` 4 leave out what equals its defaults.
_VISION = {
  'hidden_size': 768,
  'intermediate_size': 3072,
  'num_hidden_layers': 12,
  'num_attention_heads': 12,
}
_TEXT = {
  'hidden_size': 512,
  'intermediate_size': 2048,
  'num_hidden_layers': 12,
  'num_attention_heads': 8,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TowerConfig:
  """What one tower's part of a Hugging Face `config.json` says."""

  hidden_size: int
  intermediate_size: int
  num_hidden_layers: int
  num_attention_heads: int
  hidden_act: str = 'quick_gelu'
  layer_norm_eps: float = 1e-5
  # Vision.
  image_size: int = 224
  patch_size: int = 32
  # Text.
  vocab_size: int = 49408
  max_position_embeddings: int = 77
  eos_token_id: int = 49407

  @classmethod
  def from_dict(cls, config: dict[str, Any]) -> Self:
    known = {f.name for f in dataclasses.fields(cls)}
    return cls(**{k: v for k, v in config.items() if k in known})


@dataclasses.dataclass(frozen=True, kw_only=True)
class CLIPConfig:
  vision: TowerConfig
  text: TowerConfig
  projection_dim: int
  logit_scale_init_value: float = 2.6592

  @classmethod
  def from_dict(cls, config: dict[str, Any]) -> 'CLIPConfig':
    """Reads a Hugging Face CLIP config (its `to_dict()`)."""
    return cls(
      vision=TowerConfig.from_dict(
        _VISION | (config.get('vision_config') or {})
      ),
      text=TowerConfig.from_dict(_TEXT | (config.get('text_config') or {})),
      projection_dim=config.get('projection_dim', 512),
      logit_scale_init_value=config.get('logit_scale_init_value', 2.6592),
    )


def encoder(config: TowerConfig, dtype) -> transformer.Encoder:
  return transformer.Encoder(
    config.num_hidden_layers,
    config.num_attention_heads,
    config.intermediate_size,
    config.hidden_act,
    config.layer_norm_eps,
    dtype,
    name='encoder',
  )


def patches(config: TowerConfig, dtype, name: str, use_bias=True) -> nn.Conv:
  """The convolution that embeds the patches of an image [B, H, W, 3]."""
  side = (config.patch_size, config.patch_size)
  return nn.Conv(
    config.hidden_size, side, side, 'VALID', use_bias=use_bias, dtype=dtype,
    name=name,
  )  # fmt: skip


def grid(config: TowerConfig) -> int:
  """The side of the grid of patches that the position table is for."""
  return config.image_size // config.patch_size


class VisionEmbeddings(nn.Module):
  """Patches, a class token and positions, stretched for other image sizes."""

  config: TowerConfig
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, image_BHWC):
    c = self.config
    x_BhwD = patches(c, self.dtype, 'patch_embedding', use_bias=False)(
      image_BHWC
    )
    b, h, w, d = x_BhwD.shape
    init = nn.initializers.normal(0.02)
    class_D = self.param('class_embedding', init, (d,))
    class_B1D = jnp.broadcast_to(class_D.astype(self.dtype), (b, 1, d))
    x_BTD = jnp.concatenate([class_B1D, x_BhwD.reshape(b, h * w, d)], axis=1)
    table = nn.Embed(grid(c) ** 2 + 1, d, name='position_embedding').embedding
    position_TD = jnp.concatenate(
      [table[:1], positions.to_grid(table[1:], h, w)]
    )
    return x_BTD + position_TD[None].astype(self.dtype)


class VisionTower(nn.Module):
  config: TowerConfig
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, image_BHWC) -> tuple[jax.Array, transformer.Out]:
    eps = self.config.layer_norm_eps
    x_BTD = VisionEmbeddings(self.config, self.dtype, name='embeddings')(
      image_BHWC
    )
    # The missing letter is the checkpoint's.
    x_BTD = nn.LayerNorm(eps, dtype=self.dtype, name='pre_layrnorm')(x_BTD)
    x_BTD, out = encoder(self.config, self.dtype)(x_BTD)
    out['tokens'] = x_BTD  # Not normalised, as in the reference.
    norm = nn.LayerNorm(eps, dtype=self.dtype, name='post_layernorm')
    out['pooled'] = norm(x_BTD[:, 0])
    return out['pooled'], out


class TextEmbeddings(nn.Module):
  config: TowerConfig
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, ids_BT):
    c = self.config
    if ids_BT.shape[1] > c.max_position_embeddings:
      raise errors.UserError(
        f'A text has {ids_BT.shape[1]} tokens, and the model reads at most '
        f'{c.max_position_embeddings}: truncate it when it is tokenized.'
      )
    init = nn.initializers.normal(0.02)
    token = nn.Embed(
      c.vocab_size, c.hidden_size, embedding_init=init, name='token_embedding'
    )
    position = nn.Embed(
      c.max_position_embeddings,
      c.hidden_size,
      embedding_init=init,
      name='position_embedding',
    )
    x_BTD = token(ids_BT) + position.embedding[None, : ids_BT.shape[1]]
    return x_BTD.astype(self.dtype)


class TextTower(nn.Module):
  config: TowerConfig
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, ids_BT) -> tuple[jax.Array, transformer.Out]:
    c = self.config
    x_BTD = TextEmbeddings(c, self.dtype, name='embeddings')(ids_BT)
    # Causal, so padding after the end of text is never seen: no mask for it.
    mask_BHTT = nn.make_causal_mask(ids_BT)
    x_BTD, out = encoder(c, self.dtype)(x_BTD, mask_BHTT)
    norm = nn.LayerNorm(
      c.layer_norm_eps, dtype=self.dtype, name='final_layer_norm'
    )
    out['tokens'] = norm(x_BTD)
    legacy = c.eos_token_id == _LEGACY_EOS_ID
    is_end_BT = ids_BT if legacy else ids_BT == c.eos_token_id
    out['pooled'] = transformer.take_first(out['tokens'], is_end_BT)
    return out['pooled'], out


class CLIP(nn.Module):
  """Both towers. `image` and `text` return (unit rows [B, D], out)."""

  config: CLIPConfig
  dtype: jnp.dtype = jnp.float32
  towers = (VisionTower, TextTower)  # No field: a subclass may have others.
  reads_last_token = False  # Of a text, so that its padding does not matter.

  def setup(self):
    c = self.config
    vision_tower, text_tower = self.towers
    project = lambda: nn.Dense(
      c.projection_dim, use_bias=False, dtype=self.dtype
    )
    self.vision_model = vision_tower(c.vision, self.dtype)
    self.text_model = text_tower(c.text, self.dtype)
    self.visual_projection = project()
    self.text_projection = project()
    self.logit_scale = self.param(
      'logit_scale', nn.initializers.constant(c.logit_scale_init_value), ()
    )

  def image(self, image_BHWC: jax.Array) -> tuple[jax.Array, transformer.Out]:
    """Embeds preprocessed images [B, H, W, 3]."""
    pooled_BD, out = self.vision_model(image_BHWC)
    out['projected'] = self.visual_projection(pooled_BD)
    return unit_rows(out['projected']), out

  def text(self, ids_BT: jax.Array) -> tuple[jax.Array, transformer.Out]:
    """Embeds token ids [B, T] that hold one end-of-text token a row."""
    return self._text(ids_BT)

  def _text(self, *inputs) -> tuple[jax.Array, transformer.Out]:
    pooled_BD, out = self.text_model(*inputs)
    out['projected'] = self.text_projection(pooled_BD)
    return unit_rows(out['projected']), out

  def __call__(self, image_BHWC, ids_BT):
    """Returns image rows, text rows and the logit scale (not a logarithm)."""
    image_BD, _ = self.image(image_BHWC)
    text_BD, _ = self.text(ids_BT)
    return image_BD, text_BD, jnp.exp(self.logit_scale)


def unit_rows(x_BD: jax.Array) -> jax.Array:
  """Scales rows to unit L2 norm, in float32."""
  x_BD = x_BD.astype(jnp.float32)
  return x_BD / jnp.linalg.norm(x_BD, axis=-1, keepdims=True)
