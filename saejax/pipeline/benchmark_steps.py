"""A training step of ours to be timed: the step that `train.loop` takes."""

from collections.abc import Iterable
import dataclasses
import re
import time
from typing import Any

import jax
import numpy as np

from saejax import errors
from saejax import nn
from saejax import sharding
from saejax import types
from saejax.train import optimisers
from saejax.train import state as state_lib
from saejax.train import step as step_lib

ARCHITECTURES = ('topk', 'batch_topk')
DTYPES = ('float32', 'bfloat16')
_BATCHES = 16  # Of different rows; then they come again.
_AUX_WEIGHT = 1 / 32
_DEAD_AFTER = 2  # Batches: soon enough for AuxK to have work.
_LR = 5e-4
_NOISE = 0.05
# Sparse passes over B·K rows of width D: decoding, the gradient of codes, and
# those of both weights. Adam reads four arrays and writes three.
_PASSES, _ADAM = 4, 28
P = jax.P


@dataclasses.dataclass(frozen=True)
class Shape:
  """Width, dictionary size, active concepts a row and rows a batch."""

  d: int
  s: int
  k: int
  b: int

  def __str__(self) -> str:
    return f'{self.d}x{self.s}x{self.k}x{self.b}'


def parse_shape(text: str) -> Shape:
  """DxSxKxB as a Shape; UserError if it is none."""
  if not re.fullmatch(r'[1-9]\d*(x[1-9]\d*){3}', text):
    raise errors.UserError(
      f'--shapes: {text!r} is not understood: write DxSxKxB, such as '
      '512x4096x32x1024 for width 512, 4096 concepts, 32 of them active, '
      '1024 rows.'
    )
  shape = Shape(*map(int, text.split('x')))
  if shape.k > shape.s:
    raise errors.UserError(
      f'--shapes: {text} has more active concepts ({shape.k}) than concepts '
      f'({shape.s}).'
    )
  return shape


@dataclasses.dataclass(frozen=True)
class Setting:
  """What is trained, whoever trains it.

  Attributes:
    arch: of ARCHITECTURES.
    shape: its sizes.
    steps: of the whole run, over which the learning rate falls.
    aux: whether with AuxK.
    clip: norm to which gradients are clipped; 0 for not at all.
  """

  arch: str
  shape: Shape
  steps: int
  aux: bool
  clip: float

  @property
  def label(self) -> str:
    return self.arch + ('_auxk' if self.aux else '')

  def asked(self) -> dict[str, Any]:
    """The setting in numbers, as a peer is asked for it."""
    return dataclasses.asdict(self.shape) | {
      'arch': self.arch,
      'steps': self.steps,
      'lr': _LR,
      'clip': self.clip,
      'aux_weight': _AUX_WEIGHT if self.aux else 0.0,
      'dead_after': _DEAD_AFTER * self.shape.b,
    }


