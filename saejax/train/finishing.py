"""What becomes of trained weights: norms folded, thresholds exact, a folder."""

from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from saejax import io
from saejax import nn
from saejax import provenance
from saejax import types
from saejax.data import pairs as pairs_lib
from saejax.train import calibrate
from saejax.train import config as config_lib
from saejax.train import folding
from saejax.train import plan as plan_lib

_CALIBRATION_ROWS = 4096  # Rows whose pre-activations are held at once.


def _val_blocks(
  plan: plan_lib.Plan,
) -> Iterator[tuple[np.ndarray, int, float]]:
  """Rows [b, D] of `val`, their modality, and the weight of each of them."""
  if isinstance(plan.mixture, pairs_lib.Joined):
    for x_bD, n in plan.mixture.blocks('val', _CALIBRATION_ROWS):
      yield x_bD, 0, 1 / n
    return
  shares = np.asarray(plan.mixture.shares) / np.sum(plan.mixture.shares)
  for stream, share, modality in zip(
    plan.mixture.held, shares, plan.modality_of, strict=True
  ):
    rows = stream.rows('val')
    for start in range(0, len(rows), _CALIBRATION_ROWS):
      x_bD = stream.take(rows[start : start + _CALIBRATION_ROWS])
      yield x_bD.astype(np.float32), modality, share / len(rows)


@functools.lru_cache(maxsize=8)
def _preactivations(sae: nn.LinearSAE):
  return jax.jit(functools.partial(sae.apply, method='preactivations'))


def _val_preactivations(
  plan: plan_lib.Plan, variables: types.ArrayTree
) -> Iterator[tuple[np.ndarray, float]]:
  """Pre-activations of every row of `val`, weighted as in training."""
  # In float32 whatever it trained in, as it will be once it is loaded.
  apply = _preactivations(plan.sae.clone(dtype='float32'))
  for x_BD, modality, weight in _val_blocks(plan):
    modality_B = np.full(len(x_BD), modality, np.int32)
    with jax.default_matmul_precision('highest'):
      pre_BS = apply(variables, x_BD, modality_B)
    yield np.asarray(pre_BS), weight


def _counts(plan: plan_lib.Plan) -> dict[str, Any]:
  """Pairs that were trained on, and rows of each stream without a partner."""
  if not isinstance(plan.mixture, pairs_lib.PairedMixture):
    return {}
  names = [stream.name for stream in plan.mixture.streams]
  pairs = plan.mixture.pairs
  return {
    'pairs': len(pairs.pair_G),
    'left_out': dict(zip(names, pairs.left_out, strict=True)),
  }


def finish(
  plan: plan_lib.Plan,
  variables: types.ArrayTree,
  *,
  free_norms: bool = False,
  is_averaged: bool = False,
) -> types.ArrayTree:
  """Variables of the host as they are saved: the threshold calibrated on `val`.

  Decoder rows have unit norm: what averaging took of it is given back, and
  free norms go into the codes. A dictionary that follows from other parameters
  is in their place.
  """
  variables = jax.tree.map(jax.numpy.asarray, variables)
  params = variables['params']
  whitening = getattr(plan.mixture, 'whitening', None)
  if whitening is not None:
    variables = folding.fold_whitening(
      variables, whitening.center_MD, whitening.w_DD, whitening.inverse_DD,
      plan.modality_of,
    )  # fmt: skip
  elif free_norms:
    variables['params'] = folding.fold_norms(params)
  elif is_averaged:
    variables['params'] = plan.sae.constrain(params)
  variables = plan.sae.materialise(variables)
  if 'threshold' in variables['constants']:
    threshold = calibrate.exact_threshold(
      lambda: _val_preactivations(plan, variables), plan.sae.k
    )
    variables['constants']['threshold'] = jax.numpy.asarray(threshold)
  return variables


def write(
  dictionary: str,
  config: config_lib.TrainConfig,
  plan: plan_lib.Plan,
  variables: types.ArrayTree,
  *,
  is_averaged: bool = False,
  meshes: Sequence[Any] = (),
) -> None:
  """Finishes variables of the host and writes them as a dictionary.

  Args:
    dictionary: its folder.
    config: of the run.
    plan: what it came to.
    variables: as they were trained.
    is_averaged: whether they are an average.
    meshes: from which step on the run was where.
  """
  made_by = {
    'config': dataclasses.asdict(config),
    'steps': plan.steps,
    **_counts(plan),
    'meshes': list(meshes),
    'store_hash': plan.store_hash,
    'environment': provenance.collect(),
  }
  variables = finish(
    plan,
    variables,
    free_norms=config.decoder_norm == 'free',
    is_averaged=is_averaged,
  )
  io.save(dictionary, plan.sae, variables, made_by, plan.sites)
