"""Many SAEs from one pass over the data: each batch is read once, for all.

Every member comes to what its own run of `loop.train` would, to rounding.
"""

from collections.abc import Sequence
import contextlib
import dataclasses
import functools
import json
import os
from typing import Any

import jax
import orbax.checkpoint as ocp

from saejax import errors
from saejax import io
from saejax import nn
from saejax import run
from saejax import sharding
from saejax.train import averaging
from saejax.train import checkpoint
from saejax.train import config as config_lib
from saejax.train import finishing
from saejax.train import logging
from saejax.train import loop
from saejax.train import members as members_lib
from saejax.train import paired_plan
from saejax.train import plan as plan_lib

MEMBERS = 'members'
# Fields in which members may differ, in the order in which they name one; of
# `settings`, l1 alone may.
SWEPT = ('latents', 'expansion', 'k', 'lr', 'l1', 'seed')
STACKS = ('auto', 'vmap', 'loop')
Configs = Sequence[config_lib.TrainConfig]


def _value(config: config_lib.TrainConfig, name: str) -> Any:
  return config.settings.get(name) if name == 'l1' else getattr(config, name)


def _common(config: config_lib.TrainConfig) -> dict[str, Any]:
  """What all members share, as JSON has it."""
  fields = {
    name: value
    for name, value in dataclasses.asdict(config).items()
    if name not in SWEPT
  }
  settings = {n: v for n, v in config.settings.items() if n != 'l1'}
  return run.as_json(fields | {'settings': settings})


def _swept(configs: Configs) -> dict[str, list[Any]]:
  """Values of the swept fields, by member."""
  return {name: [_value(c, name) for c in configs] for name in SWEPT}


def names(configs: Configs) -> list[str]:
  """Names of members, such as `k8-seed0`.

  They tell k or l1, the seed, and whatever else members differ in.
  """
  meets_k = nn.ARCHITECTURES[configs[0].arch].meets_k
  always = {'k' if meets_k else 'l1', 'seed'}
  told = [
    name
    for name, values in _swept(configs).items()
    if len(set(values)) > 1 or (name in always and values[0] is not None)
  ]
  word = lambda v: 'default' if v is None else f'{v:.9g}'
  return [
    '-'.join(f'{name}{word(_value(c, name))}' for name in told) for c in configs
  ]


def _check(configs: Configs, stack: str) -> None:
  """UserError for what is no sweep."""
  if not configs:
    raise errors.UserError('A sweep needs a member; it was given none.')
  if stack not in STACKS:
    raise errors.UserError(
      f'--stack={stack} is unknown: choose one of {", ".join(STACKS)}.'
    )
  for config in configs:
    config_lib.check(config)
  first, *others = map(_common, configs)
  for other in others:
    differ = [name for name in first if first[name] != other[name]]
    if differ:
      raise errors.UserError(
        f'Members of a sweep share {differ[0]}; got {first[differ[0]]} and '
        f'{other[differ[0]]}. They may differ in {", ".join(SWEPT)}.'
      )
  found = names(configs)
  twice = sorted({name for name in found if found.count(name) > 1})
  if twice:
    raise errors.UserError(
      f'The sweep names {twice[0]} more than once: give each value once.'
    )
  if jax.process_count() > 1:
    raise errors.UserError(
      f'A sweep runs in one process; this is one of {jax.process_count()}.'
    )


def _resolve(stack: str, config: config_lib.TrainConfig) -> str:
  """'vmap' or 'loop'."""
  if stack == 'auto':
    is_plain = jax.default_backend() != 'cpu' and config.mesh is None
    return 'vmap' if is_plain else 'loop'
  if stack == 'vmap' and config.mesh is not None:
    raise errors.UserError(
      '--mesh is not for --stack=vmap, whose devices share out the members: '
      'leave it, or use --stack=loop.'
    )
  return stack


def make_plans(configs: Configs) -> list[plan_lib.Plan]:
  """Plans of members; those that differ in their seed alone share one."""
  is_paired = config_lib.is_paired(configs[0])
  make = (paired_plan if is_paired else plan_lib).make_plan
  found: dict[str, plan_lib.Plan] = {}

  def plan_of(config):
    asked = dataclasses.asdict(dataclasses.replace(config, seed=0))
    key = json.dumps(asked, sort_keys=True)
    if key not in found:
      found[key] = make(config)
    return found[key]

  return [plan_of(config) for config in configs]


def make_groups(
  configs: Configs, plans: Sequence[plan_lib.Plan], stack: str
) -> dict[str, members_lib.Group]:
  """Members by what one compiled step can serve, in order of appearance."""
  any_k = stack == 'vmap' and members_lib.selects_any_k(configs[0])
  found: dict[str, list[int]] = {}
  for i, plan in enumerate(plans):
    k = '' if any_k else f'k{plan.sae.k}'
    found.setdefault(f's{plan.sae.s}{k}', []).append(i)
  return {
    name: members_lib.Group(
      index=tuple(index),
      configs=tuple(configs[i] for i in index),
      plans=tuple(plans[i] for i in index),
    )
    for name, index in found.items()
  }


