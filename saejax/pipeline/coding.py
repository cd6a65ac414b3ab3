"""Codes of a residual stream, position by position, as a model has it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from saejax import encode
from saejax import nn
from saejax import types


@functools.partial(jax.jit, static_argnames='sae')
def _run(sae, variables, x_BTD, is_image_BT):
  names = list(sae.modalities)
  which_BT = jnp.zeros(is_image_BT.shape, jnp.int32)
  if len(names) > 1:
    image, text = names.index('image'), names.index('text')
    which_BT = jnp.where(is_image_BT, image, text)
  x_nD = x_BTD.reshape(-1, x_BTD.shape[-1]).astype(jnp.float32)
  out = sae.apply(variables, x_nD, which_BT.reshape(-1))
  return out.codes, out.xhat_BD


def code(
  sae: nn.LinearSAE,
  variables: types.ArrayTree,
  x_BTD: np.ndarray,
  is_image_BT: np.ndarray,
) -> tuple[scipy.sparse.csr_matrix, np.ndarray]:
  """Codes [B·T, S] and what they decode to [B·T, D], of every position.

  An image's positions have the centre and scale of images, others of texts.
  """
  codes, xhat_nD = _run(sae, variables, x_BTD, is_image_BT)
  return encode.to_csr(codes, sae.s), np.asarray(xhat_nD)
