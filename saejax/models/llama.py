"""Llama, Vicuna and Mistral (arXiv 2302.13971, 2310.06825) in Linen.

A causal decoder of RMSNorm, rotary positions, grouped queries and SwiGLU, whose
residual stream can be read and edited. Parameter paths are the names of
`transformers.LlamaModel`, and with `CausalLM` of `LlamaForCausalLM`.

A row's tokens are at slots 0, 1, …: rows of a batch are padded on the right, so
a slot is a position, padding is after every token that could see it, and no
mask of padding is needed.

Letters: B batch, T tokens, U slots of keys, D width, K heads of keys and
values, G query heads of each, E width of a head, V vocabulary.
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
from typing import Any
from typing import Self

import flax
from flax import linen as nn
import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from saejax import errors
from saejax.models import transformer

_HIDDEN = -1e30  # Added to the logits of keys that may not be seen.

# What config files may leave out, where it differs from LlamaConfig's.
_MISTRAL = {
  'intermediate_size': 14336,
  'num_key_value_heads': 8,
  'sliding_window': 4096,
}


@flax.struct.dataclass
class Tokens:
  """What an edit may know of each position.

  Attributes:
    ids_BT: token ids, those of images repeated for each of their positions.
    position_BT: slots in the row.
    is_image_BT: whether an image's features stand there.
    is_real_BT: whether it is no padding.
  """

  ids_BT: jax.Array
  position_BT: jax.Array
  is_image_BT: jax.Array
  is_real_BT: jax.Array


# From a residual [B, T, D] and what stands at its positions to another.
Edit = Callable[[jax.Array, Tokens], jax.Array]
# By layer: the residual that enters block L; after the last block, L layers.
Edits = Mapping[int, Edit]


@flax.struct.dataclass
class Cache:
  """Keys and values of the slots so far, of every layer."""

  k_LBKUE: tuple[jax.Array, ...]
  v_LBKUE: tuple[jax.Array, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LlamaConfig:
  """What a Hugging Face config of type 'llama' or 'mistral' says."""

  vocab_size: int = 32000
  hidden_size: int = 4096
  intermediate_size: int = 11008
  num_hidden_layers: int = 32
  num_attention_heads: int = 32
  num_key_value_heads: int | None = None
  head_dim: int | None = None
  hidden_act: str = 'silu'
  rms_norm_eps: float = 1e-6
  rope_theta: float = 10000.0
  rope_factor: float = 1.0  # Positions are divided by it.
  sliding_window: int | None = None  # Keys that a query sees, itself included.
  attention_bias: bool = False
  mlp_bias: bool = False
  tie_word_embeddings: bool = False
  initializer_range: float = 0.02

  @property
  def heads(self) -> tuple[int, int, int]:
    """Heads of keys and values, queries of each, and their width."""
    kv = self.num_key_value_heads or self.num_attention_heads
    width = self.head_dim or self.hidden_size // self.num_attention_heads
    return kv, self.num_attention_heads // kv, width

  @classmethod
  def from_dict(cls, config: dict[str, Any]) -> Self:
    """Reads a config of `transformers` 4 or 5 (its `to_dict()`).

    Raises:
      UserError: it is of another type, or has positions of another kind.
    """
    kind = config.get('model_type', 'llama')
    if kind not in ('llama', 'mistral'):
      raise errors.UserError(
        f'The language model is of type {kind!r}; this version reads llama '
        '(Vicuna too) and mistral.'
      )
    config = (_MISTRAL if kind == 'mistral' else {}) | config
    if kind == 'llama':
      config.pop('sliding_window', None)
    known = {f.name for f in dataclasses.fields(cls)}
    given = {k: v for k, v in config.items() if k in known and k != 'heads'}
    return cls(**(given | _rope(config)))


def _rope(config: dict[str, Any]) -> dict[str, float]:
  """Rotary positions, from `rope_parameters` of version 5, or of 4."""
  rope = config.get('rope_parameters') or config.get('rope_scaling') or {}
  kind = rope.get('rope_type') or rope.get('type') or 'default'
  if kind not in ('default', 'linear'):
    raise errors.UserError(
      f'The language model has rotary positions of type {kind!r}; this version '
      'reads default and linear.'
    )
  theta = rope.get('rope_theta') or config.get('rope_theta') or 10000.0
  return {'rope_theta': theta, 'rope_factor': rope.get('factor') or 1.0}


def rotate(x_BKTE, position_BT, theta: float, factor: float = 1.0) -> jax.Array:
  """Turns pairs (e, e + E/2) by position · theta^(−2e/E), arXiv 2104.09864."""
  half = x_BKTE.shape[-1] // 2
  rate_e = theta ** (-np.arange(half, dtype=np.float32) / half) / factor
  angle_BTe = position_BT[..., None].astype(jnp.float32) * rate_e[None, None]
  cos, sin = (f(angle_BTe)[:, None] for f in (jnp.cos, jnp.sin))
  a, b = jnp.split(x_BKTE.astype(jnp.float32), 2, axis=-1)
  turned = jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)
  return turned.astype(x_BKTE.dtype)


def attend(q_BHTE, k_BKUE, v_BKUE, position_BT, window: int | None = None):
  """Causal attention of grouped queries, [B, T, H·E].

  Args:
    q_BHTE: queries; H is a multiple of K, those of one head of keys adjacent.
    k_BKUE: keys by slot, as v_BKUE.
    position_BT: slots of the queries; a query sees slots up to its own.
    window: how many of the last of them; None for all.
  """
  b, h, t, e = q_BHTE.shape
  kv, u = k_BKUE.shape[1:3]
  scaled = q_BHTE.reshape(b, kv, h // kv, t, e) / np.sqrt(e).astype(
    q_BHTE.dtype
  )
  logit_BKGTU = jnp.einsum('BKGTE,BKUE->BKGTU', scaled, k_BKUE)
  ago_BTU = position_BT[..., None] - jnp.arange(u)[None, None]
  seen_BTU = ago_BTU >= 0
  if window is not None:
    seen_BTU &= ago_BTU < window
  mask_BTU = jnp.where(seen_BTU, 0.0, _HIDDEN)[:, None, None]
  logit_BKGTU = logit_BKGTU.astype(jnp.float32) + mask_BTU
  most_BKGT1 = lax.stop_gradient(logit_BKGTU.max(-1, keepdims=True))
  part_BKGTU = jnp.exp(logit_BKGTU - most_BKGT1)
  total_BKGT1 = part_BKGTU.sum(-1, keepdims=True).astype(v_BKUE.dtype)
  part_BKGTU = part_BKGTU.astype(v_BKUE.dtype)
  y_BKGTE = jnp.einsum('BKGTU,BKUE->BKGTE', part_BKGTU, v_BKUE) / total_BKGT1
  return y_BKGTE.reshape(b, h, t, e).swapaxes(1, 2).reshape(b, t, h * e)


def _write(slots_BKUE, new_BKTE, position_BT) -> jax.Array:
  """Slots with new ones from each row's first position on."""
  put = lambda slots, new, at: lax.dynamic_update_slice(slots, new, (0, at, 0))
  return jax.vmap(put)(
    slots_BKUE, new_BKTE.astype(slots_BKUE.dtype), position_BT[:, 0]
  )


