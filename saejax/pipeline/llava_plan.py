"""What a LLaVA-NeXT needs of each device, before anything is loaded.

Shapes and places alone: the parameters of a config, their places by the table
of `models.llava_sharding`, and the program that reads the residual stream,
traced over a mesh of devices that need not be there.
"""

import dataclasses
import json
import math
import os
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType

from saejax import errors
from saejax import pretrained
from saejax import sharding
from saejax import types
from saejax.models import checkpoints
from saejax.models import folder
from saejax.models import hub
from saejax.models import llama
from saejax.models import llava_folder
from saejax.models import llava_next
from saejax.models import llava_sharding
from saejax.models import tiles
from saejax.models import weights
from saejax.pipeline import llava_reading

DTYPES = ('bfloat16', 'float32')
_FLOAT32 = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanConfig:
  """Flags of `plan_llava`.

  Attributes:
    model: a model folder, a `config.json`, an id on the hub, of which the
      config alone is fetched, or the name of a model that ships.
    mesh: devices that split the batch and the model, (data, model).
    batch: rows at a time, over all devices.
    image_size: (height, width) of the images, in pixels.
    text_tokens: of a row, beside its image.
    new_tokens: that are generated; room for them in the cache of keys.
    layers: of which the residual stream is kept.
    dtype: of the parameters and the computation.
    revision: branch, tag or commit on the hub.
    offline: never ask the network.
  """

  model: str
  mesh: tuple[int, int] = (1, 8)
  batch: int = 8
  image_size: tuple[int, int] = (336, 336)
  text_tokens: int = 64
  new_tokens: int = 0
  layers: tuple[int, ...] = ()
  dtype: str = 'bfloat16'
  revision: str | None = None
  offline: bool = False

  def __post_init__(self):
    for name in ('batch', 'text_tokens'):
      if getattr(self, name) < 1:
        raise errors.UserError(
          f'--{name}={getattr(self, name)} must be at least 1.'
        )
    if self.new_tokens < 0:
      raise errors.UserError(f'--new_tokens={self.new_tokens} is negative.')
    if len(self.image_size) != 2 or min(self.image_size) < 1:
      given = ','.join(map(str, self.image_size))
      raise errors.UserError(
        f'--image_size={given} is not understood: write height,width in pixels.'
      )
    if len(self.mesh) != 2 or min(self.mesh) < 1:
      raise errors.UserError(
        f'A mesh is two positive numbers, data,model; got {self.mesh}.'
      )
    if self.batch % self.mesh[0]:
      raise errors.UserError(
        f'--batch={self.batch} cannot be split over {self.mesh[0]} devices: '
        f'choose a multiple of {self.mesh[0]}.'
      )
    if self.dtype not in DTYPES:
      raise errors.UserError(
        f'--dtype={self.dtype} is unknown: choose {" or ".join(DTYPES)}.'
      )


@dataclasses.dataclass(frozen=True)
class Plan:
  """Bytes that each device holds, and what was checked.

  Attributes:
    parameters: by part of the model.
    rest: what a batch needs, an estimate, by name.
    positions: of a row: tokens and what stands for its image.
    tiles: of an image.
    replicated: matrices that every device holds whole, with their numbers.
    tensors: names in the checkpoint that have a place; None without one.
    leaves: parameters that have a place.
  """

  parameters: dict[str, int]
  rest: dict[str, int]
  positions: int
  tiles: int
  replicated: dict[str, int]
  tensors: int | None
  leaves: int

  @property
  def total(self) -> int:
    return sum(self.parameters.values()) + sum(self.rest.values())


def read_config(config: PlanConfig) -> tuple[dict[str, Any], str | None]:
  """The model's config, and its folder if there is one with weights."""
  name = pretrained.find(config.model)
  if os.path.isfile(name):
    try:
      with open(name, encoding='utf-8') as f:
        found = json.load(f)
    except ValueError as e:
      raise errors.UserError(f'{name} is not JSON: {e}.') from None
    path = None
  elif os.path.isdir(name):
    found, path = folder.read_config(name), name
  else:
    file = hub.config_file(name, config.revision, config.offline)
    found, path = folder.read_config(os.path.dirname(file)), None
  if not isinstance(found, dict) or found.get('model_type') != 'llava_next':
    kind = found.get('model_type') if isinstance(found, dict) else found
    raise errors.UserError(
      f'{config.model} is of type {kind!r:.40}, not llava_next.'
    )
  return found, path


