"""AIMv2 (Fini et al., arXiv 2411.14402) in Linen.

A ViT of RMSNorm and SwiGLU that was trained to generate what it sees, alone or
with a text tower that was tuned to it while it was frozen (LiT). Parameter
paths are the names of `transformers.Aimv2Model`, and for `VisionTower` alone of
`transformers.Aimv2VisionModel`.
"""

import dataclasses
import math
from typing import Any
from typing import Self

from flax import linen as nn
import jax
import jax.numpy as jnp

from saejax import errors
from saejax.models import clip
from saejax.models import positions
from saejax.models import transformer

# What config files may leave out, where the towers differ.
_TEXT = {
  'hidden_size': 768,
  'intermediate_size': 2048,
  'num_hidden_layers': 12,
  'num_attention_heads': 6,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TowerConfig(clip.TowerConfig):
  """One tower's config; the defaults of sizes are the vision tower's."""

  hidden_size: int = 1024
  intermediate_size: int = 2816
  num_hidden_layers: int = 24
  num_attention_heads: int = 8
  hidden_act: str = 'silu'
  rms_norm_eps: float = 1e-5
  qkv_bias: bool = False
  mlp_bias: bool = False
  # Vision.
  patch_size: int = 14
  use_head: bool = True
  is_native: bool = False  # Any image size: sines in place of a table.


@dataclasses.dataclass(frozen=True, kw_only=True)
class AIMv2Config:
  vision: TowerConfig
  text: TowerConfig
  projection_dim: int = 512
  logit_scale_init_value: float = 2.6592
  max_logit_scale: float = 100.0

  @classmethod
  def from_dict(cls, config: dict[str, Any]) -> Self:
    """Reads a Hugging Face AIMv2 config (its `to_dict()`)."""
    names = ('projection_dim', 'logit_scale_init_value', 'max_logit_scale')
    return cls(
      vision=TowerConfig.from_dict(config.get('vision_config') or {}),
      text=TowerConfig.from_dict(_TEXT | (config.get('text_config') or {})),
      **{name: config[name] for name in names if name in config},
    )


def encoder(c: TowerConfig, dtype) -> transformer.Encoder:
  return transformer.Encoder(
    c.num_hidden_layers,
    c.num_attention_heads,
    c.intermediate_size,
    c.hidden_act,
    c.rms_norm_eps,
    dtype,
    transformer.Family(
      norm=nn.RMSNorm,
      norms=('rms_norm1', 'rms_norm2'),
      attention='attention',
      mlp='ffn',
      gated=True,
      attention_bias=c.qkv_bias,
      mlp_bias=c.mlp_bias,
    ),
    name='encoder',
  )


def rms_norm(c: TowerConfig, dtype) -> nn.RMSNorm:
  return nn.RMSNorm(c.rms_norm_eps, dtype=dtype, name='rms_norm')


class VisionEmbeddings(nn.Module):
  """Patches and positions, which only native models have for other sizes."""

  config: TowerConfig
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, image_BHWC):
    c = self.config
    x_BhwD = clip.patches(c, self.dtype, 'patch_embed')(image_BHWC)
    b, h, w, d = x_BhwD.shape
    x_BTD = rms_norm(c, self.dtype)(x_BhwD.reshape(b, h * w, d))
    if c.is_native:
      position_TD = jnp.asarray(positions.sincos(h, w, d))
    else:
      n = clip.grid(c)
      if (h, w) != (n, n):
        raise errors.UserError(
          f'An image of {image_BHWC.shape[1]} by {image_BHWC.shape[2]} pixels '
          f'makes {h} by {w} patches, and this AIMv2 reads {n} by {n}: resize '
          f'images to {c.image_size} pixels, or use a native checkpoint.'
        )
      table = nn.Embed(n * n, d, name='position_embedding')
      position_TD = table.embedding
    return x_BTD + position_TD[None].astype(self.dtype)


