"""Pre-norm transformer blocks that the two-tower models share.

Module names are those of the Hugging Face checkpoints, so that a parameter's
path here is its name there. Every module returns `(y, out)`; `out` is a nested
dict of its intermediates, and jit drops what the caller does not use.

Letters: B batch, T tokens, D width, H heads, E width of a head, F MLP width.
"""

from collections.abc import Callable
import dataclasses

from flax import linen as nn
import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from saejax import errors

Out = dict[str, jax.Array | dict]

_HIDDEN = -1e30  # Added to the logits of keys that may not be seen.


def quick_gelu(x: jax.Array) -> jax.Array:
  """x·σ(1.702x), the activation of OpenAI's CLIP (arXiv 1606.08415, §2)."""
  return x * nn.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
  'quick_gelu': quick_gelu,
  'gelu': lambda x: nn.gelu(x, approximate=False),
  'gelu_pytorch_tanh': lambda x: nn.gelu(x, approximate=True),
  'silu': nn.silu,
}


def activation(name: str) -> Callable[[jax.Array], jax.Array]:
  if name not in ACTIVATIONS:
    raise errors.UserError(
      f'The model has the activation {name!r}; known are '
      f'{", ".join(ACTIVATIONS)}. Other ones need an entry in ACTIVATIONS.'
    )
  return ACTIVATIONS[name]


@dataclasses.dataclass(frozen=True)
class Family:
  """What a family's blocks are made of, and what its checkpoints call it."""

  norm: type[nn.Module] = nn.LayerNorm
  norms: tuple[str, str] = ('layer_norm1', 'layer_norm2')
  attention: str = 'self_attn'
  mlp: str = 'mlp'
  gated: bool = False
  attention_bias: bool = True
  mlp_bias: bool = True


class Dense(nn.Dense):
  """`nn.Dense` over the last axis, as one matmul of two matrices.

  With the leading axes flattened, the weight gradient is a plain matmul too;
  left apart, XLA's CPU backend copies its operands first (twice the time).
  """

  @nn.compact
  def __call__(self, x):
    y = super().__call__(x.reshape(-1, x.shape[-1]))
    return y.reshape(*x.shape[:-1], self.features)


class Attention(nn.Module):
  """Multi-head self-attention; `mask_BHTT` is True where a key may be seen."""

  heads: int
  dtype: jnp.dtype = jnp.float32
  use_bias: bool = True

  @nn.compact
  def __call__(self, x_BTD, mask_BHTT=None):
    d = x_BTD.shape[-1]
    dense = lambda name: Dense(d, self.use_bias, dtype=self.dtype, name=name)
    y_BTD = attend(
      *(dense(name)(x_BTD) for name in ('q_proj', 'k_proj', 'v_proj')),
      self.heads,
      mask_BHTT,
    )
    return dense('out_proj')(y_BTD)


