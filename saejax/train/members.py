"""Members of a sweep that share a shape, trained on one batch: two ways.

`in_turn` calls one jitted step for each member: on a CPU as fast as single
runs, and it takes a ('data', 'model') mesh as they do. `stacked` holds members
along a leading axis and vmaps the step, so that an accelerator sees one large
step rather than many small ones; several devices share out the members.
"""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np

from saejax import sharding
from saejax import types
from saejax.train import config as config_lib
from saejax.train import loop
from saejax.train import plan as plan_lib
from saejax.train import resampling
from saejax.train import state as state_lib

P = jax.P
STACK = 'stack'  # The axis of members.
_MEMBER = 'member'  # Of them, the axis of those on one device.


@flax.struct.dataclass
class Hyper:
  """What members of one compiled step differ in: scalars, or None if fixed.

  Attributes:
    lr: learning rate of this step.
    l1: weight of the L1 penalty, of variants that have one.
    k: mean active concepts a row, at most the module's.
  """

  lr: jax.Array
  l1: jax.Array | None = None
  k: jax.Array | None = None


@dataclasses.dataclass(frozen=True)
class Group:
  """Members that one compiled step serves.

  Attributes:
    index: which members of the sweep they are.
    configs: theirs.
    plans: theirs.
  """

  index: tuple[int, ...]
  configs: tuple[config_lib.TrainConfig, ...]
  plans: tuple[plan_lib.Plan, ...]

  @property
  def plan(self) -> plan_lib.Plan:
    """The plan of the member of largest k, which has room for the others."""
    return max(self.plans, key=lambda plan: plan.sae.k)

  def rates(self) -> np.ndarray:
    """Learning rates by step and member, float32 [steps, members]."""
    steps = jnp.arange(self.plan.steps)
    found: dict[float, np.ndarray] = {}
    for plan in self.plans:
      if plan.lr not in found:
        schedule = loop.make_schedule(self.configs[0], plan)
        rates = jax.jit(jax.vmap(schedule))(steps)
        found[plan.lr] = np.asarray(rates, np.float32)
    return np.stack([found[plan.lr] for plan in self.plans], axis=1)

  def hypers(self) -> Callable[[int], list[Hyper]]:
    """Gives what a step, counted from 1, takes for each member."""
    rates = self.rates()
    saes = [plan.sae for plan in self.plans]
    l1s = [getattr(sae, 'l1', None) for sae in saes]
    is_one_k = len({sae.k for sae in saes}) == 1
    ks = [None if is_one_k else sae.k for sae in saes]
    scalar = lambda x: None if x is None else np.float32(x)

    def at(step: int) -> list[Hyper]:
      return [
        Hyper(lr=lr, l1=scalar(l1), k=scalar(k))
        for lr, l1, k in zip(rates[step - 1], l1s, ks, strict=True)
      ]

    return at


@dataclasses.dataclass(frozen=True)
class Engine:
  """How a group is trained.

  Attributes:
    start: () -> the states of all members.
    advance: (states, batch, step) -> (states, metrics, logs), all of all
      members; steps are counted from 1.
    unstack: such a tree, apart: one tree for each member.
    mesh: where the members are.
  """

  start: Callable[[], Any]
  advance: Callable[[Any, types.Batch, int], tuple[Any, Any, Any]]
  unstack: Callable[[Any], Sequence[Any]]
  mesh: jax.sharding.Mesh


def selects_any_k(config: config_lib.TrainConfig) -> bool:
  """Whether a step compiled for one k selects any smaller one as well."""
  return config.arch in config_lib.SELECTING and not config.multi_topk


def _make_step(group: Group, stack: str | None = None):
  """step(state, batch, hyper) -> (state, metrics, logs) of one member."""
  config, plan = group.configs[0], group.plan

  def step(state, batch, hyper):
    sae = plan.sae if hyper.l1 is None else plan.sae.clone(l1=hyper.l1)
    tx = loop.make_optimiser(config, plan, lambda _: hyper.lr)
    own = dataclasses.replace(plan, sae=sae)
    take = loop.make_step(config, own, tx, k=hyper.k, stack=stack)
    return take(state, batch)

  return step