def abstract_mesh(shape: tuple[int, int]) -> jax.sharding.AbstractMesh:
  """A mesh of no devices, for shapes alone."""
  names = (sharding.DATA, sharding.MODEL)
  return jax.sharding.AbstractMesh(
    shape, names, axis_types=(AxisType.Explicit,) * 2
  )


def abstract_inputs(
  c: llava_next.LlavaNextConfig, rows: int, positions: int, tiles_: int
) -> llava_folder.Inputs:
  """The shapes of a batch."""
  of = lambda dtype, *shape: jax.ShapeDtypeStruct(shape, dtype)
  bt = (rows, positions)
  tokens = llama.Tokens(
    ids_BT=of(jnp.int32, *bt), position_BT=of(jnp.int32, *bt),
    is_image_BT=of(jnp.bool_, *bt), is_real_BT=of(jnp.bool_, *bt),
  )  # fmt: skip
  side = c.vision.image_size
  image = llava_next.Image(
    tile_NHWC=of(jnp.float32, rows * tiles_, side, side, 3),
    source_BT=of(jnp.int32, *bt),
  )
  return llava_folder.Inputs(tokens=tokens, image=image)


def trace(
  module: llava_next.LlavaNext,
  params: types.ArrayTree,
  inputs: llava_folder.Inputs,
  mesh: jax.sharding.Mesh | jax.sharding.AbstractMesh,
  layers: tuple[int, ...],
) -> dict[int, jax.ShapeDtypeStruct]:
  """Shapes of the residuals: the program is traced, and nothing is computed.

  Args:
    module: the model.
    params: shapes of its parameters.
    inputs: shapes of a batch.
    mesh: where they lie.
    layers: whose residuals are asked for.
  """
  place = lambda leaf, where, dtype: jax.ShapeDtypeStruct(
    leaf.shape, dtype, sharding=where
  )
  places = llava_sharding.shardings(params, mesh)
  placed = jax.tree.map(
    lambda leaf, where: place(leaf, where, module.dtype), params, places
  )
  specs = llava_reading.specs(inputs, mesh.shape[sharding.DATA])
  batch = jax.tree.map(
    lambda leaf, spec: place(leaf, jax.NamedSharding(mesh, spec), leaf.dtype),
    inputs,
    specs,
  )
  use = (
    jax.sharding.use_abstract_mesh
    if isinstance(mesh, jax.sharding.AbstractMesh)
    else jax.set_mesh
  )
  with use(mesh):
    return jax.eval_shape(llava_reading.reader(module, layers), placed, batch)


def batch_bytes(
  c: llava_next.LlavaNextConfig, config: PlanConfig, positions: int, tiles_: int
) -> dict[str, int]:
  """An estimate of what a batch needs of each device, in bytes.

  The largest arrays that are alive at once: those of one block, since a block's
  end before the next begins; attention is counted with its logits and their
  exponentials, as `llama.attend` holds them. The compiler may do better.
  """
  data, model = config.mesh
  size = jnp.dtype(config.dtype).itemsize
  rows = config.batch // data
  part = lambda n: n // model if n % model == 0 else n
  t, v = c.text, c.vision
  kv, per, e = t.heads
  positions_all = positions + config.new_tokens
  heads = part(kv * per)
  images = rows * tiles_
  patches = c.layout.patches**2 + 1
  found = {
    'residuals kept': rows * positions * t.hidden_size * size
    * len(config.layers or range(t.num_hidden_layers + 1)),
    'attention of a block': 2 * rows * heads * positions**2 * _FLOAT32,
    'MLP of a block': 3 * rows * positions * part(t.intermediate_size) * size,
    'residual stream': 3 * rows * positions * t.hidden_size * size,
    'vision tower': images * (
      2 * part(v.num_attention_heads) * patches**2 * _FLOAT32
      + patches * (v.hidden_size * 3 + part(v.intermediate_size)) * size
    ),
    'tiles': images * v.image_size**2 * 3 * _FLOAT32,
  }  # fmt: skip
  if config.new_tokens:
    found['keys and values'] = (
      t.num_hidden_layers * 2 * rows * part(kv) * positions_all * e * size
    )
  return found


