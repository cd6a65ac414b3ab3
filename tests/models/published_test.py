"""Every tensor that transformers saves has its place, and none is missed.

Of the published models by shapes only: `configs/` holds their config files,
without what does not matter to shapes. Of small ones by values, from files.
"""

import dataclasses
import functools
import json
import os
import pathlib

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saejax.models import aimv2
from saejax.models import checkpoints
from saejax.models import clip
from saejax.models import siglip
from saejax.models import siglip2
from saejax.models import weights
from tests.models import aimv2_test
from tests.models import clip_test
from tests.models import parity
from tests.models import siglip2_test
from tests.models import siglip_test

CONFIGS = pathlib.Path(__file__).parent / 'configs'

# Millions of parameters, where OpenCLIP's `docs/model_profile.csv` has them.
MILLIONS = {
  'clip-vit-base-patch32': 151.28,
  'clip-vit-large-patch14-336': 427.94,
  'siglip-base-patch16-224': 203.16,
  'siglip-so400m-patch14-384': 877.96,
}
NAMES = (
  *MILLIONS,
  'siglip2-base-patch16-224',
  'siglip2-base-patch16-naflex',
  'aimv2-large-patch14-224-lit',
)


def read(name: str) -> dict:
  return json.loads((CONFIGS / f'{name}.json').read_text(encoding='utf-8'))


def build(config: dict):
  module, parser = {
    'clip': (clip.CLIP, clip.CLIPConfig),
    'siglip': (siglip.SigLIP, siglip.SigLIPConfig),
    'siglip2': (siglip2.SigLIP2, siglip.SigLIPConfig),
    'aimv2': (aimv2.AIMv2, aimv2.AIMv2Config),
  }[config['model_type']]
  return module(parser.from_dict(config))


def shapes(config: dict):
  """The parameters of a model, without making any."""
  module = build(config)
  side, patch = (
    getattr(module.config.vision, name) for name in ('image_size', 'patch_size')
  )
  image = jnp.zeros((1, side, side, 3))
  if isinstance(module, siglip2.SigLIP2):
    image = siglip2.Patches(
      jnp.zeros((1, 256, patch * patch * 3)),
      jnp.ones((1, 256), bool),
      jnp.array([[16, 16]]),
    )
  ids = jnp.zeros((1, module.config.text.max_position_embeddings), jnp.int32)
  return jax.eval_shape(module.init, jax.random.key(0), image, ids)['params']


@functools.cache
def published(name: str):
  return shapes(read(name))


def reference(config: dict):
  """The model of transformers, without memory."""
  model = config['architectures'][0]
  parser = getattr(parity.transformers, model.replace('Model', 'Config'))
  with parity.torch.device('meta'):
    return getattr(parity.transformers, model)(parser(**config))


def tower_class(config: dict, tower: str) -> str:
  family = {'clip': 'CLIP'}.get(config['model_type'], config['model_type'])
  return f'{family[0].upper()}{family[1:]}{tower.capitalize()}Model'


def reference_tower(config: dict, tower: str):
  """The class for one tower alone, without memory."""
  parser = parity.transformers.CONFIG_MAPPING[config['model_type']]
  tower_config = getattr(parser(**config), f'{tower}_config')
  with parity.torch.device('meta'):
    return getattr(parity.transformers, tower_class(config, tower))(
      tower_config
    )


@dataclasses.dataclass(frozen=True)
class Hollow:
  """A tensor with a shape and no memory."""

  shape: tuple[int, ...]
  dtype = np.dtype(np.float32)

  def __getitem__(self, index):
    return np.broadcast_to(np.float32(0), self.shape)[index]


def hollow(model, prefix: str = '') -> dict[str, Hollow]:
  return {
    f'{prefix}{name}': Hollow(tuple(tensor.shape))
    for name, tensor in model.state_dict().items()
  }


