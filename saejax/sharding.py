"""The mesh and one table from parameter names to their places on it.

The programs run on a mesh of two Explicit axes: 'data' splits the batch,
'model' the dictionary. Modules and ops work without any mesh as well.
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import AxisType

from saejax import errors
from saejax import types

DATA, MODEL = 'data', 'model'
P = jax.P

# By the last part of a leaf's path, so Adam's moments follow their parameter.
RULES = {
  'w_enc': P(MODEL, None),
  'w_dec': P(MODEL, None),
  'w_in': P(MODEL, None),
  'mix': P(MODEL, None),
  'relax': P(MODEL, None),
  'w_encs': P(None, MODEL, None),
  'b_enc': P(MODEL),
  'b_encs': P(None, MODEL),
  'b_dec': P(),
  'cloud': P(),
  'center': P(),
  'scale': P(),
  'source_center': P(),
  'source_scale': P(),
  'threshold': P(MODEL),
  'r_mag': P(MODEL),
  'b_mag': P(MODEL),
  'idle_S': P(MODEL),
  'ns_coeffs': P(),  # Of Muon.
}


def make_mesh(
  shape: Sequence[int] | None = None,
  devices: Sequence[jax.Device] | None = None,
) -> jax.sharding.Mesh:
  """A ('data', 'model') mesh; without a shape all devices split the batch.

  `devices` are those to choose from: of all processes by default.
  """
  devices = jax.devices() if devices is None else list(devices)
  shape = tuple(shape or (len(devices), 1))
  if len(shape) != 2 or min(shape) < 1:
    raise errors.UserError(
      f'A mesh is two positive numbers, data,model; got {shape}.'
    )
  if shape[0] * shape[1] > len(devices):
    raise errors.UserError(
      f'A mesh of {shape[0]}×{shape[1]} needs {shape[0] * shape[1]} devices; '
      f'there are {len(devices)}. A CPU is one, or as many as the environment '
      'variable JAX_NUM_CPU_DEVICES says.'
    )
  return jax.make_mesh(
    shape,
    (DATA, MODEL),
    axis_types=(AxisType.Explicit,) * 2,
    devices=devices[: shape[0] * shape[1]],
  )


def axis(name: str) -> str | None:
  """The name, if the current mesh has such an axis; else None."""
  return name if name in jax.sharding.get_abstract_mesh().axis_names else None


def concept_axis(name: str) -> int | None:
  """The axis of a leaf along which concepts lie, by the table; else None."""
  spec = tuple(RULES.get(name, ()))
  return spec.index(MODEL) if MODEL in spec else None


def out_spec(*names: str | None) -> jax.P | None:
  """An `out_sharding` for contractions: None unless axes are Explicit."""
  mesh = jax.sharding.get_abstract_mesh()
  explicit = mesh.axis_names and all(
    t == AxisType.Explicit for t in mesh.axis_types
  )
  return P(*(axis(n) if n else None for n in names)) if explicit else None


def infer_shardings(
  abstract_tree: types.ArrayTree, mesh: jax.sharding.Mesh
) -> types.ArrayTree:
  """Maps every leaf to its NamedSharding; scalars are replicated.

  Raises:
    ValueError: a leaf that is not a scalar has no rule.
  """

  def rule(path, leaf):
    name = jax.tree_util.keystr(path[-1:], simple=True)
    if leaf.ndim and name in RULES:
      return jax.NamedSharding(mesh, RULES[name])
    if leaf.ndim:
      raise ValueError(
        f'No sharding rule for {jax.tree_util.keystr(path)} of shape '
        f'{leaf.shape}: add {name!r} to sharding.RULES, which knows '
        f'{sorted(RULES)}.'
      )
    return jax.NamedSharding(mesh, P())

  return jax.tree_util.tree_map_with_path(rule, abstract_tree)


def compiler_placed(f: Callable[..., Any], like: Any) -> Callable[..., Any]:
  """`f`, inside which the compiler decides where arrays lie.

  For what contracts or gathers along split axes, which Explicit axes refuse.
  On other meshes, or on none, it is `f` itself.

  Args:
    f: a function of trees of arrays.
    like: arrays of the tree that it returns, which lie where its own shall.
  """
  if out_spec() is None:
    return f
  specs = jax.tree.map(lambda x: jax.typeof(x).sharding.spec, like)
  return jax.sharding.auto_axes(f, out_sharding=specs)