def _unstack(engines, groups, trees: dict[str, Any]) -> list[Any]:
  """Trees of groups, apart, in the order of members."""
  found = {}
  for name, tree in trees.items():
    parts = engines[name].unstack(tree)
    found |= dict(zip(groups[name].index, parts, strict=True))
  return [found[i] for i in range(len(found))]


def _advance(engines, states, batch, step):
  """Takes a step of every member."""
  took = {
    name: engine.advance(states[name], batch, step)
    for name, engine in engines.items()
  }
  return tuple({name: t[i] for name, t in took.items()} for i in range(3))


def _writer(
  folders: Sequence[str], start: int, config, plan, unstack
) -> logging.MembersWriter:
  """Metrics of members; the first one's are shown as well."""
  paths = [os.path.join(folder, loop.METRICS) for folder in folders]
  for folder, path in zip(folders, paths, strict=True):
    os.makedirs(folder, exist_ok=True)
    logging.truncate(path, start)
  first = os.path.basename(folders[0])
  show = lambda m: f'{first}: {loop.progress(m)}'
  writers = [
    logging.MetricsWriter(
      path,
      start=start,
      steps=plan.steps,
      every=config.log_every,
      batch=config.batch,
      show=None if i else show,
    )
    for i, path in enumerate(paths)
  ]
  return logging.MembersWriter(writers, unstack)


def _run_steps(
  groups: dict[str, members_lib.Group],
  mesh: jax.sharding.Mesh,
  stack: str,
  manager: ocp.CheckpointManager,
  out: str,
  folders: Sequence[str],
) -> list[Any]:
  """Takes every step that is not in a checkpoint; the states of members."""
  engines = {
    name: members_lib.in_turn(group, mesh)
    if stack == 'loop'
    else members_lib.stacked(group, jax.devices())
    for name, group in groups.items()
  }
  states = {name: engine.start() for name, engine in engines.items()}
  states, start = checkpoint.restore_latest(manager, states)
  first = next(iter(groups.values()))
  config, plan = first.configs[0], first.plan
  unstack = functools.partial(_unstack, engines, groups)
  if start < plan.steps:
    where = mesh if stack == 'loop' else next(iter(engines.values())).mesh
    run.add(out, meshes=loop.meshes(out, start, where))
    states = loop.take_steps(
      functools.partial(_advance, engines),
      states,
      start,
      _writer(folders, start, config, plan, unstack),
      config,
      plan,
      mesh,
      manager,
    )
  return unstack(states)


def _finish(out: str, path: str, config, plan, state) -> None:
  """Writes the dictionary of a member."""
  state = jax.device_get(state)
  average = averaging.average_of(state)
  averaged = {} if average is None else {'params': average}
  finishing.write(
    path,
    config,
    plan,
    state.variables | averaged,
    is_averaged=average is not None,
    meshes=run.read(out)['meshes'],
  )


def sweep(
  configs: Configs, out: str, resume: bool = False, stack: str = 'auto'
) -> list[str]:
  """Trains an SAE for each config on the same batches, each read once.

  Writes `out/members/NAME/sae` and `metrics.jsonl` of every member (`names`
  gives NAME), `out/run.json` and `out/checkpoints`. The same configs give the
  same bits, however often the sweep was killed and resumed.

  Args:
    configs: of members, which differ in nothing but `SWEPT`.
    out: folder of the sweep.
    resume: whether to go on with the sweep that is there.
    stack: 'vmap' takes a step of members of one size at once, 'loop' member by
      member; 'auto' is 'loop' on a CPU or a --mesh, and 'vmap' elsewhere.

  Returns:
    The folders of the dictionaries, in the order of the configs.

  Raises:
    UserError, StoreError: it cannot be run; nothing was written.
    Stopped: SIGTERM or SIGUSR1 came; a checkpoint is written.
  """
  _check(configs, stack)
  stack = _resolve(stack, configs[0])
  plans = make_plans(configs)
  mesh = sharding.make_mesh((1, 1) if stack == 'vmap' else configs[0].mesh)
  for plan in plans:
    loop.check_mesh(plan, mesh)
  record = _common(configs[0]) | _swept(configs) | {'stack': stack}
  run.open_folder(out, record, resume, loop.MAY_DIFFER)
  folders = [os.path.join(out, MEMBERS, name) for name in names(configs)]
  paths = [os.path.join(folder, loop.DICTIONARY) for folder in folders]
  is_there = lambda path: os.path.exists(os.path.join(path, io.CONFIG))
  if all(map(is_there, paths)):
    return paths
  groups = make_groups(configs, plans, stack)
  manager = checkpoint.open_manager(
    os.path.join(out, 'checkpoints'), configs[0].keep
  )
  with contextlib.closing(manager):
    states = _run_steps(groups, mesh, stack, manager, out, folders)
    manager.wait_until_finished()
  for path, config, plan, state in zip(
    paths, configs, plans, states, strict=True
  ):
    if not is_there(path):
      _finish(out, path, config, plan, state)
  return paths
