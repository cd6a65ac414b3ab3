"""What a LLaVA-NeXT holds inside, over a mesh, as one jitted function."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import jax

from saejax import sharding
from saejax import types
from saejax.models import llava_folder
from saejax.models import llava_next

P = jax.P
TOWER = -1  # Stands for the place before the projector, among layers.
Reader = Callable[[types.ArrayTree, llava_folder.Inputs], dict[int, jax.Array]]


def residuals(out: dict[str, Any], layers: Sequence[int]) -> dict[int, Any]:
  """What enters each of the given blocks, from a decoder's intermediates."""
  last = sum(name.startswith('layers_') for name in out)
  return {
    n: out['residual'] if n == last else out[f'layers_{n}']['residual']
    for n in layers
  }


def reader(module: llava_next.LlavaNext, layers: Sequence[int]) -> Reader:
  """From parameters and a batch to residuals [B, T, D] by layer.

  TOWER may be among the layers where batches have images: what is there has the
  tower's width, and is 0 where no patch stands.

  Where the current mesh has Explicit axes the compiler decides how arrays lie
  inside; rows of what comes out are split over 'data'. What is not asked for is
  not computed.
  """

  def run(params, inputs: llava_folder.Inputs):
    _, out, _ = module.apply(
      {'params': params}, inputs.tokens, image=inputs.image, method='hidden'
    )
    found = residuals(out, [n for n in layers if n != TOWER])
    if TOWER in layers:
      # The compiler sees that it is what `hidden` computes.
      variables = {'params': params}
      found[TOWER] = module.apply(variables, inputs.image, method='tower')
    return found

  def read(params, inputs: llava_folder.Inputs):
    if sharding.out_spec() is None:
      return run(params, inputs)
    specs = {n: P(sharding.DATA, None, None) for n in layers}
    placed = jax.sharding.auto_axes(run, out_sharding=specs)
    return placed(params, inputs)

  return jax.jit(read)


def specs(inputs: llava_folder.Inputs, devices: int) -> Any:
  """How a batch is split over 'data': by rows, and by tiles if they divide.

  Args:
    inputs: arrays or their shapes; rows are a multiple of `devices`.
    devices: that split it.
  """

  def split(a) -> jax.P:
    rows = sharding.DATA if a.shape[0] % devices == 0 else None
    return P(rows, *[None] * (len(a.shape) - 1))

  return jax.tree.map(split, inputs)


def place(
  inputs: llava_folder.Inputs, mesh: jax.sharding.Mesh
) -> llava_folder.Inputs:
  """A batch on the mesh."""
  found = specs(inputs, mesh.shape[sharding.DATA])
  return jax.tree.map(
    lambda a, spec: jax.device_put(a, jax.NamedSharding(mesh, spec)),
    inputs,
    found,
  )
