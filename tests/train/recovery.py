"""How much of a known, crowded dictionary BatchTopK finds.

256 atoms in 64 dimensions, in pairs at cosines of 0.3 to 0.6, as many concepts
as atoms, and frequencies that follow a power law. Prints a line for each seed:

  PYTHONPATH=. python -m tests.train.recovery
"""

import dataclasses

import jax
import numpy as np
from scipy import optimize

from saejax import nn
from saejax import ops
from saejax import sharding
from saejax import types
from saejax.train import optimisers
from saejax.train import state as state_lib
from saejax.train import step as step_lib

D, ATOMS, K, BATCH = 64, 256, 8, 1024
POOL = 200_000  # Rows, of which batches are drawn.
_POWER, _NOISE, _LR = 0.5, 0.01, 1e-2
_SEEN = 1000  # Rows that must have shown an atom for it to count.
_FOUND = 0.9  # Cosine from which an atom counts as found.


@dataclasses.dataclass(frozen=True)
class World:
  """Atoms [ATOMS, D], and how often each is active."""

  atoms_SD: np.ndarray
  chance_S: np.ndarray

  def rows(self, rng: np.random.Generator, n: int):
    """Rows [n, D], and which atoms made them [n, ATOMS]."""
    is_on = rng.random((n, ATOMS)) < self.chance_S
    z_nS = is_on * rng.uniform(0.5, 1.5, is_on.shape)
    noise_nD = _NOISE * rng.normal(size=(n, D))
    return (z_nS @ self.atoms_SD + noise_nD).astype(np.float32), is_on


def make_world(active: float, seed: int = 0) -> World:
  """A world whose rows have `active` atoms on average."""
  rng = np.random.default_rng(seed)
  first = ops.unit_rows(rng.normal(size=(ATOMS // 2, D)))
  other = ops.unit_rows(
    ops.remove_parallel(rng.normal(size=first.shape), first)
  )
  cosine = rng.uniform(0.3, 0.6, (ATOMS // 2, 1))
  second = cosine * first + np.sqrt(1 - cosine**2) * other
  chance_S = rng.permutation((1 + np.arange(ATOMS)) ** -_POWER)
  return World(
    atoms_SD=np.stack([first, second], 1).reshape(ATOMS, D),
    chance_S=chance_S * active / chance_S.sum(),
  )


def train(world: World, seed: int, steps: int):
  """A dictionary [ATOMS, D] trained on the world, and atoms it saw by rows."""
  sae = nn.BatchTopK(d=D, s=ATOMS, k=K)
  tx = optimisers.make_optimiser(_LR, steps, 1e-5, 1.0)
  mesh = sharding.make_mesh((1, 1))
  state, _ = state_lib.create(sae, tx, {}, seed, mesh)
  train_step = jax.jit(
    step_lib.make_train_step(
      sae,
      tx,
      steps=steps,
      aux_weight=1 / 32,
      aux_k=D // 2,
      dead_after=10 * BATCH,
    ),
    donate_argnums=0,
  )
  rng = np.random.default_rng(seed)
  pool_ND, on_NS = world.rows(rng, POOL)
  seen_S = np.zeros(ATOMS)
  modality_B = np.zeros(BATCH, np.int32)
  with jax.set_mesh(mesh):
    for _ in range(steps):
      rows_B = rng.integers(0, POOL, BATCH)
      seen_S += on_NS[rows_B].sum(0)
      batch = types.Batch(pool_ND[rows_B], modality_B)
      state, _, logs = train_step(
        state, jax.device_put(batch, jax.P(sharding.DATA))
      )
  return np.asarray(state.params['w_dec']), seen_S, float(logs['dead'])


def score(w_SD: np.ndarray, world: World, seen_S: np.ndarray):
  """Mean cosine of atoms with their concepts, one to one, and share found."""
  cosine_SS = w_SD @ world.atoms_SD.T
  concept, atom = optimize.linear_sum_assignment(-cosine_SS)
  matched = cosine_SS[concept, atom][seen_S[atom] >= _SEEN]
  return matched.mean(), (matched > _FOUND).mean()


if __name__ == '__main__':
  for active in (4, 8):
    for seed in range(3):
      world = make_world(active)
      w_SD, seen_S, dead = train(world, seed, 6000)
      mean, found = score(w_SD, world, seen_S)
      print(
        f'{active} active atoms a row, seed {seed}: matched cosine '
        f'{mean:.3f}, found {found:.3f} of {(seen_S >= _SEEN).sum()}, dead '
        f'{dead:.3f}'
      )