def check_names(path: str, params: types.ArrayTree) -> int:
  """How many tensors a checkpoint has, each of which has a place; reads none.

  Raises:
    UserError: one is missing, is left over, or has another shape.
  """
  tensors = llava_folder.canonical(checkpoints.open_folder(path))
  return len(weights.match(tensors, params, path))


def plan(config: PlanConfig) -> Plan:
  """Checks that a model fits its table and its mesh, and counts bytes.

  Raises:
    UserError: the model cannot be read, or its tensors do not fit its config.
  """
  found, path = read_config(config)
  c = llava_next.LlavaNextConfig.from_dict(found)
  for layer in config.layers:
    if not 0 <= layer <= c.text.num_hidden_layers:
      raise errors.UserError(
        f'--layers: there is no layer {layer}; the model has '
        f'{c.text.num_hidden_layers}.'
      )
  module = llava_next.LlavaNext(c, jnp.dtype(config.dtype))
  params = llava_folder.abstract_params(module)
  mesh = abstract_mesh(config.mesh)
  places = llava_sharding.shardings(params, mesh)
  n_tiles = tiles.count(config.image_size, c.layout)
  image_positions = len(tiles.packing(config.image_size, c.layout))
  positions = image_positions + config.text_tokens
  layers = config.layers or tuple(range(c.text.num_hidden_layers + 1))
  inputs = abstract_inputs(c, config.batch, positions, n_tiles)
  traced = trace(module, params, inputs, mesh, layers)
  expected = (config.batch, positions, c.text.hidden_size)
  for layer, x in traced.items():
    if x.shape != expected:
      raise AssertionError(f'layer {layer} has {x.shape}, expected {expected}')
  size = jnp.dtype(config.dtype).itemsize
  return Plan(
    parameters=llava_sharding.bytes_per_device(params, places, size),
    rest=batch_bytes(c, config, positions, n_tiles),
    positions=positions,
    tiles=n_tiles,
    replicated=dict(llava_sharding.replicated(params, places)),
    tensors=check_names(path, params) if path else None,
    leaves=len(jax.tree.leaves(params)),
  )


def table(plan_: Plan, config: PlanConfig) -> str:
  """The plan as lines to print."""
  mib = lambda n: f'{n / 2**20:10,.1f} MiB'
  data, model = config.mesh
  lines = [
    f'mesh {data}×{model} (data×model), {config.dtype}, batch {config.batch}, '
    f'{plan_.positions:,} positions a row ({plan_.tiles} tiles an image)',
    f'{plan_.leaves:,} parameters have a place'
    + (
      f'; {plan_.tensors:,} tensors of the checkpoint fit them'
      if plan_.tensors
      else '; no weights here, so tensor names were not compared'
    ),
    'each device holds',
  ]
  lines += [f'  {mib(n)}  {name}' for name, n in plan_.parameters.items()]
  lines.append(f'  {mib(sum(plan_.parameters.values()))}  = parameters')
  lines += [f'  {mib(n)}  {name} (estimate)' for name, n in plan_.rest.items()]
  lines.append(f'  {mib(plan_.total)}  = all')
  whole = sum(plan_.replicated.values())
  if whole and model > 1:
    first = next(iter(plan_.replicated))
    lines.append(
      f'matrices that are whole on every device: {len(plan_.replicated)}, '
      f'{math.ceil(whole / 1e6):,} M numbers, the largest {first}'
    )
  return '\n'.join(lines)