class PublishedTest(parameterized.TestCase):
  @parameterized.parameters(*MILLIONS.items())
  def test_has_the_published_size(self, name, millions):
    found = sum(leaf.size for leaf in jax.tree.leaves(published(name)))
    self.assertEqual(round(found / 1e6, 2), millions)

  @parameterized.parameters(*NAMES)
  @parity.needs_torch
  def test_every_tensor_has_its_place(self, name):
    theirs = hollow(reference(read(name)))
    expected = published(name)
    found = weights.match(theirs, expected, name)
    self.assertCountEqual(map(id, found.values()), map(id, theirs.values()))
    # And back, by the names and shapes that transformers has.
    ours = weights.export(
      jax.tree.map(
        lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), expected
      )
    )
    self.assertEqual(
      {name: array.shape for name, array in ours.items()},
      {name: tensor.shape for name, tensor in theirs.items()},
    )

  @parameterized.product(name=NAMES, tower=('vision', 'text'))
  @parity.needs_torch
  def test_every_tensor_of_a_tower_has_its_place(self, name, tower):
    theirs = reference_tower(read(name), tower)
    expected = published(name)[f'{tower}_model']
    # As version 5 has them, then as version 4 does.
    for prefix in ('', f'{tower}_model.'):
      tensors = hollow(theirs, prefix)
      found = weights.match(tensors, expected, name)
      self.assertCountEqual(map(id, found.values()), map(id, tensors.values()))
    both = hollow(reference(read(name)))
    found = weights.match(both, expected, name)
    self.assertCountEqual(
      map(id, found.values()),
      (id(t) for n, t in both.items() if n.startswith(f'{tower}_model.')),
    )

  @parity.needs_torch
  def test_loads_a_published_size(self):
    name = 'clip-vit-base-patch32'
    expected = published(name)
    params = weights.load(
      hollow(reference(read(name))), expected, name, dtype=jnp.bfloat16
    )
    self.assertEqual(
      jax.tree.map(lambda leaf: leaf.shape, params),
      jax.tree.map(lambda leaf: leaf.shape, expected),
    )

  @parameterized.product(
    name=(*NAMES, 'clip', 'siglip', 'siglip2', 'aimv2'),
    tower=('vision', 'text'),
  )
  @parity.needs_torch
  def test_reads_what_transformers_reads(self, name, tower):
    # A bare type is a config that leaves everything out.
    config = read(name) if name in NAMES else {'model_type': name}
    parser = parity.transformers.CONFIG_MAPPING[config['model_type']]
    theirs = getattr(parser(**config), f'{tower}_config')
    ours = dataclasses.asdict(getattr(build(config).config, tower))
    # Without what is for the other tower, and None for "as another width".
    shared = {
      field: value
      for field, value in ours.items()
      if hasattr(theirs, field) and value is not None
    }
    self.assertGreaterEqual(len(shared), 7)
    self.assertEqual(shared, {f: getattr(theirs, f) for f in shared})


SMALL = {
  'clip': clip_test.CONFIG,
  'siglip': siglip_test.CONFIG,
  'siglip2': siglip2_test.CONFIG,
  'aimv2': aimv2_test.CONFIG,
}


def save(model, path: str, how: str) -> None:
  """Writes a model as transformers, or torch, does."""
  if how == 'shards':
    model.save_pretrained(path, max_shard_size='20KB')
  elif how == 'bin':
    parity.torch.save(
      model.state_dict(), os.path.join(path, 'pytorch_model.bin')
    )
  else:
    model.save_pretrained(path)


@parity.needs_torch
class SavedTest(parameterized.TestCase):
  def assert_loads(self, path: str, expected, theirs: dict) -> None:
    params = weights.load(checkpoints.open_folder(path), expected, path)
    found = weights.export(params)
    self.assertCountEqual(found, theirs)
    for name, array in found.items():
      np.testing.assert_array_equal(array, theirs[name], name)

  @parameterized.product(family=(*SMALL,), how=('whole', 'shards', 'bin'))
  def test_a_model(self, family, how):
    config = SMALL[family]
    parser = type(parity.transformers.CONFIG_MAPPING[family]()).__name__
    model = parser.replace('Config', 'Model')
    theirs = parity.reference(model, parser, config)
    path = self.create_tempdir().full_path
    save(theirs, path, how)
    self.assertEqual(len(checkpoints.files(path)) > 2, how == 'shards')
    expected, state = shapes(config), parity.state(theirs)
    self.assert_loads(path, expected, state)
    # And one tower of its file.
    for tower in ('vision_model', 'text_model'):
      self.assert_loads(
        path, expected[tower], dict(weights.of_tower(state, tower))
      )

  @parameterized.product(
    family=(*SMALL,), tower=('vision', 'text'), how=('whole', 'shards', 'bin')
  )
  def test_a_tower(self, family, tower, how):
    config, model = SMALL[family], tower_class(SMALL[family], tower)
    theirs = parity.reference(
      model, model.replace('Model', 'Config'), config[f'{tower}_config']
    )
    path = self.create_tempdir().full_path
    save(theirs, path, how)
    self.assert_loads(
      path, shapes(config)[f'{tower}_model'], parity.state(theirs)
    )

  @parameterized.parameters('whole', 'bin')
  def test_in_half_precision(self, how):
    for dtype in (parity.torch.bfloat16, parity.torch.float16):
      theirs = parity.reference('CLIPModel', 'CLIPConfig', SMALL['clip'])
      path = self.create_tempdir().full_path
      save(theirs.to(dtype), path, how)
      self.assert_loads(
        path, shapes(SMALL['clip']), parity.state(theirs.float())
      )


if __name__ == '__main__':
  absltest.main()
