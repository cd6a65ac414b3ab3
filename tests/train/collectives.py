"""What a compiled step says between devices, read from its HLO.

As a program, lists it for a mesh of fake devices; no array is ever made:

  python -m tests.train.collectives --mesh=2,4 --d=768 --s=16384 --batch=8192

A compiler for another device may join, split or overlap what is listed; kinds
and bytes follow from the program and its shardings.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import math
import re

from absl import app
from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

from saejax import nn
from saejax import sharding
from saejax import types
from saejax.train import optimisers
from saejax.train import state as state_lib
from saejax.train import step as step_lib

P = jax.P
KINDS = (
  'all-reduce', 'all-gather', 'reduce-scatter', 'all-to-all',
  'collective-permute', 'collective-broadcast', 'ragged-all-to-all',
)  # fmt: skip
_BYTES = {
  'pred': 1, 's8': 1, 'u8': 1, 's16': 2, 'u16': 2, 'bf16': 2, 'f16': 2,
  's32': 4, 'u32': 4, 'f32': 4, 's64': 8, 'u64': 8, 'f64': 8,
}  # fmt: skip
# `%name = TYPE kind(`; TYPE may be a tuple, and kind the start of one.
_LINE = re.compile(rf'= (.+?) ({"|".join(KINDS)})(?:-start)?\(')
_SHAPE = re.compile(rf'\b({"|".join(_BYTES)})\[([\d,]*)\]')


@dataclasses.dataclass(frozen=True)
class Collective:
  """One operation, once a step.

  Attributes:
    kind: one of KINDS.
    axis: the mesh axes it runs over, such as 'data' or 'data,model'.
    shapes: of its results on one device.
    bytes: of its results on one device.
  """

  kind: str
  axis: str
  shapes: tuple[str, ...]
  bytes: int


def _numbers(text: str) -> list[int]:
  return [int(n) for n in text.split(',')]


def _turned(shape: str, order: str | None) -> np.ndarray:
  """Devices 0…n-1 in a shape, its axes then reordered: `[2,4]T(1,0)`."""
  ids = np.arange(math.prod(_numbers(shape))).reshape(_numbers(shape))
  return ids.transpose(_numbers(order)) if order else ids


def _groups(line: str) -> np.ndarray:
  """The groups of devices [groups, members] between which a line speaks."""
  if found := re.search(
    r'replica_groups=mesh\[([^]]+)\](?:, device_ids=\(\[([\d,]+)\]'
    r"(?:T\(([\d,]+)\))?\))? \{('\w+'(?:,'\w+')*)\}",
    line,
  ):  # By the axes of a mesh.
    sizes = dict(axis.split('=') for axis in found[1].split(','))
    shape = ','.join(sizes.values())
    ids = _turned(found[2] or shape, found[3]).reshape(_numbers(shape))
    over = [list(sizes).index(name) for name in found[4].split(',')]
    ids = np.moveaxis(ids, over, range(-len(over), 0))
    return ids.reshape(-1, math.prod(ids.shape[-len(over) :]))
  if found := re.search(
    r'replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?', line
  ):  # By a shape and an order.
    return _turned(found[2], found[3]).reshape(_numbers(found[1]))
  if found := re.search(r'(?:groups|pairs)=\{(\{[\d,{}]*\})\}', line):
    return np.array(
      [_numbers(g) for g in re.findall(r'\{([\d,]+)\}', found[1])]
    )
  raise ValueError(f'No groups of devices in: {line}')


def parse(hlo: str, shape: tuple[int, int]) -> Iterator[Collective]:
  """Collectives in the text of a compiled program on a (data, model) mesh."""
  for line in hlo.splitlines():
    found = _LINE.search(line)
    if not found:
      continue
    places = np.stack(np.unravel_index(_groups(line), shape))
    moves = (places != places[:, :, :1]).any((1, 2))
    if not moves.any():  # Each device by itself: nothing is said.
      continue
    arrays = _SHAPE.findall(found[1])
    yield Collective(
      kind=found[2],
      axis=','.join(np.array([sharding.DATA, sharding.MODEL])[moves]),
      shapes=tuple(f'{t}[{dims}]' for t, dims in arrays),
      bytes=sum(
        _BYTES[t] * math.prod(int(n) for n in dims.split(',') if n)
        for t, dims in arrays
      ),
    )


def compile_step(
  sae: nn.LinearSAE, shape: tuple[int, int], batch: int, aux_k: int = 0
) -> jax.stages.Compiled:
  """The step of training, compiled for a mesh, from shapes alone."""
  mesh = sharding.make_mesh(shape)
  tx = optimisers.make_optimiser(1e-3, 100, weight_decay=1e-5, clip=1.0)
  m = len(sae.modalities)
  constants = {'center': np.zeros((m, sae.d), np.float32)}
  constants['scale'] = np.ones(m, np.float32)
  init = state_lib.make_init(sae, tx, constants)
  state = jax.eval_shape(init, jax.random.key(0))
  shardings = sharding.infer_shardings(state, mesh)
  replicated = jax.NamedSharding(mesh, P())
  abstract = lambda s, spec: jax.ShapeDtypeStruct(
    s.shape, s.dtype, sharding=spec
  )
  rows = lambda *names: jax.NamedSharding(mesh, P(sharding.DATA, *names))
  given = types.Batch(
    x_BD=jax.ShapeDtypeStruct((batch, sae.d), jnp.float32, sharding=rows(None)),
    modality_B=jax.ShapeDtypeStruct((batch,), jnp.int32, sharding=rows()),
  )
  train_step = step_lib.make_train_step(
    sae, tx, steps=100, aux_weight=1 / 32 if aux_k else 0.0, aux_k=aux_k,
    dead_after=10 * batch,
  )  # fmt: skip
  with jax.set_mesh(mesh):
    return (
      jax.jit(
        train_step,
        donate_argnums=0,
        out_shardings=(shardings, replicated, replicated),
      )
      .lower(jax.tree.map(abstract, state, shardings), given)
      .compile()
    )


def main(_: Sequence[str]) -> None:
  shape = tuple(int(n) for n in flags.FLAGS.mesh)
  jax.config.update('jax_platforms', 'cpu')
  jax.config.update('jax_num_cpu_devices', math.prod(shape))
  names = ('arch', 'd', 's', 'k', 'batch', 'aux_k')
  arch, d, s, k, batch, aux_k = (flags.FLAGS[name].value for name in names)
  sae = nn.ARCHITECTURES[arch](d=d, s=s, k=k, use_b_dec=False)
  compiled = compile_step(sae, shape, batch, aux_k)
  for c in sorted(parse(compiled.as_text(), shape), key=lambda c: -c.bytes):
    print(f'{c.bytes:>12} B  {c.kind} over {c.axis}: {", ".join(c.shapes)}')


if __name__ == '__main__':
  flags.DEFINE_list('mesh', ['2', '4'], 'data,model.')
  flags.DEFINE_string('arch', 'topk', 'Variant.')
  flags.DEFINE_integer('d', 768, 'Width.')
  flags.DEFINE_integer('s', 16384, 'Concepts.')
  flags.DEFINE_integer('k', 32, 'Active concepts a row.')
  flags.DEFINE_integer('batch', 8192, 'Rows.')
  flags.DEFINE_integer('aux_k', 0, 'Dead concepts of AuxK; 0 leaves it out.')
  app.run(main)
