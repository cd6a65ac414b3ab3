"""Small SAEs of every variant, with parameters that are nowhere zero."""

import jax
import numpy as np

from saejax import nn
from saejax import ops
from saejax import types

D, S, K, B = 12, 64, 4, 32
# Those that reconstruct what they read through one encoder; the others have
# tests of their own.
ARCHS = sorted(set(nn.ARCHITECTURES) - {'modality_encoders', 'transcoder'})
MODALITIES = ('image', 'text')


def rows(seed=0) -> np.ndarray:
  return np.random.default_rng(seed).normal(size=(B, D)).astype(np.float32)


def make(arch: str, **fields):
  """A module with parameters that are nowhere zero."""
  sae = nn.ARCHITECTURES[arch](d=D, s=S, k=K, **fields)
  variables = sae.init(jax.random.key(0), method=lambda module: module.w_dec)
  rng = np.random.default_rng(1)
  params = dict(variables['params'])
  for name in ('b_enc', 'b_dec', 'w_enc', 'r_mag', 'b_mag'):
    if name not in params:
      continue
    noise = 0.1 * rng.normal(size=params[name].shape).astype(np.float32)
    params[name] = params[name] + noise
  constants = dict(variables['constants'])
  m = len(sae.modalities)
  constants['center'] = rng.normal(size=(m, D)).astype(np.float32)
  constants['scale'] = rng.uniform(0.5, 3, size=m).astype(np.float32)
  if 'threshold' in constants:
    constants['threshold'] = np.float32(0.8)
  if 'threshold' in params:
    params['threshold'] = rng.uniform(0.5, 1, S).astype(np.float32)
  return sae, {'params': params, 'constants': constants}


def dense(codes: types.Codes) -> np.ndarray:
  if isinstance(codes, types.Dense):
    return np.asarray(codes.z_BS)
  return np.asarray(
    ops.to_dense(codes.values_BK, codes.index_BK, S, row_BK=codes.row_BK)
  )
