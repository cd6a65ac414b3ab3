"""Every tensor fills its parameter; on a mesh, by the parts devices keep."""

from collections.abc import Mapping
import dataclasses
import functools

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from saejax import errors
from saejax.models import clip
from saejax.models import weights
from tests import meshes
from tests.models import clip_test
from tests.models import parity

CONFIG = clip.CLIPConfig.from_dict(clip_test.config())


def module() -> clip.CLIP:
  return clip.CLIP(CONFIG)


@functools.cache
def shapes():
  variables = jax.eval_shape(
    module().init, jax.random.key(0), *clip_test.inputs()
  )
  return variables['params']


def checkpoint() -> dict[str, np.ndarray]:
  rng = np.random.default_rng(0)
  hollow = jax.tree.map(lambda leaf: np.zeros(leaf.shape), shapes())
  return {
    name: rng.normal(size=array.shape).astype(np.float32)
    for name, array in weights.export(hollow).items()
  }


@dataclasses.dataclass(frozen=True)
class Counted:
  """A tensor that notes, in a shared list, what is read of which."""

  name: str
  array: np.ndarray
  reads: list[tuple[str, int]]

  @property
  def shape(self):
    return self.array.shape

  @property
  def dtype(self):
    return self.array.dtype

  def __getitem__(self, index):
    part = self.array[index]
    self.reads.append((self.name, part.size))
    return part


def counted(tensors: Mapping[str, np.ndarray]):
  reads: list[tuple[str, int]] = []
  return {n: Counted(n, a, reads) for n, a in tensors.items()}, reads


def assert_trees_equal(found, expected) -> None:
  np.testing.assert_equal(jax.device_get(found), jax.device_get(expected))


class LoadTest(parameterized.TestCase):
  def test_gives_back_what_was_exported(self):
    tensors = checkpoint()
    params = weights.load(tensors, shapes(), 'file')
    exported = weights.export(params)
    self.assertCountEqual(exported, tensors)
    for name, array in tensors.items():
      np.testing.assert_array_equal(exported[name], array, name)
    for array in jax.tree.leaves(params):
      self.assertEqual(array.dtype, np.float32)
      self.assertTrue(array.flags.c_contiguous and array.flags.writeable)

  def test_layouts(self):
    tensors = checkpoint()
    params = weights.load(tensors, shapes(), 'file')
    dense = params['text_model']['encoder']['layers_1']['mlp']['fc1']['kernel']
    self.assertEqual(dense.shape, (32, 64))
    name = 'text_model.encoder.layers.1.mlp.fc1.weight'
    self.assertEqual(dense[3, 5], tensors[name][5, 3])
    patches = params['vision_model']['embeddings']['patch_embedding']['kernel']
    self.assertEqual(patches.shape, (8, 8, 3, 40))
    name = 'vision_model.embeddings.patch_embedding.weight'
    self.assertEqual(patches[1, 2, 0, 7], tensors[name][7, 0, 1, 2])

  @parameterized.parameters(np.float16, ml_dtypes.bfloat16, np.float64)
  def test_any_precision_becomes_the_wanted_one(self, dtype):
    tensors = {n: a.astype(dtype) for n, a in checkpoint().items()}
    rounded = {n: a.astype(np.float32) for n, a in tensors.items()}
    assert_trees_equal(
      weights.load(tensors, shapes(), 'file'),
      weights.load(rounded, shapes(), 'file'),
    )
    half = weights.load(tensors, shapes(), 'file', dtype=jnp.bfloat16)
    for array in jax.tree.leaves(half):
      self.assertEqual(array.dtype, jnp.bfloat16)

  def test_a_change_of_the_checkpoint_changes_nothing(self):
    tensors = checkpoint()
    params = weights.load(tensors, shapes(), 'file')
    bias = params['text_model']['final_layer_norm']['bias']
    before = bias.copy()
    tensors['text_model.final_layer_norm.bias'] += 1
    np.testing.assert_array_equal(bias, before)

  @parameterized.product(
    tower=weights.TOWERS, layout=('bare', 'prefixed', 'both towers')
  )
  def test_a_tower(self, tower, layout):
    both = checkpoint()
    own = dict(weights.of_tower(both, tower))
    tensors = {
      'bare': own,
      'prefixed': {f'{tower}.{name}': a for name, a in own.items()},
      'both towers': both,
    }[layout]
    tensors['embeddings.position_ids'] = np.arange(9)[None]
    assert_trees_equal(
      weights.load(tensors, shapes()[tower], 'file'),
      weights.load(both, shapes(), 'file')[tower],
    )

  def test_every_mistake_is_told_at_once(self):
    tensors = checkpoint()
    lost = [f'text_model.encoder.layers.1.mlp.fc{i}.bias' for i in (1, 2)]
    for name in lost:
      del tensors[name]
    tensors |= {f'extra{i}': np.zeros(3) for i in range(7)}
    tensors['visual_projection.weight'] = np.zeros((3, 4), np.float32)
    tensors['text_projection.weight'] = np.zeros((24, 32), np.int8)
    with self.assertRaises(errors.UserError) as caught:
      weights.load(tensors, shapes(), 'a/file')
    for said in (
      'a/file: lacks the tensor ' + ', '.join(lost),
      'visual_projection.weight has shape (3, 4), which does not fit (24, 40)',
      'text_projection.weight has type int8',
      'extra0, extra1, extra2, extra3, extra4 and 2 more.',
    ):
      self.assertIn(said, str(caught.exception))

  def test_a_file_of_the_other_tower_does_not_fit(self):
    text = weights.of_tower(checkpoint(), 'text_model')
    with self.assertRaisesRegex(
      errors.UserError, 'lacks.*class_embedding.*does not use: .*final_layer'
    ):
      weights.load(text, shapes()['vision_model'], 'file')


