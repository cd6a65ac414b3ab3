"""SigLIP (Zhai et al., arXiv 2303.15343) in Linen.

CLIP trained pair by pair with a sigmoid: no class token, an image is read by a
learned query that attends to its patches, a text, bidirectional, at its last
token. The SigLIP 2 models of one resolution (Tschannen et al., arXiv
2502.14786) are this model too. Parameter paths are the names of
`transformers.SiglipModel`.
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class TowerConfig(clip.TowerConfig):
  """One tower's config; the defaults are what config files may leave out."""

  hidden_size: int = 768
  intermediate_size: int = 3072
  num_hidden_layers: int = 12
  num_attention_heads: int = 12
  hidden_act: str = 'gelu_pytorch_tanh'
  layer_norm_eps: float = 1e-6
  # Vision.
  patch_size: int = 16
  num_patches: int = 256  # NaFlex has this in place of an image size.
  vision_use_head: bool = True
  # Text.
  vocab_size: int = 32000
  max_position_embeddings: int = 64
  projection_size: int | None = None  # None: the hidden size.


@dataclasses.dataclass(frozen=True, kw_only=True)
class SigLIPConfig:
  vision: TowerConfig
  text: TowerConfig

  @classmethod
  def from_dict(cls, config: dict[str, Any]) -> Self:
    """Reads a Hugging Face SigLIP or SigLIP 2 config (its `to_dict()`)."""
    return cls(
      vision=TowerConfig.from_dict(config.get('vision_config') or {}),
      text=TowerConfig.from_dict(config.get('text_config') or {}),
    )

  @property
  def projection_dim(self) -> int:
    return self.text.projection_size or self.text.hidden_size


class VisionEmbeddings(nn.Module):
  """Patches and positions, stretched for other image sizes; no mask."""

  config: TowerConfig
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, image_BHWC) -> tuple[jax.Array, None]:
    c = self.config
    x_BhwD = clip.patches(c, self.dtype, 'patch_embedding')(image_BHWC)
    b, h, w, d = x_BhwD.shape
    table = nn.Embed(clip.grid(c) ** 2, d, name='position_embedding').embedding
    position_TD = positions.to_grid(table, h, w)
    x_BTD = x_BhwD.reshape(b, h * w, d)
    return x_BTD + position_TD[None].astype(self.dtype), None


class PackedAttention(nn.Module):
  """Attention of queries to other tokens, in torch's packed layout.

  `in_proj_weight` [3D, D] holds the projections of queries, keys and values,
  one above the other; each is [out, in], unlike a Linen kernel.
  """

  heads: int
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, query_BTD, x_BTD, mask_BHTT=None):
    d = x_BTD.shape[-1]
    init = nn.initializers.xavier_uniform(in_axis=-1, out_axis=-2)
    weight = self.param('in_proj_weight', init, (3 * d, d))
    bias = self.param('in_proj_bias', nn.initializers.zeros, (3 * d,))
    q_BTD, k_BTD, v_BTD = (
      jnp.einsum('BTD,ED->BTE', tokens_BTD, w_DD.astype(self.dtype))
      + b_D.astype(self.dtype)[None, None]
      for tokens_BTD, w_DD, b_D in zip(
        (query_BTD, x_BTD, x_BTD),
        jnp.split(weight, 3),
        jnp.split(bias, 3),
        strict=True,
      )
    )
    y_BTD = transformer.attend(q_BTD, k_BTD, v_BTD, self.heads, mask_BHTT)
    return transformer.Dense(d, dtype=self.dtype, name='out_proj')(y_BTD)


class AttentionPool(nn.Module):
  """A learned query reads the tokens (MAP, Zhai et al., arXiv 2106.04560)."""

  config: TowerConfig
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(
    self, x_BTD, mask_BHTT=None
  ) -> tuple[jax.Array, transformer.Out]:
    c, (b, _, d) = self.config, x_BTD.shape
    probe_11D = self.param('probe', nn.initializers.normal(0.02), (1, 1, d))
    probe_B1D = jnp.broadcast_to(probe_11D.astype(self.dtype), (b, 1, d))
    attention = PackedAttention(
      c.num_attention_heads, self.dtype, name='attention'
    )
    norm = nn.LayerNorm(c.layer_norm_eps, dtype=self.dtype, name='layernorm')
    mlp = transformer.MLP(
      c.intermediate_size, c.hidden_act, self.dtype, name='mlp'
    )
    out = {'attention': attention(probe_B1D, x_BTD, mask_BHTT)}
    out['mlp'] = mlp(norm(out['attention']))
    return (out['attention'] + out['mlp'])[:, 0], out


