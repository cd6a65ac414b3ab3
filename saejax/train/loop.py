"""The run: a store in, a folder with a dictionary out; killed, it resumes."""

from collections.abc import Iterator
import contextlib
import dataclasses
import functools
import os
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from saejax import errors
from saejax import io
from saejax import losses_paired
from saejax import ops
from saejax import provenance
from saejax import run
from saejax import sharding
from saejax import types
from saejax.data import batches
from saejax.data import pairs as pairs_lib
from saejax.train import averaging
from saejax.train import calibrate
from saejax.train import checkpoint
from saejax.train import config as config_lib
from saejax.train import folding
from saejax.train import logging
from saejax.train import optimisers
from saejax.train import paired_plan
from saejax.train import plan as plan_lib
from saejax.train import resampling
from saejax.train import schedules
from saejax.train import state as state_lib
from saejax.train import step as step_lib

P = jax.P
DICTIONARY = 'sae'
_CALIBRATION_ROWS = 4096  # Rows whose pre-activations are held at once.


def _place(
  load, which_B: np.ndarray, rows_B: np.ndarray, shape, spec: P, mesh
) -> jax.Array:
  """An array on the mesh, of which each process reads only its own rows."""
  cache = {}

  def local(index):
    key = (index[0].start, index[0].stop)
    if key not in cache:
      cache[key] = load(which_B[index[0]], rows_B[index[0]])
    return cache[key]

  return jax.make_array_from_callback(
    shape, jax.NamedSharding(mesh, spec), local
  )


def _paired_batch(
  mixture: pairs_lib.PairedMixture, mesh: jax.sharding.Mesh, step: int
) -> types.Batch:
  def place(shape, read):
    spec = P(sharding.DATA, *(None,) * (len(shape) - 1))
    cached = functools.cache(lambda start, stop: read(slice(start, stop)))
    return jax.make_array_from_callback(
      shape,
      jax.NamedSharding(mesh, spec),
      lambda index: cached(index[0].start, index[0].stop),
    )

  parts = mixture.parts(step)
  return types.Batch(**{name: place(*part) for name, part in parts.items()})


def make_batch(
  plan: plan_lib.Plan, mesh: jax.sharding.Mesh, step: int
) -> types.Batch:
  """The batch of a step, on the mesh."""
  if isinstance(plan.mixture, pairs_lib.PairedMixture):
    return _paired_batch(plan.mixture, mesh, step)
  which_B, rows_B = plan.mixture.rows_of(step)
  modality_M = np.asarray(plan.modality_of, np.int32)
  b = len(rows_B)
  place = functools.partial(_place, which_B=which_B, rows_B=rows_B, mesh=mesh)
  return types.Batch(
    x_BD=place(
      plan.mixture.take, shape=(b, plan.sae.d), spec=P(sharding.DATA, None)
    ),
    modality_B=place(
      lambda which_b, _: modality_M[which_b],
      shape=(b,),
      spec=P(sharding.DATA),
    ),
  )


def _check_mesh(plan: plan_lib.Plan, mesh: jax.sharding.Mesh) -> None:
  data, model = mesh.shape[sharding.DATA], mesh.shape[sharding.MODEL]
  rows = data * getattr(plan.mixture, 'rows_a_pair', 1)
  if plan.mixture.batch % rows or plan.sae.s % model:
    raise errors.UserError(
      f'--mesh={data},{model} does not divide the work: --batch='
      f'{plan.mixture.batch} must be a multiple of {rows}, and the '
      f'dictionary of {plan.sae.s} concepts a multiple of {model}.'
    )


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
    plan.mixture.streams, shares, plan.modality_of, strict=True
  ):
    rows = stream.rows('val')
    for start in range(0, len(rows), _CALIBRATION_ROWS):
      x_bD = stream.take(rows[start : start + _CALIBRATION_ROWS])
      yield x_bD.astype(np.float32), modality, share / len(rows)


def _val_preactivations(
  plan: plan_lib.Plan, variables: types.ArrayTree
) -> Iterator[tuple[np.ndarray, float]]:
  """Pre-activations of every row of `val`, weighted as in training."""
  # In float32 whatever it trained in, as it will be once it is loaded.
  sae = plan.sae.clone(dtype='float32')
  apply = jax.jit(functools.partial(sae.apply, method='preactivations'))
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
  plan: plan_lib.Plan, state: state_lib.TrainState, free_norms: bool = False
) -> types.ArrayTree:
  """The trained variables on the host, their threshold calibrated on `val`.

  They are the run's average, if it kept one. Decoder rows have unit norm: what
  averaging took of it is given back, and free norms go into the codes.
  """
  average = averaging.average_of(state)
  trained = state.variables | ({} if average is None else {'params': average})
  variables = jax.tree.map(
    lambda x: jax.numpy.asarray(jax.device_get(x)), trained
  )
  params = variables['params']
  if free_norms:
    variables['params'] = folding.fold_norms(params)
  elif average is not None:
    w_dec = ops.unit_rows(params['w_dec'])
    variables['params'] = params | {'w_dec': w_dec}
  if 'threshold' in variables['constants']:
    threshold = calibrate.exact_threshold(
      lambda: _val_preactivations(plan, variables), plan.sae.k
    )
    variables['constants']['threshold'] = jax.numpy.asarray(threshold)
  return variables