class Attention(nn.Module):
  """Self-attention; with a cache also over slots written before."""

  config: LlamaConfig
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x_BTD, position_BT, cache=None):
    c = self.config
    kv, per, e = c.heads
    dense = lambda width, name: transformer.Dense(
      width,
      c.attention_bias,
      dtype=self.dtype,
      kernel_init=nn.initializers.normal(c.initializer_range),
      name=name,
    )
    heads = lambda n, name: (
      dense(n * e, name)(x_BTD).reshape(*x_BTD.shape[:2], n, e).swapaxes(1, 2)
    )
    turn = lambda x: rotate(x, position_BT, c.rope_theta, c.rope_factor)
    q_BHTE = turn(heads(kv * per, 'q_proj'))
    k, v = turn(heads(kv, 'k_proj')), heads(kv, 'v_proj')
    if cache is not None:
      k, v = (
        _write(a, b, position_BT) for a, b in zip(cache, (k, v), strict=True)
      )
    y_BTF = attend(q_BHTE, k, v, position_BT, c.sliding_window)
    return dense(c.hidden_size, 'o_proj')(y_BTF), (k, v)


def rms_norm(c: LlamaConfig, dtype, name: str | None = None) -> nn.RMSNorm:
  return nn.RMSNorm(epsilon=c.rms_norm_eps, dtype=dtype, name=name)


class Block(nn.Module):
  """x + attention(norm(x)), then x + mlp(norm(x))."""

  config: LlamaConfig
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x_BTD, position_BT, cache=None):
    c = self.config
    out = {'residual': x_BTD}
    norm = lambda name: rms_norm(c, self.dtype, name)
    out['attention'], kv = Attention(c, self.dtype, name='self_attn')(
      norm('input_layernorm')(x_BTD), position_BT, cache
    )
    x_BTD = x_BTD + out['attention']
    out['mlp'] = transformer.GatedMLP(
      c.intermediate_size, c.hidden_act, self.dtype, c.mlp_bias, name='mlp'
    )(norm('post_attention_layernorm')(x_BTD))
    return x_BTD + out['mlp'], out, kv


