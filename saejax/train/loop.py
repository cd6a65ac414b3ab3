"""The run: a store in, a folder with a dictionary out; killed, it resumes."""

from collections.abc import Callable
import contextlib
import dataclasses
import functools
import os
from typing import Any

import jax
from jax.experimental import multihost_utils
import numpy as np
import optax
import orbax.checkpoint as ocp

from saejax import errors
from saejax import io
from saejax import losses_paired
from saejax import preemption
from saejax import processes
from saejax import run
from saejax import sharding
from saejax import types
from saejax.data import batches
from saejax.data import pairs as pairs_lib
from saejax.ops import forms
from saejax.train import averaging
from saejax.train import checkpoint
from saejax.train import config as config_lib
from saejax.train import finishing
from saejax.train import logging
from saejax.train import optimisers
from saejax.train import paired_plan
from saejax.train import plan as plan_lib
from saejax.train import resampling
from saejax.train import schedules
from saejax.train import state as state_lib
from saejax.train import step as step_lib

P = jax.P
DICTIONARY, METRICS = 'sae', 'metrics.jsonl'
MAY_DIFFER = ('mesh',)  # Settings that a resumed run need not share.
_LOADERS = 4  # Threads that make batches, and batches made ahead.


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


def check_mesh(plan: plan_lib.Plan, mesh: jax.sharding.Mesh) -> None:
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


def make_schedule(
  config: config_lib.TrainConfig, plan: plan_lib.Plan
) -> optax.Schedule:
  """The learning rate of a run by step, counted from 0."""
  return optimisers.schedule_of(
    plan.lr_schedule, plan.lr, plan.steps, config.warmup
  )


def make_optimiser(
  config: config_lib.TrainConfig,
  plan: plan_lib.Plan,
  rates: optax.Schedule | None = None,
) -> optax.GradientTransformation:
  """The optimiser of a run; `rates` in place of the plan's own schedule."""
  return optimisers.make_optimiser(
    rates or make_schedule(config, plan),
    plan.steps,
    config.weight_decay,
    config.clip,
    name=config.optimiser,
  )


def make_step(
  config: config_lib.TrainConfig,
  plan: plan_lib.Plan,
  tx: optax.GradientTransformation,
  **given: Any,
) -> step_lib.TrainStep:
  """The step of a run, before it is jitted; `make_train_step` takes `given`."""
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
      config.align, config.group_sparse, len(config.streams)
    ),
    anneal=anneal,
    multi_topk=config.multi_topk,
    ema=config.ema,
    free_norms=config.decoder_norm == 'free',
    **given,
  )


@functools.lru_cache(maxsize=4)
def _jitted_step(
  config: config_lib.TrainConfig,
  plan: plan_lib.Plan,
  shardings: tuple[jax.NamedSharding, ...],
  structure: jax.tree_util.PyTreeDef,
  kernels: str,
) -> step_lib.TrainStep:
  del kernels  # Read while the step is traced.
  replicated = jax.NamedSharding(shardings[0].mesh, P())
  return jax.jit(
    make_step(config, plan, make_optimiser(config, plan)),
    donate_argnums=0,
    out_shardings=(
      jax.tree.unflatten(structure, shardings),
      replicated,
      replicated,
    ),
  )


def jitted_step(
  config: config_lib.TrainConfig, plan: plan_lib.Plan, shardings: Any
) -> step_lib.TrainStep:
  """The jitted step of a run, one for all whose steps are traced alike.

  Rows and seeds may differ, but for what the plan took from the rows. Tracing
  takes as long as a thousand steps of a small dictionary. What it does not
  depend on is left out, so that no rows are kept with it.
  """
  config = dataclasses.replace(
    config, store='', rows=None, mix='', settings=(), seed=0, data_seed=0,
    live=None,
  )  # fmt: skip
  plan = dataclasses.replace(
    plan, mixture=None, constants=None, b_dec_D=None, store_hash='', sites=()
  )
  leaves, structure = jax.tree.flatten(shardings)
  return _jitted_step(config, plan, tuple(leaves), structure, forms.current())


def make_resample(plan: plan_lib.Plan):
  """resample(state, batch, key) -> state, drawn from a run's key and step."""

  def resample(state, batch, key):
    key = jax.random.fold_in(key, state.step)
    return resampling.resample(plan.sae, state, batch, key, plan.dead_after)

  return resample