def _optimiser(config: config_lib.TrainConfig, plan: plan_lib.Plan):
  return optimisers.make_optimiser(
    plan.lr,
    plan.steps,
    config.weight_decay,
    config.clip,
    name=config.optimiser,
    schedule=plan.lr_schedule,
    warmup=config.warmup,
  )


def _train_step(
  config: config_lib.TrainConfig, plan: plan_lib.Plan, tx
) -> step_lib.TrainStep:
  """The step of a run, before it is jitted."""
  anneal = None
  if config.k_start is not None:
    anneal = schedules.Annealing(config.k_start, config.k_anneal)
  return step_lib.make_train_step(
    plan.sae,
    tx,
    steps=plan.steps,
    aux_weight=config.aux_weight,
    aux_k=plan.aux_k,
    dead_after=plan.dead_after,
    extra_loss=losses_paired.make_penalty(
      config.align, config.group_sparse, len(plan.mixture.streams)
    ),
    anneal=anneal,
    multi_topk=config.multi_topk,
    ema=config.ema,
    free_norms=config.decoder_norm == 'free',
  )


def _resampler(config: config_lib.TrainConfig, plan: plan_lib.Plan, shardings):
  """resample(state, batch) -> state, drawn from the seed and the step."""

  def resample(state, batch):
    key = jax.random.fold_in(jax.random.key(config.seed), state.step)
    return resampling.resample(plan.sae, state, batch, key, plan.dead_after)

  return jax.jit(resample, donate_argnums=0, out_shardings=shardings)


def _run_steps(
  config: config_lib.TrainConfig,
  plan: plan_lib.Plan,
  mesh: jax.sharding.Mesh,
  manager: ocp.CheckpointManager,
  metrics_file: str | None,
) -> state_lib.TrainState:
  """Takes every step that is not in a checkpoint yet."""
  tx = _optimiser(config, plan)
  state, shardings = state_lib.create(
    plan.sae,
    tx,
    plan.constants,
    config.seed,
    mesh,
    b_dec_D=plan.b_dec_D,
    with_ema=config.ema > 0,
  )
  state, start = checkpoint.restore_latest(manager, state)
  if metrics_file:
    logging.truncate(metrics_file, start)
  replicated = jax.NamedSharding(mesh, P())
  train_step = jax.jit(
    _train_step(config, plan, tx),
    donate_argnums=0,
    out_shardings=(shardings, replicated, replicated),
  )
  resample = _resampler(config, plan, shardings)
  writer = logging.MetricsWriter(
    metrics_file,
    start=start,
    steps=plan.steps,
    every=config.log_every,
    batch=config.batch,
    show=lambda m: f'R² {m["r2"]:.3f}, L0 {m["l0"]:.1f}, dead {m["dead"]:.1%}',
  )
  make = functools.partial(make_batch, plan, mesh)
  with writer, jax.set_mesh(mesh):
    ahead = batches.prefetch(make, range(start, plan.steps))
    for step, batch in enumerate(ahead, start=start + 1):
      state, metrics, logs = train_step(state, batch)
      writer.add(step, logs, metrics)
      if resampling.is_due(step, config.resample_every, plan.steps):
        state = resample(state, batch)
      if step % config.checkpoint_every == 0 or step == plan.steps:
        checkpoint.save(manager, step, state)
  return state


def train(
  config: config_lib.TrainConfig, out: str, resume: bool = False
) -> str:
  """Trains an SAE; returns the folder of its dictionary, `out/sae`.

  The same config gives the same bits on the same mesh, versions and threads,
  however often it was killed and resumed.

  Raises:
    UserError, StoreError: the config cannot be run; nothing was written.
  """
  is_paired = config_lib.is_paired(config)
  plan = (paired_plan if is_paired else plan_lib).make_plan(config)
  mesh = sharding.make_mesh(config.mesh)
  _check_mesh(plan, mesh)
  dictionary = os.path.join(out, DICTIONARY)
  run.open_folder(out, dataclasses.asdict(config), resume)
  if os.path.exists(os.path.join(dictionary, io.CONFIG)):
    return dictionary  # A resumed run that had ended.
  is_first = jax.process_index() == 0
  metrics_file = os.path.join(out, 'metrics.jsonl') if is_first else None
  manager = checkpoint.open_manager(
    os.path.join(out, 'checkpoints'), config.keep
  )
  with contextlib.closing(manager):
    state = _run_steps(config, plan, mesh, manager, metrics_file)
    manager.wait_until_finished()
  variables = finish(plan, state, config.decoder_norm == 'free')
  if is_first:
    made_by = {
      'config': dataclasses.asdict(config),
      'steps': plan.steps,
      **_counts(plan),
      'store_hash': plan.store_hash,
      'environment': provenance.collect(),
    }
    io.save(dictionary, plan.sae, variables, made_by, plan.sites)
  return dictionary
