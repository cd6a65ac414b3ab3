"""The meshes that every sharded function is tried on."""

import contextlib
from unittest import mock

import jax
from jax.sharding import AxisType

from saejax import sharding

MESHES = [(1, 1), (8, 1), (4, 2), (2, 4), (1, 8)]


@contextlib.contextmanager
def use(shape, axis_type=AxisType.Explicit):
  """Sets a ('data', 'model') mesh of the first devices."""
  mesh = jax.make_mesh(
    shape,
    ('data', 'model'),
    axis_types=(axis_type,) * 2,
    devices=jax.devices()[: shape[0] * shape[1]],
  )
  with jax.set_mesh(mesh):
    yield mesh


def one_device():
  """Programs train as on a laptop: fake devices only cost time there."""
  make_mesh = sharding.make_mesh
  return mock.patch.object(
    sharding,
    'make_mesh',
    lambda shape=None, devices=None: make_mesh(shape or (1, 1), devices),
  )
