"""ModalityEncoders: each modality has an encoder; the dictionary is shared.

  pre = u W_enc[m] + b_enc[m]   for a row of modality m
  z = TopK(ReLU(pre)) / s_m
  x̂ = z W_dec + b_dec / s_m + c_m

After Universal SAEs (Thasarathan et al., arXiv 2502.03714), which have an
encoder and a decoder for each of several models, and VL-SAE (Shen et al., arXiv
2510.21323), which has one encoder and two decoders. Here the modalities lie in
one space, so what a concept decodes to is shared and how it is recognised is
not: a concept may lie at one angle among images and at another among texts.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from saejax import ops
from saejax import types
from saejax.nn import topk


class ModalityEncoders(topk.TopK):
  """Keeps the k largest positive pre-activations of each row's encoder.

  `modalities` names the encoders: rows of `w_encs` [M, S, D], `b_encs` [M, S].
  """

  def setup(self):
    zeros, m = nn.initializers.zeros, len(self.modalities)
    self.w_dec = self.param(
      'w_dec',
      lambda key: ops.unit_rows(jax.random.normal(key, (self.s, self.d))),
    )
    # Alike at first, so that an index means the same to all.
    self.w_encs = self.param('w_encs', lambda _: jnp.stack([self.w_dec] * m))
    self.b_encs = self.param('b_encs', zeros, (m, self.s))
    self.b_dec = self.param('b_dec', zeros, (self.d,))
    self.center_MD = self.variable(
      'constants', 'center', jnp.zeros, (m, self.d)
    )
    self.scale_M = self.variable('constants', 'scale', jnp.ones, (m,))

  def _pre(self, u_BD: jax.Array, modality_B: jax.Array | None) -> jax.Array:
    """Every encoder reads every row, but sees 0 where it is another's."""
    if modality_B is None:
      modality_B = jnp.zeros(u_BD.shape[0], jnp.int32)
    is_BM = jax.nn.one_hot(modality_B, len(self.modalities), dtype=self.dtype)
    pre_BS = jnp.einsum(
      'BMD,MSD->BS',
      is_BM[:, :, None] * u_BD.astype(self.dtype)[:, None],
      self.w_encs.astype(self.dtype),
      preferred_element_type=jnp.float32,
    )
    return pre_BS + is_BM.astype(jnp.float32) @ self.b_encs

  def codes(
    self, u_BD: jax.Array, pre_BS: jax.Array, *, train: bool, **budget
  ) -> types.Codes:
    """Codes whose gradients pass through `pre_BS`, to each row's encoder."""
    return self.activate(pre_BS, train=train, **budget)