def meshes(out: str, start: int, mesh: jax.sharding.Mesh) -> list[Any]:
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


def take_steps(
  advance: Callable[[Any, types.Batch, int], tuple[Any, Any, Any]],
  state: types.ArrayTree,
  start: int,
  writer: logging.MetricsWriter | logging.MembersWriter,
  config: config_lib.TrainConfig,
  plan: plan_lib.Plan,
  mesh: jax.sharding.Mesh,
  manager: ocp.CheckpointManager,
) -> types.ArrayTree:
  """Takes every step after `start`, and saves the state now and then.

  Args:
    advance: (state, batch, step) -> (state, metrics, logs).
    state: any tree of arrays.
    start: steps that were taken before.
    writer: of metrics and logs.
    config: of the run.
    plan: of its batches and its length.
    mesh: where batches lie; it is current while `advance` runs.
    manager: of checkpoints.

  Raises:
    Stopped: SIGTERM or SIGUSR1 came; a checkpoint is written.
  """
  make = functools.partial(make_batch, plan, mesh)
  with writer, preemption.watch() as should_stop, jax.set_mesh(mesh):
    todo = range(start, plan.steps)
    if getattr(plan.mixture, 'is_computed', False):
      ahead = map(make, todo)  # Two threads must not share the devices.
    else:
      ahead = batches.prefetch(make, todo, depth=_LOADERS, threads=_LOADERS)
    for step, batch in enumerate(ahead, start=start + 1):
      state, metrics, logs = advance(state, batch, step)
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


def progress(m: dict[str, float]) -> str:
  """Numbers of a window of steps as words."""
  return f'R² {m["r2"]:.3f}, L0 {m["l0"]:.1f}, dead {m["dead"]:.1%}'


def _run_steps(
  config: config_lib.TrainConfig,
  plan: plan_lib.Plan,
  mesh: jax.sharding.Mesh,
  manager: ocp.CheckpointManager,
  out: str,
) -> state_lib.TrainState:
  """Takes every step that is not in a checkpoint yet."""
  tx = make_optimiser(config, plan)
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
    metrics_file = os.path.join(out, METRICS)
    logging.truncate(metrics_file, start)
    if start < plan.steps:
      run.add(out, meshes=meshes(out, start, mesh))
  train_step = jitted_step(config, plan, shardings)
  key = jax.random.key(config.seed)
  resample = jax.jit(
    functools.partial(make_resample(plan), key=key),
    donate_argnums=0,
    out_shardings=shardings,
  )

  def advance(state, batch, step):
    state, metrics, logs = train_step(state, batch)
    if resampling.is_due(step, config.resample_every, plan.steps):
      state = resample(state, batch)
    return state, metrics, logs

  writer = logging.MetricsWriter(
    metrics_file,
    start=start,
    steps=plan.steps,
    every=config.log_every,
    batch=config.batch,
    show=progress,
  )
  return take_steps(advance, state, start, writer, config, plan, mesh, manager)


def train(
  config: config_lib.TrainConfig,
  out: str,
  resume: bool = False,
  plan: plan_lib.Plan | None = None,
) -> str:
  """Trains an SAE; returns the folder of its dictionary, `out/sae`.

  The same config gives the same bits on the same mesh, versions and threads,
  however often it was killed and resumed. On another mesh or other processes
  it goes on as well, to the same numbers but for rounding; `run.json` and the
  dictionary say from which step it was where. In several processes all call
  this, on one folder. `plan` is in place of what the config comes to on its
  store.

  Raises:
    UserError, StoreError: the config cannot be run; nothing was written.
    Stopped: SIGTERM or SIGUSR1 came; a checkpoint is written.
  """
  if plan is None:
    is_paired = config_lib.is_paired(config)
    plan = (paired_plan if is_paired else plan_lib).make_plan(config)
  mesh = sharding.make_mesh(config.mesh)
  check_mesh(plan, mesh)
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
    finishing.write(
      dictionary,
      config,
      plan,
      variables,
      is_averaged=average is not None,
      meshes=run.read(out).get('meshes', []),
    )
  processes.wait_for(
    lambda: os.path.exists(os.path.join(dictionary, io.CONFIG))
  )
  return dictionary