def planted_rows(shape: Shape, seed: int = 0) -> np.ndarray:
  """Rows [N, D] of unit entries: sums of few of many directions, and noise.

  The last B are held out.
  """
  rng = np.random.default_rng(seed)
  n, factors = (_BATCHES + 1) * shape.b, min(4 * shape.d, shape.s)
  atoms_FD = rng.standard_normal((factors, shape.d), np.float32)
  x_ND = _NOISE * rng.standard_normal((n, shape.d), np.float32)
  for _ in range(max(shape.k // 2, 1)):
    strength_N1 = rng.uniform(0.7, 1.3, (n, 1)).astype(np.float32)
    x_ND += strength_N1 * atoms_FD[rng.integers(0, factors, n)]
  return x_ND / np.sqrt(np.mean(x_ND**2))


def floor(shape: Shape, flops: float, bandwidth: float) -> float:
  """Seconds that a step takes at least, one resource at a time.

  The encoder's matmul at `flops` operations a second; sparse passes, in
  float32, and Adam at `bandwidth` bytes a second. Caches may beat the passes.
  """
  d, s, k, b = dataclasses.astuple(shape)
  params = 2 * d * s + s + d
  moved = _PASSES * 4 * b * k * d + _ADAM * params
  return 2 * b * d * s / flops + moved / bandwidth


class Ours:
  """An SAE in training on rows in memory."""

  def __init__(
    self,
    setting: Setting,
    dtype: str,
    x_ND: np.ndarray,
    mesh: tuple[int, int] = (1, 1),
  ):
    shape, asked = setting.shape, setting.asked()
    self.setting, self.x_ND, self.at = setting, x_ND, 0
    self.mesh = sharding.make_mesh(mesh)
    self.sae = nn.ARCHITECTURES[setting.arch](
      d=shape.d, s=shape.s, k=shape.k, use_b_dec=True, dtype=dtype
    )
    self.tx = optimisers.make_optimiser(
      asked['lr'], setting.steps, 0.0, setting.clip
    )
    self.aux_k = min(max(shape.d // 2, 1), shape.s)
    self._before = self._most()
    self.state, shardings = state_lib.create(
      self.sae, self.tx, {}, 0, self.mesh
    )
    self.modality_B = jax.device_put(
      np.zeros(shape.b, np.int32), self._split(sharding.DATA)
    )
    replicated = self._split()
    self._step = jax.jit(
      step_lib.make_train_step(
        self.sae,
        self.tx,
        steps=setting.steps,
        aux_weight=asked['aux_weight'],
        aux_k=self.aux_k,
        dead_after=asked['dead_after'],
      ),
      donate_argnums=0,
      out_shardings=(shardings, replicated, replicated),
    )

  def _split(self, *names: str | None) -> jax.NamedSharding:
    return jax.NamedSharding(self.mesh, P(*names))

  @staticmethod
  def _most() -> int | None:
    stats = jax.devices()[0].memory_stats()
    return stats.get('peak_bytes_in_use') if stats else None

  def place(self, x_BD: np.ndarray) -> types.Batch:
    """Rows as a batch on the device."""
    x_BD = jax.device_put(x_BD, self._split(sharding.DATA, None))
    return types.Batch(x_BD=x_BD, modality_B=self.modality_B)

  def _batches(self, n: int) -> Iterable[types.Batch]:
    b = self.setting.shape.b
    for _ in range(n):
      yield self.place(self.x_ND[self.at : self.at + b])
      self.at = (self.at + b) % (len(self.x_ND) - b)

  def time(self, n: int) -> float:
    """Seconds of n training steps, loading included."""
    with jax.set_mesh(self.mesh):
      start = time.perf_counter()
      for batch in self._batches(n):
        self.state, _, _ = self._step(self.state, batch)
      jax.block_until_ready(self.state)
      return time.perf_counter() - start

  def error(self) -> float:
    """Σ‖x − x̂‖² over the held-out rows, with codes chosen as in training."""
    batch = self.place(self.x_ND[-self.setting.shape.b :])
    with jax.set_mesh(self.mesh):
      out = jax.jit(lambda v, x, m: self.sae.apply(v, x, m, train=True))(
        self.state.variables, batch.x_BD, batch.modality_B
      )
    missed_BD = np.asarray(batch.x_BD, np.float64) - np.asarray(out.xhat_BD)
    return float(np.sum(missed_BD**2))

  def peak_memory(self) -> int:
    """Bytes at the most: the device's count, else the compiler's of a step.

    Devices count since the process began, so theirs says nothing once
    something larger has run.
    """
    most = self._most()
    if most and self._before is not None and most > self._before:
      return most
    with jax.set_mesh(self.mesh):
      batch = self.place(self.x_ND[: self.setting.shape.b])
      compiled = self._step.lower(self.state, batch).compile()
    found = compiled.memory_analysis()
    return found.argument_size_in_bytes + found.temp_size_in_bytes


def r2(error: float, x_ND: np.ndarray, b: int) -> float:
  """R² of held-out rows about their mean, from Σ‖x − x̂‖²."""
  x_BD = x_ND[-b:].astype(np.float64)
  return 1 - error / float(np.sum((x_BD - x_BD.mean(0)) ** 2))