def _make_init(group: Group):
  """init(key) -> the state of one member."""
  config, plan = group.configs[0], group.plan
  return state_lib.make_init(
    plan.sae,
    loop.make_optimiser(config, plan),
    plan.constants,
    b_dec_D=plan.b_dec_D,
    with_ema=config.ema > 0,
  )


def _is_resampled(group: Group, step: int) -> bool:
  every = group.configs[0].resample_every
  return resampling.is_due(step, every, group.plan.steps)


def in_turn(group: Group, mesh: jax.sharding.Mesh) -> Engine:
  """Members one after another, each on the whole ('data', 'model') mesh."""
  init = _make_init(group)
  keys = [jax.random.key(config.seed) for config in group.configs]
  shardings = sharding.infer_shardings(jax.eval_shape(init, keys[0]), mesh)
  everywhere = jax.NamedSharding(mesh, P())
  step_one = jax.jit(
    _make_step(group),
    donate_argnums=0,
    out_shardings=(shardings, everywhere, everywhere),
  )
  resample_one = jax.jit(
    loop.make_resample(group.plan), donate_argnums=0, out_shardings=shardings
  )
  hypers = group.hypers()

  def start():
    with jax.set_mesh(mesh):
      return [*map(jax.jit(init, out_shardings=shardings), keys)]

  def advance(states, batch, step):
    took = [
      step_one(state, batch, hyper)
      for state, hyper in zip(states, hypers(step), strict=True)
    ]
    states, metrics, logs = (list(part) for part in zip(*took, strict=True))
    if _is_resampled(group, step):
      states = [
        resample_one(state, batch, key)
        for state, key in zip(states, keys, strict=True)
      ]
    return states, metrics, logs

  return Engine(start, advance, unstack=lambda tree: tree, mesh=mesh)


def _share_out(n: int, devices: Sequence[jax.Device]) -> jax.sharding.Mesh:
  """A mesh of the most devices that share n members evenly."""
  count = max(i for i in range(1, len(devices) + 1) if n % i == 0)
  return jax.sharding.Mesh(np.array(devices[:count]), (STACK,))


def stacked(group: Group, devices: Sequence[jax.Device]) -> Engine:
  """Members side by side along a leading axis, shared out over devices."""
  n = len(group.index)
  mesh = _share_out(n, devices)
  apart, everywhere = (jax.NamedSharding(mesh, s) for s in (P(STACK), P()))
  keys = jax.device_put(
    jnp.stack([jax.random.key(config.seed) for config in group.configs]), apart
  )

  def over_members(f):
    """f(state, batch, own) of all members, jitted."""
    local = jax.vmap(f, in_axes=(0, None, 0), axis_name=_MEMBER)
    split = jax.shard_map(
      local,
      mesh=mesh,
      in_specs=(P(STACK), P(), P(STACK)),
      out_specs=P(STACK),
      check_vma=False,
    )
    return jax.jit(split, donate_argnums=0)

  step_all = over_members(_make_step(group, stack=_MEMBER))
  resample_all = over_members(loop.make_resample(group.plan))
  hypers = group.hypers()

  def start():
    with jax.set_mesh(mesh):
      init = jax.vmap(_make_init(group))
      return jax.jit(init, out_shardings=apart)(keys)

  def advance(states, batch, step):
    batch = jax.device_put(batch, everywhere)
    hyper = jax.tree.map(lambda *x: np.stack(x), *hypers(step))
    with jax.set_mesh(mesh):
      states, metrics, logs = step_all(states, batch, hyper)
      if _is_resampled(group, step):
        states = resample_all(states, batch, keys)
    return states, metrics, logs

  def unstack(tree):
    return [jax.tree.map(lambda x, i=i: x[i], tree) for i in range(n)]

  return Engine(start, advance, unstack, mesh)
