"""SigLIP 2 NaFlex: parity with transformers' torch model, one trace for all."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saejax.models import siglip
from saejax.models import siglip2
from saejax.models import weights
from tests.models import parity
from tests.models import siglip_test

VISION = {
  'hidden_size': 40,
  'intermediate_size': 56,
  'num_hidden_layers': 2,
  'num_attention_heads': 5,
  'num_patches': 25,
  'patch_size': 4,
  'layer_norm_eps': 2e-3,
}
CONFIG = {
  'model_type': 'siglip2',
  'text_config': siglip_test.TEXT,
  'vision_config': VISION,
}
# Slots, then grids: the table's own, thin, tiny, coarser, finer, full. None is
# of a single column, which torch interpolates wrongly; see `positions`.
MIXED = (25, ((5, 5), (2, 7), (7, 2), (1, 1), (3, 3), (1, 25)))
LARGE = (60, ((7, 8), (2, 30), (10, 6), (6, 6)))
FULL = (12, ((3, 4), (1, 12)))


def patches(slots, grids) -> siglip2.Patches:
  rng = np.random.default_rng(slots)
  size = np.array([h * w for h, w in grids])
  return siglip2.Patches(
    rng.normal(size=(len(grids), slots, 48)).astype(np.float32),
    np.arange(slots)[None] < size[:, None],
    np.array(grids, np.int32),
  )


def module(dtype=jnp.float32) -> siglip2.SigLIP2:
  return siglip2.SigLIP2(siglip.SigLIPConfig.from_dict(CONFIG), dtype)


def theirs_of(image: siglip2.Patches) -> dict:
  return {
    'pixel_values': parity.torch.tensor(image.patch_BTP),
    'pixel_attention_mask': parity.ids(image.mask_BT),
    'spatial_shapes': parity.ids(image.grid_B2),
  }


@parity.needs_torch
class ParityTest(parity.ParityTest, parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.theirs = parity.reference('Siglip2Model', 'Siglip2Config', CONFIG)
    cls.variables = parity.load(
      module(),
      parity.state(cls.theirs),
      patches(*FULL),
      siglip_test.tokens(16),
    )

  @parameterized.parameters(MIXED, LARGE, FULL)
  def test_images(self, slots, grids):
    image = patches(slots, grids)
    seen = self.record(self.theirs.vision_model.encoder)
    expected = self.theirs.get_image_features(
      **theirs_of(image), output_hidden_states=True
    )
    _, out = parity.apply(module(), self.variables, image, method='image')
    self.assert_tower(
      out, expected, seen, pooled='pooler_output', projected='pooler_output'
    )

  @parameterized.parameters(5, 16)
  def test_texts(self, length):
    ids = siglip_test.tokens(length)
    seen = self.record(self.theirs.text_model.encoder)
    expected = self.theirs.get_text_features(
      parity.ids(ids), output_hidden_states=True
    )
    _, out = parity.apply(module(), self.variables, ids, method='text')
    self.assert_tower(out, expected, seen, projected='pooler_output')

  def test_logits(self):
    image, ids = patches(*MIXED), siglip_test.tokens(16, 6)
    expected = self.theirs(input_ids=parity.ids(ids), **theirs_of(image))
    image_BD, text_BD, scale, bias = parity.apply(
      module(), self.variables, image, ids
    )
    self.assert_equal(
      image_BD @ text_BD.T * scale + bias, expected.logits_per_image, 'logits'
    )

  @parameterized.parameters(True, False)
  def test_vision_tower_alone_with_and_without_head(self, use_head):
    theirs = parity.reference(
      'Siglip2VisionModel',
      'Siglip2VisionConfig',
      VISION | {'vision_use_head': use_head},
    )
    tower = siglip2.VisionTower(
      siglip.TowerConfig.from_dict(theirs.config.to_dict())
    )
    image = patches(*MIXED)
    seen = self.record(theirs.encoder)
    expected = theirs(**theirs_of(image), output_hidden_states=True)
    checkpoint = weights.of_tower(parity.state(theirs), 'vision_model')
    variables = parity.load(tower, checkpoint, image)
    _, out = parity.apply(tower, variables, image)
    pooled = {'pooled': 'pooler_output'} if use_head else {}
    self.assert_tower(out, expected, seen, **pooled)


class SigLIP2Test(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.variables = parity.init(
      module(), patches(*FULL), siglip_test.tokens(16)
    )

  def test_one_trace_serves_all_grids(self):
    traces = []

    @jax.jit
    def embed(image):
      traces.append(image)
      return module().apply(self.variables, image, method='image')[0]

    one = embed(patches(12, ((3, 4), (2, 2))))
    two = embed(patches(12, ((1, 9), (3, 4))))
    self.assertLen(traces, 1)
    self.assertGreater(np.abs(one - two).max(), 1e-3)

  def test_padding_is_not_read(self):
    image = patches(12, ((3, 4), (2, 2)))
    beyond = siglip2.Patches(
      np.pad(image.patch_BTP, ((0, 0), (0, 9), (0, 0)), constant_values=7.0),
      np.pad(image.mask_BT, ((0, 0), (0, 9))),
      image.grid_B2,
    )
    near, _ = parity.apply(module(), self.variables, image, method='image')
    far, _ = parity.apply(module(), self.variables, beyond, method='image')
    np.testing.assert_allclose(near, far, rtol=1e-5, atol=1e-6)

  def test_bfloat16_stays_near_float32(self):
    inputs = patches(*MIXED), siglip_test.tokens(16)
    exact = parity.apply(module(), self.variables, *inputs)
    rough = parity.apply(module(jnp.bfloat16), self.variables, *inputs)
    for a, b in zip(exact[:2], rough[:2], strict=True):
      self.assertGreater(jnp.sum(a * b, axis=1).min(), 0.995)


if __name__ == '__main__':
  absltest.main()
