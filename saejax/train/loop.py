"""The run: a store in, a folder with a dictionary out; killed, it resumes."""

from collections.abc import Iterator
import contextlib
import dataclasses
import functools
import os
from typing import Any

import jax
from jax.experimental import multihost_utils
import numpy as np
import orbax.checkpoint as ocp

from saejax import errors
from saejax import io
from saejax import losses_paired
from saejax import ops
from saejax import preemption
from saejax import processes
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
MAY_DIFFER = ('mesh',)  # Settings that a resumed run need not share.
_LOADERS = 4  # Threads that make batches, and batches made ahead.
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
  idle = jax.process_count() - len({d.process_index for d in mesh.devices.flat})
  if idle:
    raise errors.UserError(
      f'--mesh={data},{model} has no device of {idle} of the '
      f'{jax.process_count()} processes: let it take all {jax.device_count()} '
      'devices, or start fewer processes.'
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
  plan: plan_lib.Plan,
  variables: types.ArrayTree,
  *,
  free_norms: bool = False,
  is_averaged: bool = False,
) -> types.ArrayTree:
  """Variables of the host as they are saved: the threshold calibrated on `val`.

  Decoder rows have unit norm: what averaging took of it is given back, and
  free norms go into the codes.
  """
  variables = jax.tree.map(jax.numpy.asarray, variables)
  params = variables['params']
  if free_norms:
    variables['params'] = folding.fold_norms(params)
  elif is_averaged:
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


def _meshes(out: str, start: int, mesh: jax.sharding.Mesh) -> list[Any]:
  """Where each part of the run was, from the record; this part is the last."""
  before = run.read(out).get('meshes', [])
  before = [part for part in before if part['from_step'] < start]
  here = {'mesh': [*mesh.devices.shape], 'processes': jax.process_count()}
  if before and before[-1] | here == before[-1]:
    return before
  return [*before, {'from_step': start, **here}]


def _open(out: str, config: config_lib.TrainConfig, resume: bool) -> bool:
  """Opens the run's folder, once for all processes; true if it has ended."""
  given = out, dataclasses.asdict(config), resume, MAY_DIFFER
  # All look before one of them writes, so that all find the same.
  run.check_folder(*given)
  has_ended = os.path.exists(os.path.join(out, DICTIONARY, io.CONFIG))
  processes.meet('every process has seen the folder')
  if processes.is_first():
    run.open_folder(*given)
  processes.meet('the first process has opened the run')
  return has_ended


def _run_steps(
  config: config_lib.TrainConfig,
  plan: plan_lib.Plan,
  mesh: jax.sharding.Mesh,
  manager: ocp.CheckpointManager,
  out: str,
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
  metrics_file = None
  if processes.is_first():
    metrics_file = os.path.join(out, 'metrics.jsonl')
    logging.truncate(metrics_file, start)
    if start < plan.steps:
      run.add(out, meshes=_meshes(out, start, mesh))
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
  with writer, preemption.watch() as should_stop, jax.set_mesh(mesh):
    todo = range(start, plan.steps)
    ahead = batches.prefetch(make, todo, depth=_LOADERS, threads=_LOADERS)
    for step, batch in enumerate(ahead, start=start + 1):
      state, metrics, logs = train_step(state, batch)
      writer.add(step, logs, metrics)
      if resampling.is_due(step, config.resample_every, plan.steps):
        state = resample(state, batch)
      is_stop = should_stop(step) and step < plan.steps
      if is_stop or step % config.checkpoint_every == 0 or step == plan.steps:
        checkpoint.save(manager, step, state)
      if is_stop:
        manager.wait_until_finished()
        raise errors.Stopped(
          f'Stopped by a signal after step {step} of {plan.steps}, which is '
          'saved: the same command with --resume goes on from there.'
        )
  return state


def train(
  config: config_lib.TrainConfig, out: str, resume: bool = False
) -> str:
  """Trains an SAE; returns the folder of its dictionary, `out/sae`.

  The same config gives the same bits on the same mesh, versions and threads,
  however often it was killed and resumed. On another mesh or other processes
  it goes on as well, to the same numbers but for rounding; `run.json` and the
  dictionary say from which step it was where. In several processes all call
  this, on one folder.

  Raises:
    UserError, StoreError: the config cannot be run; nothing was written.
    Stopped: SIGTERM or SIGUSR1 came; a checkpoint is written.
  """
  is_paired = config_lib.is_paired(config)
  plan = (paired_plan if is_paired else plan_lib).make_plan(config)
  mesh = sharding.make_mesh(config.mesh)
  _check_mesh(plan, mesh)
  dictionary = os.path.join(out, DICTIONARY)
  if _open(out, config, resume):
    return dictionary
  manager = checkpoint.open_manager(
    os.path.join(out, 'checkpoints'), config.keep
  )
  with contextlib.closing(manager):
    state = _run_steps(config, plan, mesh, manager, out)
    manager.wait_until_finished()
  average = averaging.average_of(state)
  trained = state.variables | ({} if average is None else {'params': average})
  # A collective: of several processes each holds but a part.
  variables = multihost_utils.process_allgather(trained, tiled=True)
  if processes.is_first():
    made_by = {
      'config': dataclasses.asdict(config),
      'steps': plan.steps,
      **_counts(plan),
      'meshes': run.read(out).get('meshes', []),
      'store_hash': plan.store_hash,
      'environment': provenance.collect(),
    }
    free_norms = config.decoder_norm == 'free'
    variables = finish(
      plan, variables, free_norms=free_norms, is_averaged=average is not None
    )
    io.save(dictionary, plan.sae, variables, made_by, plan.sites)
  processes.wait_for(
    lambda: os.path.exists(os.path.join(dictionary, io.CONFIG))
  )
  return dictionary
