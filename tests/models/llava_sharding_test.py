"""Every tensor of the published models has a place on a mesh."""

import copy
import math

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saejax.models import llava_folder
from saejax.models import llava_next
from saejax.models import llava_sharding
from saejax.models import weights
from tests import meshes
from tests.models import llava_configs
from tests.models import llava_published
from tests.models import parity

P = jax.P


class Meta:
  """A tensor that has a shape and a type, and no numbers."""

  def __init__(self, tensor):
    self.shape = tuple(tensor.shape)
    self.dtype = np.dtype(np.float16)

  def __getitem__(self, index):
    raise AssertionError('nothing is read')


def shapes(config: dict):
  parsed = llava_next.LlavaNextConfig.from_dict(config)
  return llava_folder.abstract_params(llava_next.LlavaNext(parsed))


def theirs(config: dict) -> dict[str, Meta]:
  """Names and shapes of transformers' model, made on no device."""
  given = {k: v for k, v in copy.deepcopy(config).items() if k != 'model_type'}
  built = parity.transformers.LlavaNextConfig(**given)
  with parity.torch.device('meta'):
    model = parity.transformers.LlavaNextForConditionalGeneration(built)
  return {name: Meta(t) for name, t in model.state_dict().items()}


class PlacesTest(parameterized.TestCase):
  @parameterized.product(
    name=('mistral', 'vicuna'), shape=((1, 8), (2, 4), (8, 1))
  )
  def test_every_parameter_has_one_and_devices_share_them(self, name, shape):
    params = shapes(llava_published.ALL[name])
    leaves = jax.tree.leaves(params)
    n = sum(leaf.size for leaf in leaves)
    self.assertAlmostEqual(n / llava_published.PARAMETERS[name], 1, delta=0.01)
    with meshes.use(shape) as mesh:
      places = llava_sharding.shardings(params, mesh)
      held = llava_sharding.bytes_per_device(params, places, 2)
    self.assertLen(jax.tree.leaves(places), len(leaves))
    self.assertCountEqual(held, params)
    # All but norms, biases and a table of positions are split.
    share = sum(held.values()) / (2 * n / shape[1])
    self.assertBetween(share, 1, 1.002)

  @parity.needs_torch
  @parameterized.parameters('mistral', 'vicuna')
  def test_names_are_those_of_transformers(self, name):
    config = llava_published.ALL[name]
    tensors = llava_folder.canonical(theirs(config))
    params = shapes(config)
    found = weights.match(tensors, params, 'meta')
    self.assertLen(found, len(jax.tree.leaves(params)))
    self.assertGreater(len(found), 600)
    del tensors['lm_head.weight']
    with self.assertRaisesRegex(Exception, 'lacks the tensor lm_head.weight'):
      weights.match(tensors, params, 'meta')

  @parameterized.parameters(
    ('language_model/layers_3/self_attn/q_proj/kernel', (None, 'model')),
    ('language_model/layers_3/self_attn/o_proj/kernel', ('model', None)),
    ('language_model/layers_3/mlp/down_proj/kernel', ('model', None)),
    ('language_model/norm/scale', (None,)),
    ('vision_tower/encoder/layers_0/mlp/fc1/bias', ('model',)),
    ('lm_head/kernel', (None, 'model')),
    ('image_newline', (None,)),
  )
  def test_places(self, path, spec):
    with meshes.use((1, 8)) as mesh:
      place = llava_sharding.shardings(shapes(llava_published.MISTRAL), mesh)
    for part in path.split('/'):
      place = place[part]
    self.assertEqual(place.spec, P(*spec))

  def test_a_name_without_a_rule_is_told(self):
    leaf = jax.ShapeDtypeStruct((8, 8), np.float32)
    with (
      meshes.use((1, 8)) as mesh,
      self.assertRaisesRegex(
        ValueError, "No sharding rule .*add 'quux/kernel'"
      ),
    ):
      llava_sharding.shardings({'a': {'quux': {'kernel': leaf}}}, mesh)

  def test_every_rule_is_of_a_parameter(self):
    config = copy.deepcopy(llava_configs.config())
    config['text_config'] |= {'attention_bias': True, 'mlp_bias': True}
    names = set()
    note = lambda path, _: names.add(
      jax.tree_util.keystr(path[-2:], simple=True, separator='/')
    )
    jax.tree_util.tree_map_with_path(note, shapes(config))
    self.assertEqual(names, set(llava_sharding.RULES))

  def test_what_devices_cannot_divide_is_whole(self):
    params = shapes(llava_configs.config())  # 5 heads of 8 in its tower.
    with meshes.use((1, 8)) as mesh:
      places = llava_sharding.shardings(params, mesh)
    odd = llava_sharding.replicated(params, places)
    self.assertIn('vision_tower/embeddings/position_embedding/embedding', odd)
    jax.tree.map(lambda leaf, p: p.shard_shape(leaf.shape), params, places)
    held = llava_sharding.bytes_per_device(params, places, 4)
    whole = sum(math.prod(x.shape) * 4 for x in jax.tree.leaves(params))
    self.assertLess(sum(held.values()), whole / 2)


class LoadTest(absltest.TestCase):
  def test_arrays_come_to_their_devices(self):
    config = llava_configs.config()
    params = shapes(config)
    rng = np.random.default_rng(0)
    arrays = jax.tree.map(
      lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), params
    )
    tensors = weights.export(arrays)
    with meshes.use((2, 4)) as mesh:
      places = llava_sharding.shardings(params, mesh)
      found = weights.load(tensors, params, 'file', places, jnp.bfloat16)
    self.assertEqual(jax.tree.map(lambda a: a.sharding, found), places)
    q = found['language_model']['layers_0']['self_attn']['q_proj']['kernel']
    self.assertEqual(q.addressable_shards[0].data.shape, (32, 8))
    np.testing.assert_allclose(
      np.asarray(q, np.float32),
      arrays['language_model']['layers_0']['self_attn']['q_proj']['kernel'],
      rtol=1e-2, atol=1e-2,
    )  # fmt: skip


if __name__ == '__main__':
  absltest.main()
