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
from saejax import preemption
from saejax import processes
from saejax import provenance
from saejax import run
from saejax import sharding
from saejax import types
from saejax.data import batches
from saejax.train import calibrate
from saejax.train import checkpoint
from saejax.train import config as config_lib
from saejax.train import logging
from saejax.train import plan as plan_lib
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


def make_batch(
  plan: plan_lib.Plan, mesh: jax.sharding.Mesh, step: int
) -> types.Batch:
  """The batch of a step, on the mesh."""
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
  if plan.mixture.batch % data or plan.sae.s % model:
    raise errors.UserError(
      f'--mesh={data},{model} does not divide the work: --batch='
      f'{plan.mixture.batch} must be a multiple of {data}, and the '
      f'dictionary of {plan.sae.s} concepts a multiple of {model}.'
    )
  idle = jax.process_count() - len({d.process_index for d in mesh.devices.flat})
  if idle:
    raise errors.UserError(
      f'--mesh={data},{model} has no device of {idle} of the '
      f'{jax.process_count()} processes: let it take all {jax.device_count()} '
      'devices, or start fewer processes.'
    )


def _val_preactivations(
  plan: plan_lib.Plan, variables: types.ArrayTree
) -> Iterator[tuple[np.ndarray, float]]:
  """Pre-activations of every row of `val`, weighted as in training."""
  # In float32 whatever it trained in, as it will be once it is loaded.
  sae = plan.sae.clone(dtype='float32')
  apply = jax.jit(functools.partial(sae.apply, method='preactivations'))
  shares = np.asarray(plan.mixture.shares) / np.sum(plan.mixture.shares)
  for stream, share, modality in zip(
    plan.mixture.streams, shares, plan.modality_of, strict=True
  ):
    rows = stream.rows('val')
    for start in range(0, len(rows), _CALIBRATION_ROWS):
      x_BD = stream.take(rows[start : start + _CALIBRATION_ROWS])
      x_BD = x_BD.astype(np.float32)
      modality_B = np.full(len(x_BD), modality, np.int32)
      with jax.default_matmul_precision('highest'):
        pre_BS = apply(variables, x_BD, modality_B)
      yield np.asarray(pre_BS), share / len(rows)


def finish(plan: plan_lib.Plan, variables: types.ArrayTree) -> types.ArrayTree:
  """Variables of the host, with the threshold calibrated on `val`."""
  variables = jax.tree.map(jax.numpy.asarray, variables)
  if 'threshold' in variables['constants']:
    threshold = calibrate.exact_threshold(
      lambda: _val_preactivations(plan, variables), plan.sae.k
    )
    variables['constants']['threshold'] = jax.numpy.asarray(threshold)
  return variables


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
  tx = step_lib.make_optimiser(
    config.lr, plan.steps, config.weight_decay, config.clip
  )
  state, shardings = state_lib.create(
    plan.sae, tx, plan.constants, config.seed, mesh
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
    step_lib.make_train_step(
      plan.sae,
      tx,
      steps=plan.steps,
      aux_weight=config.aux_weight,
      aux_k=plan.aux_k,
      dead_after=plan.dead_after,
    ),
    donate_argnums=0,
    out_shardings=(shardings, replicated, replicated),
  )
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
  plan = plan_lib.make_plan(config)
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
  # A collective: of several processes each holds but a part.
  variables = multihost_utils.process_allgather(state.variables, tiled=True)
  if processes.is_first():
    made_by = {
      'config': dataclasses.asdict(config),
      'steps': plan.steps,
      'meshes': run.read(out).get('meshes', []),
      'store_hash': plan.store_hash,
      'environment': provenance.collect(),
    }
    io.save(dictionary, plan.sae, finish(plan, variables), made_by)
  processes.wait_for(
    lambda: os.path.exists(os.path.join(dictionary, io.CONFIG))
  )
  return dictionary