class VisionTower(nn.Module):
  """Returns what its head pools, or the tokens if the config has no head."""

  config: TowerConfig
  dtype: jnp.dtype = jnp.float32
  embedder = VisionEmbeddings  # No field: a subclass may have another.

  @nn.compact
  def __call__(self, image) -> tuple[jax.Array, transformer.Out]:
    c = self.config
    embed = self.embedder(c, self.dtype, name='embeddings')
    x_BTD, mask_BT = embed(image)
    mask_BHTT = transformer.key_mask(mask_BT)
    x_BTD, out = clip.encoder(c, self.dtype)(x_BTD, mask_BHTT)
    norm = nn.LayerNorm(
      c.layer_norm_eps, dtype=self.dtype, name='post_layernorm'
    )
    out['tokens'] = norm(x_BTD)
    if not c.vision_use_head:
      return out['tokens'], out
    head = AttentionPool(c, self.dtype, name='head')
    out['pooled'], out['head'] = head(out['tokens'], mask_BHTT)
    return out['pooled'], out


class TextTower(nn.Module):
  config: TowerConfig
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, ids_BT, mask_BT=None) -> tuple[jax.Array, transformer.Out]:
    c = self.config
    x_BTD = clip.TextEmbeddings(c, self.dtype, name='embeddings')(ids_BT)
    x_BTD, out = clip.encoder(c, self.dtype)(
      x_BTD, transformer.key_mask(mask_BT)
    )
    norm = nn.LayerNorm(
      c.layer_norm_eps, dtype=self.dtype, name='final_layer_norm'
    )
    out['tokens'] = norm(x_BTD)
    out['pooled'] = out['tokens'][:, -1]
    width = c.projection_size or c.hidden_size
    head = transformer.Dense(width, dtype=self.dtype, name='head')
    out['projected'] = head(out['pooled'])
    return out['projected'], out


class SigLIP(nn.Module):
  """Both towers. `image` and `text` return (unit rows [B, D], out)."""

  config: SigLIPConfig
  dtype: jnp.dtype = jnp.float32
  vision_tower = VisionTower  # No field: a subclass may have another.
  reads_last_token = True  # Of a text, be it padding.

  def setup(self):
    self.vision_model = self.vision_tower(self.config.vision, self.dtype)
    self.text_model = TextTower(self.config.text, self.dtype)
    # As the paper starts, §3.2: a temperature of 10, a bias of −10.
    constant = nn.initializers.constant
    self.logit_scale = self.param('logit_scale', constant(math.log(10.0)), (1,))
    self.logit_bias = self.param('logit_bias', constant(-10.0), (1,))

  def image(self, image) -> tuple[jax.Array, transformer.Out]:
    """Embeds preprocessed images [B, H, W, 3]."""
    if not self.config.vision.vision_use_head:
      raise errors.UserError(
        'The config has vision_use_head false: the model has no embedding of '
        "an image. Apply its VisionTower and read out['tokens'] instead."
      )
    _, out = self.vision_model(image)
    out['projected'] = out['pooled']  # The head is the projection.
    return clip.unit_rows(out['projected']), out

  def text(
    self, ids_BT: jax.Array, mask_BT: jax.Array | None = None
  ) -> tuple[jax.Array, transformer.Out]:
    """Embeds token ids [B, T].

    The last token is what is read, padding or not: the models are trained with
    every text padded to `max_position_embeddings`, and without a mask. One is
    taken because the reference takes one.
    """
    _, out = self.text_model(ids_BT, mask_BT)
    return clip.unit_rows(out['projected']), out

  def __call__(self, image, ids_BT):
    """Returns image rows, text rows, the logits' scale and their bias.

    A pair's logit is rows' product · scale + bias.
    """
    image_BD, _ = self.image(image)
    text_BD, _ = self.text(ids_BT)
    return image_BD, text_BD, jnp.exp(self.logit_scale[0]), self.logit_bias[0]
