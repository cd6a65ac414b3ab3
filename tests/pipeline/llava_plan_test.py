"""A plan counts what devices hold, and the program fits the mesh."""

import json
import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saejax import errors
from saejax.models import llava_folder
from saejax.models import llava_next
from saejax.models import weights
from saejax.pipeline import llava_plan
from saejax.pipeline import llava_reading
from tests import meshes
from tests.models import llava_configs
from tests.models import llava_published


def write(folder: str, config: dict) -> str:
  path = os.path.join(folder, 'config.json')
  with open(path, 'w', encoding='utf-8') as f:
    json.dump(config, f)
  return path


class PublishedTest(parameterized.TestCase):
  @parameterized.parameters('mistral', 'vicuna')
  def test_the_program_is_traced_on_a_mesh_of_eight_devices(self, name):
    config = llava_published.ALL[name]
    c = llava_next.LlavaNextConfig.from_dict(config)
    module = llava_next.LlavaNext(c, jnp.bfloat16)
    params = llava_folder.abstract_params(module)
    inputs = llava_plan.abstract_inputs(c, 8, 1240, 3)
    with meshes.use((2, 4)) as mesh:
      pass
    found = llava_plan.trace(module, params, inputs, mesh, (0, 16, 32))
    self.assertEqual([*found], [0, 16, 32])
    for x in found.values():
      self.assertEqual((x.shape, x.dtype), ((8, 1240, 4096), jnp.bfloat16))
      self.assertEqual(x.sharding.spec, jax.P('data', None, None))

  def test_bytes_of_the_mistral_model(self):
    path = write(self.create_tempdir().full_path, llava_published.MISTRAL)
    make = lambda **k: llava_plan.PlanConfig(model=path, layers=(8,), **k)
    config = make(mesh=(1, 8), new_tokens=64)
    eight = llava_plan.plan(config)
    # 1176 positions of an image of 336 by 336, in two tiles and the whole.
    self.assertEqual((eight.positions, eight.tiles), (1176 + 64, 3))
    held = sum(eight.parameters.values())
    self.assertAlmostEqual(held, 2 * 7.57e9 / 8, delta=2e7)
    # 32 layers, keys and values, 8 rows, one head of 8 here, 128 wide, bf16.
    self.assertEqual(
      eight.rest['keys and values'], 32 * 2 * 8 * 1 * (1240 + 64) * 128 * 2
    )
    whole = llava_plan.batch_bytes(
      llava_next.LlavaNextConfig.from_dict(llava_published.MISTRAL),
      make(mesh=(1, 1), new_tokens=64), eight.positions, eight.tiles,
    )  # fmt: skip
    self.assertEqual(
      whole['keys and values'], 8 * eight.rest['keys and values']
    )
    said = llava_plan.table(eight, config)
    self.assertIn('mesh 1×8', said)
    self.assertIn('tensor names were not compared', said)
    self.assertRegex(said, r'1,80\d\.\d MiB  = parameters')


class PlanTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.path = write(cls.folder, llava_configs.config())

  def test_a_trace_has_what_the_program_gives(self):
    c = llava_next.LlavaNextConfig.from_dict(llava_configs.config())
    module = llava_next.LlavaNext(c)
    params = llava_folder.abstract_params(module)
    inputs = llava_plan.abstract_inputs(c, 4, 40, 2)
    with meshes.use((2, 4)) as mesh:
      pass
    abstract = llava_plan.abstract_mesh((2, 4))
    for where in (mesh, abstract):
      traced = llava_plan.trace(module, params, inputs, where, (1, 3))
      self.assertEqual(traced[3].shape, (4, 40, 32))
    with meshes.use((2, 4)) as mesh:
      filled = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), inputs)
      zeros = jax.tree.map(lambda s: jnp.zeros(s.shape), params)
      found = llava_reading.reader(module, (1, 3))(
        zeros, llava_reading.place(filled, mesh)
      )
    self.assertEqual(found[3].shape, traced[3].shape)
    self.assertEqual(found[3].sharding.spec, jax.P('data', None, None))

  def test_names_of_weights_are_compared_where_there_are_any(self):
    folder = self.create_tempdir().full_path
    write(folder, llava_configs.config())
    c = llava_next.LlavaNextConfig.from_dict(llava_configs.config())
    params = llava_folder.abstract_params(llava_next.LlavaNext(c))
    arrays = weights.export(
      jax.tree.map(lambda s: np.zeros(s.shape, np.float32), params)
    )
    tensors = {
      llava_next.published(n): np.ascontiguousarray(a)
      for n, a in arrays.items()
    }
    from safetensors import numpy as files

    path = os.path.join(folder, 'model.safetensors')
    files.save_file(tensors, path)
    plan = llava_plan.plan(llava_plan.PlanConfig(model=folder, batch=2))
    self.assertEqual(plan.tensors, plan.leaves)
    tensors['quux'] = np.zeros(3, np.float32)
    files.save_file(tensors, path)
    with self.assertRaisesRegex(errors.UserError, 'does not use: quux'):
      llava_plan.plan(llava_plan.PlanConfig(model=folder, batch=2))

  @parameterized.parameters(
    ({'batch': 3, 'mesh': (2, 4)}, '--batch=3 cannot be split over 2'),
    ({'batch': 0}, '--batch=0 must be at least 1'),
    ({'mesh': (0, 4)}, 'A mesh is two positive numbers'),
    ({'image_size': (336,)}, '--image_size=336 is not understood'),
    ({'new_tokens': -1}, '--new_tokens=-1 is negative'),
    ({'layers': (9,)}, 'no layer 9; the model has 3'),
    ({'dtype': 'int8'}, '--dtype=int8 is unknown'),
    ({'model': 'quux'}, 'There is no model quux'),
  )
  def test_a_mistake_is_told(self, changes, message):
    with self.assertRaisesRegex(errors.UserError, message):
      llava_plan.plan(llava_plan.PlanConfig(**{'model': self.path} | changes))

  def test_a_config_of_another_kind_is_told(self):
    path = write(self.create_tempdir().full_path, {'model_type': 'llama'})
    with self.assertRaisesRegex(errors.UserError, "type 'llama', not llava_n"):
      llava_plan.plan(llava_plan.PlanConfig(model=path))


if __name__ == '__main__':
  absltest.main()