class ShardedTest(parameterized.TestCase):
  @parameterized.parameters(*meshes.MESHES)
  def test_equals_the_unsharded_load(self, *shape):
    with meshes.use(shape) as mesh:
      places = weights.shardings(shapes(), mesh)
      found = weights.load(checkpoint(), shapes(), 'file', places)
    self.assertEqual(jax.tree.map(lambda array: array.sharding, found), places)
    assert_trees_equal(found, weights.load(checkpoint(), shapes(), 'file'))

  def test_each_device_holds_its_part(self):
    with meshes.use((2, 4)) as mesh:
      places = weights.shardings(shapes(), mesh)
      found = weights.load(
        checkpoint(), shapes(), 'file', places, dtype=jnp.bfloat16
      )
    kept = np.zeros(8, int)
    for array in jax.tree.leaves(found):
      self.assertLen(array.addressable_shards, 8)
      self.assertEqual(array.dtype, jnp.bfloat16)
      for shard in array.addressable_shards:
        kept[shard.device.id] += shard.data.size
    matrices = sum(
      leaf.size for leaf in jax.tree.leaves(shapes()) if leaf.ndim > 1
    )
    others = sum(
      leaf.size for leaf in jax.tree.leaves(shapes()) if leaf.ndim < 2
    )
    # Every matrix has an axis that 4 divides.
    np.testing.assert_array_equal(kept, matrices // 4 + others)

  def test_reads_parts_once_and_one_parameter_at_a_time(self):
    tensors, reads = counted(checkpoint())
    with meshes.use((2, 4)) as mesh:
      places = weights.shardings(shapes(), mesh)
      weights.load(tensors, shapes(), 'file', places)
    self.assertEqual(
      sum(size for _, size in reads),
      sum(t.array.size for t in tensors.values()),
    )
    for name, size in reads:
      parts = 4 if tensors[name].array.ndim > 1 else 1
      self.assertEqual(size, tensors[name].array.size // parts, name)
    turns = [n for i, (n, _) in enumerate(reads) if n != reads[i - 1][0]]
    self.assertLen(turns, len(tensors))

  def test_nothing_is_read_of_what_does_not_fit(self):
    tensors, reads = counted(checkpoint())
    del tensors['logit_scale']
    with meshes.use((2, 4)) as mesh:
      places = weights.shardings(shapes(), mesh)
      with self.assertRaisesRegex(errors.UserError, 'lacks .* logit_scale'):
        weights.load(tensors, shapes(), 'file', places)
    self.assertEmpty(reads)

  def test_a_tower_applies_to_them(self):
    tower = clip.TextTower(CONFIG.text)
    _, ids_BT = clip_test.inputs()
    expected = shapes()['text_model']
    whole = weights.load(checkpoint(), expected, 'file')
    apply = lambda params: tower.apply({'params': params}, ids_BT)[0]
    with meshes.use((2, 4)) as mesh:
      params = weights.load(
        checkpoint(), expected, 'file', weights.shardings(expected, mesh)
      )
      with jax.default_matmul_precision('highest'):
        found = jax.jit(jax.sharding.auto_axes(apply, out_sharding=jax.P()))(
          params
        )
    np.testing.assert_allclose(
      found, parity.apply(tower, {'params': whole}, ids_BT)[0],
      rtol=1e-4, atol=1e-4,
    )  # fmt: skip


class ShardingsTest(parameterized.TestCase):
  @parameterized.parameters(
    ((8, 32), (None, 'model')),
    ((32, 8), ('model', None)),
    ((8, 8), (None, 'model')),
    ((9, 8), (None, 'model')),  # The larger one does not divide.
    ((9, 7), (None, None)),
    ((2, 2, 3, 16), (None, None, None, 'model')),
    ((16,), (None,)),
    ((), ()),
  )
  def test_splits_the_largest_axis_that_divides(self, shape, spec):
    leaf = jax.ShapeDtypeStruct(shape, np.float32)
    with meshes.use((2, 4)) as mesh:
      found = weights.shardings({'a': leaf}, mesh)
    self.assertEqual(found['a'], jax.NamedSharding(mesh, jax.P(*spec)))

  def test_splits_nothing_where_all_devices_split_the_batch(self):
    with meshes.use((8, 1)) as mesh:
      found = jax.tree.leaves(weights.shardings(shapes(), mesh))
    self.assertTrue(all(place.is_fully_replicated for place in found))
    self.assertTrue(all(set(place.spec) <= {None} for place in found))


if __name__ == '__main__':
  absltest.main()
