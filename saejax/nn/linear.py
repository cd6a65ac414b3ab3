"""What every SAE with a linear encoder shares: its parameters and its scale.

  u = (x − c)·s        standardised; c and s by modality, or for all
  pre = u W_encᵀ + b_enc
  z = activate(pre) / s
  x̂ = z W_dec + b_dec / s + c

Codes and reconstructions are on the stored scale, whatever was centred or
scaled on the way. Variants say how `pre` becomes `z`.
"""

from collections.abc import Sequence
from typing import ClassVar

from flax import linen as nn
import jax
import jax.numpy as jnp

from saejax import ops
from saejax import sharding
from saejax import types


class LinearSAE(nn.Module):
  """Parameters, standardisation and decoder; a variant adds `activate`.

  Attributes:
    d: embedding width.
    s: dictionary size.
    k: mean number of active concepts a row, if the variant meets one.
    modalities: what the rows of `center` and `scale` are for; with a single
      name they are for all rows.
    use_b_dec: whether the decoder has a bias to learn (else it stays 0).
    dtype: of the encoder's matmul; parameters and sums stay float32.
  """

  d: int
  s: int
  k: int
  modalities: Sequence[str] = ('all',)
  use_b_dec: bool = True
  dtype: str = 'float32'

  # Of variants: whether a row has k active concepts, be it on average; whether
  # codes may be negative; whether the dictionary encodes, so that there is no
  # encoder to learn; which fields of their own follow from the rows; of which
  # parameters the dictionary is made in training.
  meets_k: ClassVar[bool] = True
  signed: ClassVar[bool] = False
  tied: ClassVar[bool] = False
  derived: ClassVar[tuple[str, ...]] = ()
  decoder: ClassVar[tuple[str, ...]] = ('w_dec',)

  def setup(self):
    zeros, m = nn.initializers.zeros, len(self.modalities)
    self.w_dec = self.param(
      'w_dec',
      lambda key: ops.unit_rows(jax.random.normal(key, (self.s, self.d))),
    )
    if not self.tied:
      # A row for each concept, as of the decoder: so its gradient is a sum into
      # few rows. The two start alike, so that codes mean something from the
      # first step (Gao et al., arXiv 2406.04093, A.1).
      self.w_enc = self.param('w_enc', lambda _: self.w_dec + 0)
      self.b_enc = self.param('b_enc', zeros, (self.s,))
    self.b_dec = self.param('b_dec', zeros, (self.d,))
    self.center_MD = self.variable(
      'constants', 'center', jnp.zeros, (m, self.d)
    )
    self.scale_M = self.variable('constants', 'scale', jnp.ones, (m,))

  # What is trained may differ from what `apply` takes: pure functions of
  # variables, which need no scope.

  @nn.nowrap
  def parametrise(
    self, variables: types.ArrayTree, key: jax.Array
  ) -> types.ArrayTree:
    """Variables to train, of those of `init` with the run's constants."""
    del key
    return variables

  @nn.nowrap
  def materialise(self, variables: types.ArrayTree) -> types.ArrayTree:
    """Variables that `apply` and files take, of those in training."""
    return variables

  @nn.nowrap
  def tangent(
    self, grads: types.ArrayTree, params: types.ArrayTree
  ) -> types.ArrayTree:
    """Gradients without what would only change the norms of decoder rows."""
    w_dec = ops.remove_parallel(grads['w_dec'], params['w_dec'])
    return grads | {'w_dec': w_dec}

  @nn.nowrap
  def constrain(self, params: types.ArrayTree) -> types.ArrayTree:
    """Parameters in training, put where they may be: unit decoder rows."""
    return params | {'w_dec': ops.unit_rows(params['w_dec'])}

  def activate(self, pre_BS: jax.Array, *, train: bool) -> types.Codes:
    """Pre-activations to codes, on the scale the encoder reads.

    Sparse codes need no gradient of their own; see `encode_with`.
    """
    raise NotImplementedError

  def codes(
    self,
    u_BD: jax.Array,
    pre_BS: jax.Array,
    *,
    train: bool,
    **budget: jax.Array,
  ) -> types.Codes:
    """Codes of standardised rows, on the scale the encoder reads."""
    codes = self.activate(pre_BS, train=train, **budget)
    if isinstance(codes, types.Sparse):
      codes = encode_with(codes, u_BD, self.w_enc, self.b_enc)
    return codes

  def _constants(self, modality_B) -> tuple[jax.Array, jax.Array]:
    """Each row's centre [B or 1, D] and scale [B or 1, 1]."""
    center_MD, scale_M = self.center_MD.value, self.scale_M.value
    if len(self.modalities) == 1:
      return center_MD, scale_M[:, None]
    if modality_B is None:
      raise ValueError(
        'This SAE standardises each modality by itself: pass modality_B, '
        f'the index of each row in {tuple(self.modalities)}.'
      )
    # A matmul rather than a gather, which Explicit axes would refuse.
    one_hot_BM = jax.nn.one_hot(modality_B, len(self.modalities))
    return one_hot_BM @ center_MD, one_hot_BM @ scale_M[:, None]

  def _standardised(
    self, x_BD: jax.Array, modality_B: jax.Array | None
  ) -> jax.Array:
    """What the encoder reads."""
    center_BD, scale_B1 = self._constants(modality_B)
    return (x_BD - center_BD) * scale_B1

  def _pre(self, u_BD: jax.Array, modality_B: jax.Array | None) -> jax.Array:
    del modality_B  # One encoder reads all.
    w_SD = self.w_dec if self.tied else self.w_enc
    pre_BS = jnp.einsum(
      'BD,SD->BS',
      u_BD.astype(self.dtype),
      w_SD.astype(self.dtype),
      preferred_element_type=jnp.float32,
    )
    return pre_BS if self.tied else pre_BS + self.b_enc[None]

  def preactivations(
    self, x_BD: jax.Array, modality_B: jax.Array | None = None
  ) -> jax.Array:
    """What the activation chooses from [B, S], on the encoder's scale."""
    return self._pre(self._standardised(x_BD, modality_B), modality_B)

  def encode(
    self, x_BD: jax.Array, modality_B: jax.Array | None = None
  ) -> types.Codes:
    """Codes of rows, as at inference."""
    _, scale_B1 = self._constants(modality_B)
    u_BD = self._standardised(x_BD, modality_B)
    codes = self.codes(u_BD, self._pre(u_BD, modality_B), train=False)
    return scale_codes(codes, 1 / scale_B1)

  def decode(
    self, codes: types.Codes, modality_B: jax.Array | None = None
  ) -> jax.Array:
    """Reconstructions [B, D] of codes."""
    center_BD, scale_B1 = self._constants(modality_B)
    b_dec_D = self.b_dec if self.use_b_dec else jnp.zeros_like(self.b_dec)
    return decode_with(codes, self.w_dec) + b_dec_D[None] / scale_B1 + center_BD

  def __call__(
    self,
    x_BD: jax.Array,
    modality_B: jax.Array | None = None,
    *,
    train: bool = False,
    budget: jax.Array | None = None,
  ) -> types.Output:
    """Encodes and decodes; `train` selects codes as in training.

    `budget`, of variants that select k, is a mean of at most k codes a row to
    select in its place: a float that may differ from step to step.
    """
    center_BD, scale_B1 = self._constants(modality_B)
    u_BD = self._standardised(x_BD, modality_B)
    pre_BS = self._pre(u_BD, modality_B)
    k = {} if budget is None else {'budget': budget}
    codes = self.codes(u_BD, pre_BS, train=train, **k)
    scaled = scale_codes(codes, 1 / scale_B1)
    return types.Output(
      codes=scaled,
      xhat_BD=self.decode(scaled, modality_B),
      aux={
        'pre_BS': pre_BS,
        'u_BD': u_BD,
        'center_BD': center_BD,
        'scale_B1': scale_B1,
        'codes': codes,
      },
    )


