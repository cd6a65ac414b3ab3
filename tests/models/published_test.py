"""The published models have a place for every tensor; shapes only.

`configs/` holds their config files, without what does not matter to shapes.
"""

import dataclasses
import functools
import json
import pathlib

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saejax.models import aimv2
from saejax.models import clip
from saejax.models import siglip
from saejax.models import siglip2
from saejax.models import weights
from tests.models import parity

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


@functools.cache
def shapes(name: str):
  """The parameters of a model, without making any."""
  module = build(read(name))
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


def reference(config: dict):
  """The model of transformers, without memory."""
  model = config['architectures'][0]
  parser = getattr(parity.transformers, model.replace('Model', 'Config'))
  with parity.torch.device('meta'):
    return getattr(parity.transformers, model)(parser(**config))


class PublishedTest(parameterized.TestCase):
  @parameterized.parameters(*MILLIONS.items())
  def test_has_the_published_size(self, name, millions):
    found = sum(leaf.size for leaf in jax.tree.leaves(shapes(name)))
    self.assertEqual(round(found / 1e6, 2), millions)

  @parameterized.parameters(*NAMES)
  @parity.needs_torch
  def test_every_tensor_has_its_place(self, name):
    theirs = reference(read(name))
    # Arrays that have a shape, but no memory.
    hollow = jax.tree.map(
      lambda leaf: np.broadcast_to(np.float32(0), leaf.shape),
      shapes(name),
    )
    self.assertEqual(
      {name: array.shape for name, array in weights.export(hollow).items()},
      {name: tuple(t.shape) for name, t in theirs.state_dict().items()},
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


if __name__ == '__main__':
  absltest.main()
