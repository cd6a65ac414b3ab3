"""The dictionary that made planted rows, saved as if it had been trained."""

import dataclasses

import numpy as np

from saejax import io
from saejax import nn
from saejax.train import config as config_lib
from tests import planted

IMAGE = planted.FACTORS + planted.OWN  # A factor's text concept comes so many
S = 2 * IMAGE  # places after its image concept.
_LEAST = 0.35  # Half of the weakest code; noise stays far below.
_K = 3  # About the concepts of a row.


def save(path: str, store: str, atoms_SD: np.ndarray, **trained) -> str:
  """Saves it; `trained` are settings that it is said to be trained with."""
  sae = nn.BatchTopK(d=planted.D, s=S, k=_K, use_b_dec=False)
  atoms_SD = atoms_SD.astype(np.float32)
  variables = {
    'params': {
      'w_enc': np.linalg.pinv(atoms_SD).T,
      'b_enc': np.zeros(S, np.float32),
      'w_dec': atoms_SD,
      'b_dec': np.zeros(planted.D, np.float32),
    },
    'constants': {
      'center': np.zeros((1, planted.D), np.float32),
      'scale': np.ones(1, np.float32),
      'threshold': np.float32(_LEAST),
    },
  }
  config = config_lib.TrainConfig(
    store=store, latents=S, k=_K, mesh=(1, 1), **trained
  )
  io.save(path, sae, variables, {'config': dataclasses.asdict(config)})
  return path