def attend(q_BTD, k_BTD, v_BTD, heads: int, mask_BHTT=None) -> jax.Array:
  """Multi-head attention; queries may be fewer than keys.

  On a CPU, half the time of `nn.dot_product_attention`: heads come before
  tokens, so that each head's are one matrix; a mask is added, not selected by;
  and rows are divided by their sums after the second matmul, where they are
  short. No logit may come near `_HIDDEN`.
  """
  b, t, d = q_BTD.shape
  split = lambda x: x.reshape(b, -1, heads, d // heads).swapaxes(1, 2)
  q_BHTE, k_BHUE, v_BHUE = map(split, (q_BTD, k_BTD, v_BTD))
  scaled_BHTE = q_BHTE / np.sqrt(d // heads).astype(q_BTD.dtype)
  logit_BHTU = jnp.einsum('BHTE,BHUE->BHTU', scaled_BHTE, k_BHUE)
  logit_BHTU = logit_BHTU.astype(jnp.float32)
  if mask_BHTT is not None:
    logit_BHTU += jnp.where(mask_BHTT, 0.0, _HIDDEN)
  # The largest falls out of the quotient, and so of the gradient.
  most_BHT1 = lax.stop_gradient(logit_BHTU.max(-1, keepdims=True))
  part_BHTU = jnp.exp(logit_BHTU - most_BHT1)
  total_BHT1 = part_BHTU.sum(-1, keepdims=True).astype(v_BHUE.dtype)
  y_BHTE = jnp.einsum('BHTU,BHUE->BHTE', part_BHTU.astype(v_BHUE.dtype), v_BHUE)
  return (y_BHTE / total_BHT1).swapaxes(1, 2).reshape(b, t, d)


def key_mask(mask_BT: jax.Array | None) -> jax.Array | None:
  """Which keys every query may see, as attention wants it; None: all."""
  return None if mask_BT is None else mask_BT.astype(bool)[:, None, None]


def take_first(x_BTD: jax.Array, where_BT: jax.Array) -> jax.Array:
  """Each row's token at its first largest `where_BT`, so at its first True."""
  first_B = jnp.argmax(where_BT, axis=1)
  return jnp.take_along_axis(x_BTD, first_B[:, None, None], axis=1)[:, 0]


class MLP(nn.Module):
  width: int
  activation: str
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x_BTD):
    h_BTF = Dense(self.width, dtype=self.dtype, name='fc1')(x_BTD)
    h_BTF = activation(self.activation)(h_BTF)
    return Dense(x_BTD.shape[-1], dtype=self.dtype, name='fc2')(h_BTF)


class GatedMLP(nn.Module):
  """down(act(gate(x))·up(x)); SwiGLU if act is silu (arXiv 2002.05202)."""

  width: int
  activation: str
  dtype: jnp.dtype = jnp.float32
  use_bias: bool = False

  @nn.compact
  def __call__(self, x_BTD):
    dense = lambda width, name: Dense(
      width, self.use_bias, dtype=self.dtype, name=name
    )
    gate_BTF = activation(self.activation)(
      dense(self.width, 'gate_proj')(x_BTD)
    )
    h_BTF = gate_BTF * dense(self.width, 'up_proj')(x_BTD)
    return dense(x_BTD.shape[-1], 'down_proj')(h_BTF)


class Block(nn.Module):
  """x + attention(norm(x)), then x + mlp(norm(x))."""

  heads: int
  mlp_width: int
  activation: str
  eps: float
  dtype: jnp.dtype = jnp.float32
  family: Family = Family()

  @nn.compact
  def __call__(self, x_BTD, mask_BHTT=None) -> tuple[jax.Array, Out]:
    f = self.family
    norm1, norm2 = (
      f.norm(self.eps, dtype=self.dtype, name=name) for name in f.norms
    )
    out = {'residual': x_BTD}
    out['attention'] = Attention(
      self.heads, self.dtype, f.attention_bias, name=f.attention
    )(norm1(x_BTD), mask_BHTT)
    x_BTD = x_BTD + out['attention']
    out['mlp'] = self._mlp()(norm2(x_BTD))
    return x_BTD + out['mlp'], out

  def _mlp(self) -> nn.Module:
    f, shape = self.family, (self.mlp_width, self.activation, self.dtype)
    if f.gated:
      return GatedMLP(*shape, f.mlp_bias, name=f.mlp)
    return MLP(*shape, name=f.mlp)


class Encoder(nn.Module):
  """A stack of blocks.

  `out['layers_L']['residual']` enters block L; `out['residual']` leaves the
  last one.
  """

  layers: int
  heads: int
  mlp_width: int
  activation: str
  eps: float
  dtype: jnp.dtype = jnp.float32
  family: Family = Family()

  @nn.compact
  def __call__(self, x_BTD, mask_BHTT=None) -> tuple[jax.Array, Out]:
    out = {}
    for i in range(self.layers):
      x_BTD, out[f'layers_{i}'] = Block(
        self.heads,
        self.mlp_width,
        self.activation,
        self.eps,
        self.dtype,
        self.family,
        name=f'layers_{i}',
      )(x_BTD, mask_BHTT)
    out['residual'] = x_BTD
    return x_BTD, out
