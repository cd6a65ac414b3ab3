"""Floors of a step's time on paper: the table of docs/scaling.md.

python -m tests.train.scaling
"""

from collections.abc import Iterator
import dataclasses


@dataclasses.dataclass(frozen=True)
class Chip:
  """What its maker states; none of it was measured.

  Attributes:
    name: of the chip.
    flops: of matmuls of float32 at JAX's default precision, a second.
    memory: bytes a second from its memory.
    link: bytes a second that it sends along one axis of the mesh.
  """

  name: str
  flops: float
  memory: float
  link: float


@dataclasses.dataclass(frozen=True)
class Job:
  """Sizes by the letters of `types`, those of AuxK, and the mesh."""

  d: int
  s: int
  k: int
  aux_k: int
  b: int
  mesh: tuple[int, int]


# TF32 without sparsity; HBM3; NVLink 4, one way.
H100 = Chip('H100', 494e12, 3.35e12, 450e9)
# One pass of bfloat16; HBM2; one of a chip's four links: slices below 16×16 do
# not close to a ring, and their ends hear through one.
V5E = Chip('TPU v5e', 197e12, 0.819e12, 50e9)

JOBS = tuple(
  (chip, Job(d=1024, s=65536, k=32, aux_k=512, b=b, mesh=mesh))
  for chip, b, meshes in (
    (H100, 8192, ((8, 1), (4, 2), (2, 4), (1, 8))),
    (V5E, 65536, ((64, 1), (16, 4), (8, 8))),
  )
  for mesh in meshes
)
NAMES = ('matmul', 'memory', 'data', 'model')


def _ring(n: int, bytes_: float) -> float:
  """Bytes that a device sends for a gather of `bytes_`; half of a reduction."""
  return bytes_ * (n - 1) / n


def floors(chip: Chip, job: Job) -> dict[str, float]:
  """Seconds a step that each resource needs by itself, at its stated best."""
  data, model = job.mesh
  rows, concepts = job.b / data, job.s / model
  chosen = job.k + job.aux_k
  candidates = 8 * rows * chosen * model  # A value and an index each.
  # Both reconstructions, and the gradients of their codes.
  summed = 4 * rows * (2 * job.d + chosen)
  gradients = 4 * (2 * concepts * job.d + concepts)
  said = _ring(model, candidates) + 2 * _ring(model, summed)
  return {
    'matmul': 2 * rows * job.d * concepts / chip.flops,
    'memory': (28 * 2 * concepts * job.d + 8 * rows * concepts) / chip.memory,
    'data': 2 * _ring(data, gradients) / chip.link,
    'model': said / chip.link,
  }


def table() -> Iterator[str]:
  """Lines of Markdown."""
  yield '| chips | B | mesh | ' + ' | '.join(NAMES) + ' | binds | rows/s |'
  yield '|---|---|---|' + '---|' * (len(NAMES) + 2)
  for chip, job in JOBS:
    found = floors(chip, job)
    most = max(found, key=found.get)
    data, model = job.mesh
    yield ' | '.join((
      f'| {data * model} {chip.name}',
      str(job.b),
      f'{data},{model}',
      *(f'{found[name] * 1e3:.2f}' for name in NAMES),
      most,
      f'{job.b / found[most] / 1e6:.1f} M |',
    ))  # fmt: skip


if __name__ == '__main__':
  print('\n'.join(table()))
