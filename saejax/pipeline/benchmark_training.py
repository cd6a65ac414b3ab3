"""Training steps of ours in turns with those of torch libraries."""

from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import os
import tempfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from saejax import errors
from saejax.pipeline import benchmark_device
from saejax.pipeline import benchmark_stages
from saejax.pipeline import benchmark_steps
from saejax.pipeline import peers as peers_lib
from saejax.pipeline import timing

OURS = 'saejax'
_FIRST = 2  # Steps that are not counted: compilers and allocators are at work.
_MATMUL, _MIB = 4096, 256  # Large enough for a device to show what it can do.
Entries = dict[str, dict[str, Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
  """Flags of `benchmark --suite=train`.

  Attributes:
    shapes: DxSxKxB.
    archs, dtypes: of `benchmark_steps`.
    rounds: timed turns of each.
    steps: of a turn.
    aux: whether with AuxK.
    clip: norm to which gradients are clipped; 0 for not at all.
    peers_python: the Python that has the peers, if any.
    peers: their names.
    mesh: data, model of ours; None for one device.
  """

  shapes: tuple[str, ...]
  archs: tuple[str, ...]
  dtypes: tuple[str, ...]
  rounds: int
  steps: int
  aux: bool
  clip: float
  peers_python: str | None
  peers: tuple[str, ...]
  mesh: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True)
class Measured:
  """Results, who was left out and why, and versions of peers."""

  entries: Entries
  left_out: tuple[str, ...]
  versions: dict[str, str]


def check(asked: Asked) -> tuple[benchmark_steps.Shape, ...]:
  """The shapes; UserError says what cannot be measured."""
  for name, given, known in (
    ('archs', asked.archs, benchmark_steps.ARCHITECTURES),
    ('dtypes', asked.dtypes, benchmark_steps.DTYPES),
  ):
    for value in given:
      if value not in known:
        raise errors.UserError(
          f'--{name}: {value!r} is not measured; choose of {", ".join(known)}.'
        )
    if not given:
      raise errors.UserError(
        f'--{name} is empty: choose of {", ".join(known)}.'
      )
  if asked.rounds < 1 or asked.steps < 1:
    raise errors.UserError(
      f'--rounds={asked.rounds} and --steps={asked.steps} must be positive.'
    )
  if asked.clip < 0:
    raise errors.UserError(f'--clip={asked.clip:g} must not be negative.')
  peers_lib.check(asked.peers_python, asked.peers)
  if not asked.shapes:
    raise errors.UserError('--shapes is empty: write one or more DxSxKxB.')
  shapes = tuple(map(benchmark_steps.parse_shape, asked.shapes))
  data, model = asked.mesh or (1, 1)
  for shape in shapes:
    if min(data, model) < 1 or shape.b % data or shape.s % model:
      raise errors.UserError(
        f'--mesh={data},{model} does not divide {shape}: rows must be a '
        'multiple of data, concepts of model.'
      )
  return shapes


def _device(dtypes: Sequence[str]) -> tuple[dict[str, float], float, Entries]:
  """Operations a second by type, bytes a second, and both as entries."""
  flops = {
    dtype: benchmark_device.matmul_peak(jnp.dtype(dtype), _MATMUL, rounds=3)
    for dtype in dtypes
  }
  bandwidth = benchmark_device.bandwidth(_MIB, rounds=5)
  entries = {
    f'device/{dtype}/matmul': {'value': f / 1e12, 'n': 3, 'unit': 'TFLOP/s'}
    for dtype, f in flops.items()
  }
  entries['device/memory'] = {'value': bandwidth / 1e9, 'n': 5, 'unit': 'GB/s'}
  return flops, bandwidth, entries


def _speed(seconds_R: np.ndarray, steps: int, rows: int, floor: float):
  """A step's time, rows a second and share of the floor."""
  step_R = seconds_R / steps
  return {
    'step': {**timing.spread(1e3 * step_R), 'unit': 'ms'},
    'rows_per_s': {**timing.rate(step_R, rows), 'unit': 'rows/s'},
    'of_floor': timing.rate(step_R, floor),
  }


def _quality(before: float, after: float, steps: int) -> Entries:
  return {
    'r2_before': {'value': before, 'n': 0, 'unit': 'R² before training'},
    'r2': {'value': after, 'n': steps, 'unit': 'R² after n steps'},
  }


def _measure_setting(
  setting: benchmark_steps.Setting,
  asked: Asked,
  peers: Sequence[peers_lib.Peer],
  flops: Mapping[str, float],
  bandwidth: float,
) -> tuple[Entries, list[str]]:
  """One variant of one shape: all types of ours, and the peers, in turns."""
  shape, base = setting.shape, f'train/{setting.label}/{setting.shape}'
  x_ND = benchmark_steps.planted_rows(shape)
  mesh = asked.mesh or (1, 1)
  who = OURS + ('_{}x{}'.format(*mesh) if asked.mesh else '')
  ours = {
    f'{dtype}/{who}': benchmark_steps.Ours(setting, dtype, x_ND, mesh)
    for dtype in asked.dtypes
  }
  runs = ours | {f'float32/{peer.name}': peer for peer in peers}
  with tempfile.TemporaryDirectory() as folder:
    data = os.path.join(folder, 'rows.npy')
    np.save(data, x_ND, allow_pickle=False)
    for peer in peers:
      peer.prepare(
        **setting.asked(),
        device='cuda' if jax.default_backend() == 'gpu' else 'cpu',
        threads=benchmark_device.cores(),
        data=data,
      )
  before = {name: run.error() for name, run in runs.items()}
  for run in runs.values():
    run.time(_FIRST)

  def clock(run):
    run.time(1)  # Wakes its threads.
    return run.time(asked.steps)

  seconds = timing.turns(
    {name: lambda run=run: clock(run) for name, run in runs.items()},
    asked.rounds,
    f'{setting.label} {shape}',
  )
  left_out = [
    f'{peer.name} is left out of {setting.label} {shape}: {peer.problem}'
    for peer in peers
    if peer.problem is not None
  ]
  entries: Entries = {}
  for name, run in runs.items():
    after = run.error()
    if after is None:
      continue
    floor = benchmark_steps.floor(shape, flops[name.split('/')[0]], bandwidth)
    found = _speed(seconds[name], asked.steps, shape.b, floor)
    of = lambda error: benchmark_steps.r2(error, x_ND, shape.b)
    found |= _quality(of(before[name]), of(after), setting.steps)
    if name not in ours and f'float32/{who}' in ours:
      times_R = seconds[name] / seconds[f'float32/{who}']
      found['saejax_times'] = {
        **timing.spread(times_R),
        'unit': 'times as fast',
      }
    memory = run.peak_memory()
    if memory is not None:
      found['memory'] = {'value': memory / 2**20, 'n': 1, 'unit': 'MiB'}
    entries |= {f'{base}/{name}/{key}': entry for key, entry in found.items()}
  for name, run in ours.items():
    label = f'{setting.label} {shape} stages'
    for stage, s_R in benchmark_stages.measure(
      run, asked.rounds, label
    ).items():
      entries[f'{base}/{name}/stage/{stage}'] = {
        **timing.spread(1e3 * s_R),
        'unit': 'ms',
      }
  return entries, left_out


def measure(asked: Asked) -> Measured:
  """Every variant of every shape; UserError for what cannot be measured."""
  shapes = check(asked)
  dtypes = tuple(dict.fromkeys(('float32', *asked.dtypes)))  # Peers' as well.
  flops, bandwidth, entries = _device(dtypes)
  left_out: list[str] = []
  with contextlib.ExitStack() as stack:
    peers = []
    for name in asked.peers if asked.peers_python else ():
      peer = peers_lib.Peer(name, asked.peers_python)
      stack.callback(peer.close)
      peers.append(peer)
    for shape in shapes:
      for arch in asked.archs:
        setting = benchmark_steps.Setting(
          arch=arch,
          shape=shape,
          steps=_FIRST + asked.rounds * (1 + asked.steps),
          aux=asked.aux,
          clip=asked.clip,
        )
        found, absent = _measure_setting(
          setting, asked, peers, flops, bandwidth
        )
        entries |= found
        left_out += absent
  versions = {k: v for peer in peers for k, v in peer.versions.items()}
  return Measured(entries, tuple(left_out), versions)
