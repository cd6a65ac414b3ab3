"""LLaVA-NeXT (llava-vl.github.io/blog/2024-01-30-llava-next) in Linen.

An image is cut into tiles of the vision tower's size, and seen once more whole.
Patch features, projected to the language model's width, stand in the places of
the image token. Parameter paths are the names of
`transformers.LlavaNextForConditionalGeneration`, see `canonical`.

Letters as in `llama`, and N tiles of the whole batch, P patches of a tile.
"""

import dataclasses
from typing import Any
from typing import Self

import flax
from flax import linen as nn
import jax
import jax.numpy as jnp

from saejax import errors
from saejax.models import clip
from saejax.models import llama
from saejax.models import tiles
from saejax.models import transformer

_PINPOINTS = ((336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008))
_VISION = {
  'hidden_size': 1024,
  'intermediate_size': 4096,
  'num_hidden_layers': 24,
  'num_attention_heads': 16,
  'image_size': 336,
  'patch_size': 14,
}


@flax.struct.dataclass
class Image:
  """The images of a batch of token rows.

  Attributes:
    tile_NHWC: whitened tiles of all images, and any that fill up the shape.
    source_BT: which feature stands at each position, as `tiles.packing` counts
      them over all tiles, N·P being the newline; −1 where a token does.
  """

  tile_NHWC: jax.Array
  source_BT: jax.Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class LlavaNextConfig:
  """What a Hugging Face config of type 'llava_next' says."""

  vision: clip.TowerConfig
  text: llama.LlamaConfig
  image_token_index: int = 32000
  image_grid_pinpoints: tuple[tuple[int, int], ...] = _PINPOINTS
  projector_hidden_act: str = 'gelu'
  vision_feature_layer: int = -2
  drops_class: bool = True
  projector_bias: bool = True

  @classmethod
  def from_dict(cls, config: dict[str, Any]) -> Self:
    """Reads a config of `transformers` 4 or 5 (its `to_dict()`).

    Raises:
      UserError: a tower, or the way features are taken, is of another kind.
    """
    vision = config.get('vision_config') or {}
    kind = vision.get('model_type', 'clip_vision_model')
    layer = config.get('vision_feature_layer', -2)
    strategy = config.get('vision_feature_select_strategy', 'default')
    if kind != 'clip_vision_model':
      raise errors.UserError(
        f'The vision tower is of type {kind!r}; this version reads '
        'clip_vision_model.'
      )
    if not isinstance(layer, int) or strategy not in ('default', 'full'):
      raise errors.UserError(
        f'The model reads vision_feature_layer={layer} by the strategy '
        f'{strategy!r}; this version reads one layer, by default or full.'
      )
    points = config.get('image_grid_pinpoints') or _PINPOINTS
    text = config.get('text_config') or {}
    return cls(
      vision=clip.TowerConfig.from_dict(_VISION | vision),
      text=llama.LlamaConfig.from_dict(text),
      image_token_index=config.get(
        'image_token_index', config.get('image_token_id', 32000)
      ),
      image_grid_pinpoints=tuple((h, w) for h, w in points),
      projector_hidden_act=config.get('projector_hidden_act', 'gelu'),
      vision_feature_layer=layer,
      drops_class=strategy == 'default',
      projector_bias=config.get('multimodal_projector_bias', True),
    )

  @property
  def layout(self) -> tiles.Layout:
    """How images become tiles, and features rows."""
    v = self.vision
    return tiles.Layout(
      v.image_size, v.image_size // v.patch_size, self.image_grid_pinpoints
    )


class Projector(nn.Module):
  """From the vision tower's width to the language model's."""

  config: LlavaNextConfig
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x_NPD):
    c = self.config
    dense = lambda name: transformer.Dense(
      c.text.hidden_size, c.projector_bias, dtype=self.dtype, name=name
    )
    act = transformer.activation(c.projector_hidden_act)
    return dense('linear_2')(act(dense('linear_1')(x_NPD)))


def _packed(x_NPD, newline_D, source_BT, other_BTD) -> jax.Array:
  """Features and newlines where an image stands, [B, T, D], and others else."""
  row_nD = jnp.concatenate([x_NPD.reshape(-1, len(newline_D)), newline_D[None]])
  seen_BTD = row_nD[jnp.maximum(source_BT, 0)]
  return jnp.where((source_BT >= 0)[..., None], seen_BTD, other_BTD)