class AttentionPool(nn.Module):
  """A learned query reads the tokens; unlike keys, it is not projected."""

  config: TowerConfig
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x_BTD) -> tuple[jax.Array, transformer.Out]:
    c, (b, _, d) = self.config, x_BTD.shape
    query_11D = self.param('cls_token', nn.initializers.normal(0.02), (1, 1, d))
    query_B1D = jnp.broadcast_to(query_11D.astype(self.dtype), (b, 1, d))
    k_BTD, v_BTD = (
      transformer.Dense(d, c.qkv_bias, dtype=self.dtype, name=name)(x_BTD)
      for name in ('k_proj', 'v_proj')
    )
    out = {
      'attention': transformer.attend(
        query_B1D, k_BTD, v_BTD, c.num_attention_heads
      )
    }
    project = transformer.Dense(d, dtype=self.dtype, name='output_proj')
    return project(out['attention'])[:, 0], out


class VisionTower(nn.Module):
  """Returns what its head pools, or the tokens if the config has no head."""

  config: TowerConfig
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, image_BHWC) -> tuple[jax.Array, transformer.Out]:
    c = self.config
    embed = VisionEmbeddings(c, self.dtype, name='embeddings')
    x_BTD, out = encoder(c, self.dtype)(embed(image_BHWC))
    out['tokens'] = rms_norm(c, self.dtype)(x_BTD)
    if not c.use_head:
      return out['tokens'], out
    head = AttentionPool(c, self.dtype, name='head')
    out['pooled'], out['head'] = head(out['tokens'])
    return out['pooled'], out


class TextTower(nn.Module):
  config: TowerConfig
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(
    self, ids_BT, mask_BT=None, causal: bool = True
  ) -> tuple[jax.Array, transformer.Out]:
    c = self.config
    x_BTD = clip.TextEmbeddings(c, self.dtype, name='embeddings')(ids_BT)
    mask_BHTT = transformer.key_mask(mask_BT)
    if causal:
      mask_BHTT = nn.combine_masks(mask_BHTT, nn.make_causal_mask(ids_BT))
    x_BTD, out = encoder(c, self.dtype)(x_BTD, mask_BHTT)
    out['tokens'] = rms_norm(c, self.dtype)(x_BTD)
    is_end_BT = ids_BT == c.eos_token_id
    out['pooled'] = transformer.take_first(out['tokens'], is_end_BT)
    return out['pooled'], out


class AIMv2(clip.CLIP):
  """Both towers. `image` and `text` return (unit rows [B, D], out)."""

  config: AIMv2Config
  towers = (VisionTower, TextTower)

  def image(self, image_BHWC: jax.Array) -> tuple[jax.Array, transformer.Out]:
    """Embeds preprocessed images [B, H, W, 3]."""
    if not self.config.vision.use_head:
      raise errors.UserError(
        'The config has use_head false: the model has no embedding of an '
        "image. Apply its VisionTower and read out['tokens'] instead."
      )
    return super().image(image_BHWC)

  def text(
    self,
    ids_BT: jax.Array,
    mask_BT: jax.Array | None = None,
    causal: bool = True,
  ) -> tuple[jax.Array, transformer.Out]:
    """Embeds token ids [B, T] that hold one end-of-text token a row.

    Args:
      ids_BT: token ids.
      mask_BT: true where a token may be seen. With `causal` and padding on the
        right, it changes nothing before the padding, nor the embedding.
      causal: whether a token sees only those up to itself, as in Apple's own
        code. `transformers` does the same where the mask hides a token or
        attention is eager and there is a mask; but its default attention
        (sdpa) without a mask, or with one of all ones, sees every token, and
        eager attention without a mask does too: `causal=False` is that.
    """
    return self._text(ids_BT, mask_BT, causal)

  def __call__(self, image_BHWC, ids_BT):
    """Returns image rows, text rows and the logit scale (not a logarithm)."""
    image_BD, _ = self.image(image_BHWC)
    text_BD, _ = self.text(ids_BT)
    most = math.log(self.config.max_logit_scale)
    return image_BD, text_BD, jnp.exp(jnp.clip(self.logit_scale, 0.0, most))
