"""Pre-norm transformer blocks that the two-tower models share.

Module names are those of the Hugging Face checkpoints, so that a parameter's
path here is its name there. Every module returns `(y, out)`; `out` is a nested
dict of its intermediates, and jit drops what the caller does not use.

Letters: B batch, T tokens, D width, H heads, E width of a head, F MLP width.
"""

from collections.abc import Callable

from flax import linen as nn
import jax
import jax.numpy as jnp

Out = dict[str, jax.Array | dict]


def quick_gelu(x: jax.Array) -> jax.Array:
  """x·σ(1.702x), the activation of OpenAI's CLIP (arXiv 1606.08415, §2)."""
  return x * nn.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
  'quick_gelu': quick_gelu,
  'gelu': lambda x: nn.gelu(x, approximate=False),
  'gelu_pytorch_tanh': lambda x: nn.gelu(x, approximate=True),
}


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

  @nn.compact
  def __call__(self, x_BTD, mask_BHTT=None):
    d = x_BTD.shape[-1]
    split = (*x_BTD.shape[:-1], self.heads, d // self.heads)
    q_BTHE, k_BTHE, v_BTHE = (
      Dense(d, dtype=self.dtype, name=name)(x_BTD).reshape(split)
      for name in ('q_proj', 'k_proj', 'v_proj')
    )
    y_BTHE = nn.dot_product_attention(q_BTHE, k_BTHE, v_BTHE, mask=mask_BHTT)
    return Dense(d, dtype=self.dtype, name='out_proj')(
      y_BTHE.reshape(x_BTD.shape)
    )


class MLP(nn.Module):
  width: int
  activation: str
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x_BTD):
    h_BTF = Dense(self.width, dtype=self.dtype, name='fc1')(x_BTD)
    h_BTF = ACTIVATIONS[self.activation](h_BTF)
    return Dense(x_BTD.shape[-1], dtype=self.dtype, name='fc2')(h_BTF)


class Block(nn.Module):
  """x + attention(norm(x)), then x + mlp(norm(x))."""

  heads: int
  mlp_width: int
  activation: str
  eps: float
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, x_BTD, mask_BHTT=None) -> tuple[jax.Array, Out]:
    norm = lambda name: nn.LayerNorm(self.eps, dtype=self.dtype, name=name)
    out = {'residual': x_BTD}
    out['attention'] = Attention(self.heads, self.dtype, name='self_attn')(
      norm('layer_norm1')(x_BTD), mask_BHTT
    )
    x_BTD = x_BTD + out['attention']
    out['mlp'] = MLP(self.mlp_width, self.activation, self.dtype, name='mlp')(
      norm('layer_norm2')(x_BTD)
    )
    return x_BTD + out['mlp'], out


class Encoder(nn.Module):
  """A stack of blocks; `out['layers_L']['residual']` enters block L."""

  layers: int
  heads: int
  mlp_width: int
  activation: str
  eps: float
  dtype: jnp.dtype = jnp.float32

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
        name=f'layers_{i}',
      )(x_BTD, mask_BHTT)
    return x_BTD, out