class Decoder(nn.Module):
  """Token embeddings, blocks and the last norm."""

  config: LlamaConfig
  dtype: jnp.dtype = jnp.float32

  def setup(self):
    c = self.config
    self.embed_tokens = nn.Embed(
      c.vocab_size,
      c.hidden_size,
      dtype=self.dtype,
      embedding_init=nn.initializers.normal(c.initializer_range),
    )
    self.layers = [Block(c, self.dtype) for _ in range(c.num_hidden_layers)]
    self.norm = rms_norm(c, self.dtype)

  def embed(self, ids_BT: jax.Array) -> jax.Array:
    return self.embed_tokens(ids_BT)

  def logits(self, x_BTD: jax.Array) -> jax.Array:
    """Of a model whose two tables are one."""
    return self.embed_tokens.attend(x_BTD)

  def __call__(
    self,
    x_BTD: jax.Array,
    tokens: Tokens,
    cache: Cache | None = None,
    edits: Edits | None = None,
    start: int = 0,
  ) -> tuple[jax.Array, transformer.Out, Cache]:
    """Runs the blocks over embedded tokens.

    Args:
      x_BTD: what enters block `start`, before its edit.
      tokens: what stands there; positions of a row are adjacent.
      cache: of the slots before; None where there are none.
      edits: what is done to the residual that enters a block, by its number;
        the last is that of the norm.
      start: the first block that runs.

    Returns:
      Normed rows [B, T, D]; `out['layers_L']` with the residual that enters
      block L (as edited), and its attention's and MLP's outputs, and
      `out['residual']` after the last; the cache with these tokens in it, of
      blocks that did not run as it was, or None.
    """
    edits = edits or {}
    unknown = [n for n in edits if not start <= n <= len(self.layers)]
    if unknown:
      raise errors.UserError(
        f'There is no layer {unknown[0]} to edit: the model has '
        f'{len(self.layers)}, and {len(self.layers)} stands for their end.'
      )
    edit = lambda n, x: edits[n](x, tokens).astype(x.dtype) if n in edits else x
    before = cache or Cache((None,) * start, (None,) * start)
    out = {}
    written = [
      *zip(before.k_LBKUE[:start], before.v_LBKUE[:start], strict=True)
    ]
    for i, block in enumerate(self.layers[start:], start):
      kv = None if cache is None else (cache.k_LBKUE[i], cache.v_LBKUE[i])
      x_BTD, out[f'layers_{i}'], kv = block(
        edit(i, x_BTD), tokens.position_BT, kv
      )
      written.append(kv)
    out['residual'] = edit(len(self.layers), x_BTD)
    out['tokens'] = self.norm(out['residual'])
    k, v = zip(*written, strict=True)
    return out['tokens'], out, Cache(k_LBKUE=k, v_LBKUE=v)


def empty_cache(config: LlamaConfig, rows: int, slots: int, dtype) -> Cache:
  """Room for so many slots."""
  kv, _, e = config.heads
  layer = lambda: tuple(
    jnp.zeros((rows, kv, slots, e), dtype)
    for _ in range(config.num_hidden_layers)
  )
  return Cache(k_LBKUE=layer(), v_LBKUE=layer())


def tokens_of(ids_BT, length_B=None, image_id: int | None = None, start_B=0):
  """What stands at each position, from ids that are padded on the right.

  Args:
    ids_BT: token ids.
    length_B: how many of a row's are real; None for all.
    image_id: of the positions that an image fills; None without images.
    start_B: the slot of each row's first.
  """
  b, t = ids_BT.shape
  at_1T = jnp.arange(t)[None]
  real_BT = jnp.ones((b, t), bool)
  if length_B is not None:
    real_BT = at_1T < jnp.asarray(length_B)[:, None]
  start_B = jnp.broadcast_to(jnp.asarray(start_B), (b,))
  return Tokens(
    ids_BT=ids_BT,
    position_BT=start_B[:, None] + at_1T,
    is_image_BT=jnp.zeros((b, t), bool)
    if image_id is None
    else (ids_BT == image_id) & real_BT,
    is_real_BT=real_BT,
  )


class CausalLM(nn.Module):
  """Logits of the next token; `transformers.LlamaForCausalLM`."""

  config: LlamaConfig
  dtype: jnp.dtype = jnp.float32

  def setup(self):
    c = self.config
    self.model = Decoder(c, self.dtype)
    if not c.tie_word_embeddings:
      self.lm_head = head(c, self.dtype)

  def logits(self, x_BTD: jax.Array) -> jax.Array:
    if self.config.tie_word_embeddings:
      return self.model.logits(x_BTD)
    return self.lm_head(x_BTD)

  def hidden(self, tokens: Tokens, cache=None, edits=None, image=None):
    """Normed rows, intermediates and the cache; there are no images."""
    del image
    return self.model(self.model.embed(tokens.ids_BT), tokens, cache, edits)

  def __call__(self, tokens: Tokens, cache=None, edits=None):
    """Logits [B, T, V], intermediates and the cache."""
    x_BTD, out, cache = self.hidden(tokens, cache, edits)
    return self.logits(x_BTD), out, cache


def head(config: LlamaConfig, dtype) -> transformer.Dense:
  return transformer.Dense(
    config.vocab_size,
    use_bias=False,
    dtype=dtype,
    kernel_init=nn.initializers.normal(config.initializer_range),
  )
