"""Token stores of scenes whose concepts are colours and shapes, where drawn."""

import dataclasses

import jax
import numpy as np

from saejax import io
from saejax import nn
from saejax import store
from saejax.data import scenes
from saejax.data import specs
from saejax.pipeline import interpreting_reading as reading

D, P = 32, 6
STREAM = 'layer03.image'
NAMES = tuple(
  [f'colour={c}' for c in scenes.COLOURS]
  + [f'shape={s}' for s in scenes.SHAPES]
)
ATOMS = np.linalg.qr(np.random.default_rng(4).normal(size=(D, D)))[0][
  : len(NAMES)
]
_FIRST = 3  # Of the image's positions: what stands before it.


def dataset(n: int, seed: int = 1) -> specs.SceneSet:
  return specs.SceneSet(n=n, seed=seed, splits=(0.6, 0.1, 0.3))


def about(data: specs.SceneSet) -> dict:
  """What a store says of the scenes it is of."""
  return {'name': 'scenes', **dataclasses.asdict(data)}


def write_store(
  path: str, n: int = 300, seed: int = 1, kept: float = 1.0
) -> None:
  """A row for each position of the image of every scene, or for a share."""
  data = dataset(n, seed)
  pair_N = np.arange(n)
  found = reading.masks(data, pair_N, P)
  of = [list(found.names).index(name) for name in NAMES]
  mask_NPF = found.mask_NPF[:, :, of].reshape(n, P, P, len(NAMES))
  # The image as a whole, then its tile, whose rows end with a newline.
  tile = np.pad(mask_NPF, ((0, 0), (0, 0), (0, 1), (0, 0)))
  both = np.concatenate(
    [mask_NPF.reshape(n, P * P, -1), tile.reshape(n, P * (P + 1), -1)], axis=1
  )
  rng = np.random.default_rng(seed)
  places = both.shape[1]
  x = both.reshape(n * places, -1) @ ATOMS
  x = x + 0.03 * rng.normal(size=x.shape)
  example = np.repeat(pair_N, places)
  split_N = store.assign_splits(pair_N, data.splits, seed=seed)
  spec = store.StreamSpec(
    d=D, columns=('group', 'split', 'pair', 'position', 'token_id')
  )
  writer = store.StoreWriter(path, {STREAM: spec}, {'dataset': about(data)})
  at = np.tile(np.arange(places) + _FIRST, n)
  columns = {
    'group': example, 'split': split_N[example], 'pair': example,
    'position': at, 'token_id': np.full(len(at), 9),
  }  # fmt: skip
  is_kept = rng.random(len(at)) < kept
  writer.write(
    STREAM, 0, x[is_kept].astype(np.float32),
    {name: column[is_kept] for name, column in columns.items()},
  )  # fmt: skip
  writer.finish()


def write_sae(path: str, s: int = len(NAMES)) -> None:
  """A dictionary whose concepts are the first so many atoms: colours first."""
  sae = nn.ReLU(d=D, s=s, k=2)
  variables = sae.init(jax.random.key(0), method=lambda module: module.w_dec)
  params = dict(variables['params'])
  atoms_SD = ATOMS[:s].astype(np.float32)
  params |= dict.fromkeys(('w_enc', 'w_dec'), atoms_SD)
  params |= {'b_enc': np.full(s, -0.4, np.float32)}
  io.save(
    path, sae, {'params': params, 'constants': variables['constants']},
    {'config': {'streams': [STREAM]}},
  )  # fmt: skip