def _axes() -> dict[str, str | None]:
  return {
    'batch_axis': sharding.axis(sharding.DATA),
    'axis': sharding.axis(sharding.MODEL),
  }


def scale_codes(codes: types.Codes, factor_B1: jax.Array) -> types.Codes:
  """Multiplies each row's codes by a factor."""
  if isinstance(codes, types.Dense):
    return types.Dense(codes.z_BS * factor_B1)
  if codes.row_BK is None or factor_B1.size == 1:
    return codes.replace(values_BK=codes.values_BK * factor_B1)
  factor_BK = ops.rows_of(factor_B1, codes.row_BK, **_axes())
  return codes.replace(values_BK=codes.values_BK * factor_BK)


def encode_with(
  codes: types.Sparse, u_BD: jax.Array, w_SD: jax.Array, b_S: jax.Array
) -> types.Sparse:
  """Codes selected from u·Wᵀ + b, with its gradients."""
  values_BK = ops.sparse_encode(
    codes.values_BK,
    codes.index_BK,
    u_BD,
    w_SD,
    b_S,
    row_BK=codes.row_BK,
    **_axes(),
  )
  return codes.replace(values_BK=values_BK)


def decode_with(codes: types.Codes, w_SD: jax.Array) -> jax.Array:
  """Codes times a dictionary, on whatever mesh is current."""
  if isinstance(codes, types.Dense):
    return jnp.einsum(
      'BS,SD->BD',
      codes.z_BS,
      w_SD,
      out_sharding=sharding.out_spec(sharding.DATA, None),
    )
  return ops.sparse_decode(
    codes.values_BK,
    codes.index_BK,
    w_SD,
    row_BK=codes.row_BK,
    **_axes(),
  )
