"""Codes and atoms in turns, over batches of rows: what factorisations share.

Each step finds codes Z of a batch, adds ZᵀZ and ZᵀX to what is remembered of
earlier batches, and improves the atoms on those sums alone (Mairal et al.,
*Online learning for matrix factorization and sparse coding*, 2010). Only
[batch, S] of Z is ever held. With all rows in one batch nothing is remembered,
and the objective ½‖X − ZD‖² + λ Σ|Z| never rises.
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from saejax.baselines import descent
from saejax.data import batches

_UNUSED = 1e-8  # Mean square of a code, relative to that of a row.
_PACE = 0.1  # Of ln λ, a step, at an L0 of twice what is asked or more.
_MEMORY = 0.6  # Batch t weighs t^−0.6 beside all before it.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
  """How a factorisation is fitted.

  Attributes:
    signed: whether codes may be negative.
    l0: mean L0 of the codes that λ is steered to, batch by batch; None keeps λ.
    l1: λ at the start, as a share of the mean largest |⟨x, w⟩| of a row.
    steps: batches.
    batch: rows of each.
    iterations: of the descent that finds codes. Where it ends early codes are
      dense, and λ rises to make up for it: fewer of these cost more than fewer
      steps.
  """

  signed: bool
  l0: int | None = None
  l1: float = 0.0
  steps: int = 100
  batch: int = 1024
  iterations: int = 120


@dataclasses.dataclass(frozen=True)
class Fitted:
  """Atoms, what made them, and the batches' mean objectives and L0 [steps]."""

  w_SD: np.ndarray
  state: Any
  objective_t: np.ndarray
  l0_t: np.ndarray


def free_atoms(gram_SS, cross_SD, w_SD, fresh_SD):
  """Atoms of norm at most 1, each best given the others (Mairal, algorithm 2).

  The bound costs nothing at λ = 0, where codes take on any scale. An atom that
  no row uses becomes a fresh one, which changes no reconstruction.
  """
  is_used_S = jnp.diagonal(gram_SS) > _UNUSED
  w_SD = jnp.where(is_used_S[:, None], w_SD, fresh_SD)

  def improve(j, w_SD):
    row_D = w_SD[j] + (cross_SD[j] - gram_SS[j] @ w_SD) / jnp.maximum(
      gram_SS[j, j], 1e-30
    )
    row_D = row_D / jnp.maximum(jnp.linalg.norm(row_D), 1)
    return w_SD.at[j].set(jnp.where(is_used_S[j], row_D, w_SD[j]))

  return lax.fori_loop(0, len(w_SD), improve, w_SD)


@functools.partial(
  jax.jit, static_argnames=('atoms_of', 'improve', 'signed', 'iterations')
)
def _step(
  memory, state, l1, x_BD, keep, extra, *, atoms_of, improve, signed, iterations
):
  w_SD = atoms_of(state, extra)
  z_BS = descent.lasso(x_BD, w_SD, l1, signed=signed, iterations=iterations)
  b = len(x_BD)
  error = ((x_BD - z_BS @ w_SD) ** 2).sum() / 2 + l1 * jnp.abs(z_BS).sum()
  memory = (
    keep * memory[0] + (1 - keep) * z_BS.T @ z_BS / b,
    keep * memory[1] + (1 - keep) * z_BS.T @ x_BD / b,
  )
  state = improve(*memory, state, x_BD, extra)
  return memory, state, error / b, (z_BS != 0).sum() / b


def unit_scale(x_ND: np.ndarray) -> float:
  """Root mean square norm of rows: fits are made in its units."""
  total = sum(
    float((x_ND[i : i + 65_536].astype(np.float64) ** 2).sum())
    for i in range(0, len(x_ND), 65_536)
  )
  return max(np.sqrt(total / len(x_ND)), 1e-30)


def alternate(
  x_ND: np.ndarray,
  state: Any,
  atoms_of: Callable[[Any, Any], jax.Array],
  improve: Callable[..., Any],
  plan: Plan,
  seed: int,
  extra: Any = None,
) -> Fitted:
  """Fits a factorisation.

  Args:
    x_ND: rows.
    state: what atoms are made of, at the start.
    atoms_of: maps the state, and `extra`, to atoms [S, D] of norm at most 1.
    improve: maps ZᵀZ/B [S, S], ZᵀX/B [S, D], the state, rows that fresh atoms
      may be taken from [B, D], and `extra` to a better state.
    plan: how.
    seed: of the order of rows.
    extra: arrays that stay as they are.
  """
  n, scale = len(x_ND), unit_scale(x_ND)
  batch = min(plan.batch, n)
  atoms_SD = np.asarray(atoms_of(state, extra))
  s, d = atoms_SD.shape
  first_BD = x_ND[batches.permute(np.arange(batch), n, seed=seed)] / scale
  reach = float(np.abs(first_BD @ atoms_SD.T).max(1).mean())
  l1 = reach * (plan.l1 or (0.1 if plan.l0 is not None else 0.0))
  memory = jnp.zeros((s, s)), jnp.zeros((s, d))
  objectives, l0s = [], []
  with jax.default_matmul_precision('highest'):
    for t in range(plan.steps):
      epoch, at = divmod(t * batch, n)
      place_B = np.arange(at, at + batch)
      rows_B = batches.permute(place_B % n, n, seed=seed, epoch=epoch)
      x_BD = jnp.asarray(x_ND[np.sort(rows_B)] / scale, jnp.float32)
      keep = 0.0 if batch == n else 1 - (t + 1) ** -_MEMORY
      memory, state, objective, l0 = _step(
        memory, state, l1, x_BD, keep, extra, atoms_of=atoms_of,
        improve=improve, signed=plan.signed, iterations=plan.iterations,
      )  # fmt: skip
      objectives.append(float(objective))
      l0s.append(float(l0))
      if plan.l0 is not None:
        l1 *= float(np.exp(_PACE * np.clip(l0s[-1] / plan.l0 - 1, -1, 1)))
  return Fitted(
    w_SD=np.asarray(atoms_of(state, extra)),
    state=state,
    objective_t=np.array(objectives) * scale**2,
    l0_t=np.array(l0s),
  )


def fresh(x_BD: jax.Array, s: int) -> jax.Array:
  """Unit rows [s, D] of a batch, over again where it has fewer."""
  x_SD = x_BD[jnp.arange(s) % len(x_BD)]
  norm_S1 = jnp.linalg.norm(x_SD, axis=1, keepdims=True)
  return x_SD / jnp.maximum(norm_S1, 1e-30)


def draw_rows(x_ND: np.ndarray, s: int, seed: int) -> np.ndarray:
  """s rows, all different unless there are fewer, drawn at random [s, D]."""
  n = len(x_ND)
  return x_ND[batches.permute(np.arange(s) % n, n, seed=seed, epoch=1)]
