"""Worlds in which it is known which concepts carry alignment.

Each factor has an image atom and a text atom that lie at an angle; besides
there are shared atoms, and atoms of one modality. Of 'bridges', texts mention
the factors of their images, and fire shared atoms as they please; of 'shared',
it is the other way round.
"""

import os

import numpy as np

from saejax import io
from saejax import nn
from tests import planted

D, FACTORS, SHARED, OWN = 96, 8, 8, 24
S = 2 * FACTORS + SHARED + 2 * OWN
_RATE, _MENTIONED, _LEAST = 0.25, 0.9, 0.35
# Concepts in order: image ends, text ends, shared, image only, text only.
ENDS = np.arange(2 * FACTORS)
SHARED_S = 2 * FACTORS + np.arange(SHARED)


def atoms() -> np.ndarray:
  """The dictionary [S, D], unit rows."""
  rng = np.random.default_rng(3)
  basis_DD = np.linalg.qr(rng.normal(size=(D, D)))[0]
  image_FD, other_FD = basis_DD[:FACTORS], basis_DD[FACTORS : 2 * FACTORS]
  text_FD = 0.8 * image_FD + 0.6 * other_FD
  return np.concatenate([image_FD, text_FD, basis_DD[2 * FACTORS : S]])


def write(folder: str, carrier: str, n: int = 1500) -> tuple[str, str]:
  """Writes a store and the dictionary that made it; returns their folders."""
  rng = np.random.default_rng(0)
  fires = lambda k: rng.random((n, k)) < _RATE
  z = {}
  seen = {'bridges': fires(FACTORS), 'shared': fires(SHARED)}
  said = {
    name: x_NF & (rng.random(x_NF.shape) < _MENTIONED)
    if name == carrier
    else fires(x_NF.shape[1])
    for name, x_NF in seen.items()
  }
  none_NF, none_NO = np.zeros((n, FACTORS), bool), np.zeros((n, OWN), bool)
  z['image'] = [seen['bridges'], none_NF, seen['shared'], fires(OWN), none_NO]
  z['text'] = [none_NF, said['bridges'], said['shared'], none_NO, fires(OWN)]
  atoms_SD = atoms().astype(np.float32)
  rows = []
  for parts in z.values():
    active_NS = np.concatenate(parts, axis=1)
    strength_NS = active_NS * rng.uniform(0.7, 1.3, active_NS.shape)
    noise_ND = 0.01 * rng.normal(size=(n, D))
    rows.append((strength_NS @ atoms_SD + noise_ND).astype(np.float32))
  store = planted.write_store(
    os.path.join(folder, 'store'), *rows, splits=(0.7, 0.1, 0.2)
  )
  sae = nn.BatchTopK(d=D, s=S, k=7, use_b_dec=False)
  variables = {
    'params': {
      'w_enc': np.linalg.pinv(atoms_SD).T,
      'b_enc': np.zeros(S, np.float32),
      'w_dec': atoms_SD,
      'b_dec': np.zeros(D, np.float32),
    },
    'constants': {
      'center': np.zeros((1, D), np.float32),
      'scale': np.ones(1, np.float32),
      'threshold': np.float32(_LEAST),
    },
  }
  path = os.path.join(folder, 'sae')
  io.save(path, sae, variables)
  return store, path