class LlavaNext(nn.Module):
  """The vision tower, the projector and the language model."""

  config: LlavaNextConfig
  dtype: jnp.dtype = jnp.float32

  def setup(self):
    c = self.config
    self.vision_tower = clip.VisionTower(c.vision, self.dtype)
    self.multi_modal_projector = Projector(c, self.dtype)
    self.language_model = llama.Decoder(c.text, self.dtype)
    self.lm_head = llama.head(c.text, self.dtype)
    self.image_newline = self.param(
      'image_newline',
      nn.initializers.normal(c.text.hidden_size**-0.5),
      (c.text.hidden_size,),
    )

  def seen(self, tile_NHWC: jax.Array) -> jax.Array:
    """Patches [N, P, Dv] of whitened tiles, in the tower's own width."""
    c = self.config
    _, out = self.vision_tower(tile_NHWC)
    layers = c.vision.num_hidden_layers
    layer = c.vision_feature_layer % (layers + 1)  # Of the hidden states.
    at = out if layer == layers else out[f'layers_{layer}']
    return at['residual'][:, 1:] if c.drops_class else at['residual']

  def features(self, tile_NHWC: jax.Array) -> jax.Array:
    """Projected patches [N, P, D] of whitened tiles."""
    return self.multi_modal_projector(self.seen(tile_NHWC))

  def tower(self, image: Image) -> jax.Array:
    """What is projected, [B, T, Dv], where `embed` has it; 0 elsewhere.

    At a newline stands no patch, so that there is nothing either.
    """
    x_NPD = self.seen(image.tile_NHWC)
    nothing_D = jnp.zeros(x_NPD.shape[-1], x_NPD.dtype)
    return _packed(x_NPD, nothing_D, image.source_BT, nothing_D)

  def embed(self, ids_BT: jax.Array, image: Image | None) -> jax.Array:
    """What enters the language model: embedded tokens and packed features."""
    if image is None:
      return self.language_model.embed(ids_BT)
    x_NPD = self.features(image.tile_NHWC)
    newline_D = self.image_newline.astype(x_NPD.dtype)
    # The image token may be beyond the table of a language model alone.
    own_BT = jnp.where(image.source_BT >= 0, 0, ids_BT)
    token_BTD = self.language_model.embed(own_BT)
    return _packed(x_NPD, newline_D, image.source_BT, token_BTD)

  def logits(self, x_BTD: jax.Array) -> jax.Array:
    return self.lm_head(x_BTD)

  def hidden(self, tokens: llama.Tokens, cache=None, edits=None, image=None):
    """Normed rows, intermediates and the cache, see `llama.Decoder`."""
    x_BTD = self.embed(tokens.ids_BT, image)
    return self.language_model(x_BTD, tokens, cache, edits)

  def onward(self, x_BTD, tokens: llama.Tokens, start: int, cache=None):
    """As `hidden`, from the residual that enters block `start`."""
    return self.language_model(x_BTD, tokens, cache, start=start)

  def __call__(self, tokens: llama.Tokens, cache=None, edits=None, image=None):
    """Logits [B, T, V], intermediates and the cache."""
    x_BTD, out, cache = self.hidden(tokens, cache, edits, image)
    return self.logits(x_BTD), out, cache


def canonical(name: str) -> str:
  """A tensor's name here, from that in memory or in a file of any version.

  `transformers` 5 has `model.` before all but the head in memory, and files
  have `language_model.model.` and `language_model.lm_head.`; those of version 4
  have `vision_tower.vision_model.` as well.
  """
  for old, new in (
    ('model.vision_tower.', 'vision_tower.'),
    ('model.language_model.', 'language_model.'),
    ('model.multi_modal_projector.', 'multi_modal_projector.'),
    ('model.image_newline', 'image_newline'),
    ('language_model.model.', 'language_model.'),
    ('language_model.lm_head.', 'lm_head.'),
    ('vision_tower.vision_model.', 'vision_tower.'),
  ):
    if name.startswith(old):
      name = new + name.removeprefix(old)
  return name


def published(name: str) -> str:
  """A tensor's name in published files, which every version reads."""
  for new, old in (
    ('lm_head.', 'language_model.lm_head.'),
    ('language_model.', 'language_model.model.'),
    ('vision_tower.', 'vision_tower.vision_model.'),
  ):
    if name.startswith(new):
      return old + name.removeprefix(new)
  return name
