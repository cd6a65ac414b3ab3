"""Transcoder: reads rows of one stream and reconstructs those of another.

  u = (x − c_x)·s_x           the source, standardised
  pre = u W_inᵀ + b_enc
  z = TopK(ReLU(pre)) / s_y
  ŷ = z W_dec + b_dec / s_y + c_y

Dunefsky, Chlenski and Nanda, *Transcoders find interpretable LLM feature
circuits*, arXiv 2406.11944, with TopK (Gao et al., arXiv 2406.04093) in place
of ReLU and L1. Unlike TopK, what goes in is not what comes out: the encoder has
the source's width, centre and scale, and codes, decoder, bias, `center` and
`scale` are the target's. The loss is what is missed of y.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from saejax import ops
from saejax import types
from saejax.nn import linear
from saejax.nn import topk


class Transcoder(topk.TopK):
  """Keeps the k largest positive pre-activations of each source row.

  Attributes:
    d_in: width of the source; `d` is the target's.
  """

  d_in: int = 0
  derived = ('d_in',)

  def setup(self):
    zeros, normal = nn.initializers.zeros, jax.random.normal
    unit = lambda d: lambda key: ops.unit_rows(normal(key, (self.s, d)))
    constant = lambda name, init, *shape: self.variable(
      'constants', name, init, shape
    )
    self.w_dec = self.param('w_dec', unit(self.d))
    self.w_in = self.param('w_in', unit(self.d_in))
    self.b_enc = self.param('b_enc', zeros, (self.s,))
    self.b_dec = self.param('b_dec', zeros, (self.d,))
    self.center_MD = constant('center', jnp.zeros, 1, self.d)
    self.scale_M = constant('scale', jnp.ones, 1)
    self.source_center_MD = constant('source_center', jnp.zeros, 1, self.d_in)
    self.source_scale_M = constant('source_scale', jnp.ones, 1)

  def _standardised(
    self, x_BD: jax.Array, modality_B: jax.Array | None
  ) -> jax.Array:
    del modality_B  # There is one source.
    center_1D, scale_1 = self.source_center_MD.value, self.source_scale_M.value
    return (x_BD - center_1D) * scale_1[:, None]

  def _pre(self, u_BD: jax.Array, modality_B: jax.Array | None) -> jax.Array:
    del modality_B
    pre_BS = jnp.einsum(
      'BD,SD->BS',
      u_BD.astype(self.dtype),
      self.w_in.astype(self.dtype),
      preferred_element_type=jnp.float32,
    )
    return pre_BS + self.b_enc[None]

  def codes(
    self, u_BD: jax.Array, pre_BS: jax.Array, *, train: bool, **budget
  ) -> types.Codes:
    """Codes of source rows, on the scale of the standardised target."""
    codes = self.activate(pre_BS, train=train, **budget)
    return linear.encode_with(codes, u_BD, self.w_in, self.b_enc)
