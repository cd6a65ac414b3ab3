"""SigLIP: parity with transformers' torch model, and what must hold without."""

from absl.testing import absltest
from absl.testing import parameterized
import jax.numpy as jnp
import numpy as np

from saejax import errors
from saejax.models import siglip
from saejax.models import weights
from tests.models import parity

TEXT = parity.TEXT | {
  'projection_size': 40,
  'bos_token_id': 0,
  'eos_token_id': 1,
  'layer_norm_eps': 1e-3,  # Large, so that a wrong one shows.
}
VISION = parity.VISION | {
  'layer_norm_eps': 2e-3,
}
CONFIG = {'model_type': 'siglip', 'text_config': TEXT, 'vision_config': VISION}


def images(h: int = 32, w: int = 32, n: int = 3) -> np.ndarray:
  rng = np.random.default_rng(h + w)
  return rng.normal(size=(n, h, w, 3)).astype(np.float32)


def tokens(length: int, n: int = 3) -> np.ndarray:
  rng = np.random.default_rng(length)
  return rng.integers(2, 99, size=(n, length)).astype(np.int32)


def module(dtype=jnp.float32) -> siglip.SigLIP:
  return siglip.SigLIP(siglip.SigLIPConfig.from_dict(CONFIG), dtype)


@parity.needs_torch
class ParityTest(parity.ParityTest, parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.theirs = parity.reference('SiglipModel', 'SiglipConfig', CONFIG)
    cls.variables = parity.load(
      module(), parity.state(cls.theirs), images(), tokens(16)
    )

  # The table is of 4 by 4 patches. Rims that make no patch are cut off.
  @parameterized.parameters(
    (32, 32), (35, 35), (33, 38), (16, 64), (48, 24), (104, 72), (8, 8)
  )
  def test_images(self, h, w):
    seen = self.record(self.theirs.vision_model.encoder)
    expected = self.theirs.get_image_features(
      parity.channels_first(images(h, w)),
      interpolate_pos_encoding=True,
      output_hidden_states=True,
    )
    _, out = parity.apply(
      module(), self.variables, images(h, w), method='image'
    )
    self.assert_tower(
      out, expected, seen, pooled='pooler_output', projected='pooler_output'
    )

  @parameterized.parameters(1, 7, 13, 16)
  def test_texts(self, length):
    seen = self.record(self.theirs.text_model.encoder)
    expected = self.theirs.get_text_features(
      parity.ids(tokens(length)), output_hidden_states=True
    )
    _, out = parity.apply(
      module(), self.variables, tokens(length), method='text'
    )
    self.assert_tower(out, expected, seen, projected='pooler_output')

  def test_texts_with_a_mask(self):
    mask_BT = np.arange(13)[None] < np.array([[13], [4], [9]])
    seen = self.record(self.theirs.text_model.encoder)
    expected = self.theirs.get_text_features(
      parity.ids(tokens(13)),
      attention_mask=parity.ids(mask_BT),
      output_hidden_states=True,
    )
    _, out = parity.apply(
      module(), self.variables, tokens(13), mask_BT, method='text'
    )
    self.assert_tower(out, expected, seen, projected='pooler_output')

  def test_logits(self):
    expected = self.theirs(
      input_ids=parity.ids(tokens(11)),
      pixel_values=parity.channels_first(images()),
    )
    image_BD, text_BD, scale, bias = parity.apply(
      module(), self.variables, images(), tokens(11)
    )
    self.assert_equal(image_BD, expected.image_embeds, 'image')
    self.assert_equal(text_BD, expected.text_embeds, 'text')
    self.assert_equal(
      image_BD @ text_BD.T * scale + bias, expected.logits_per_image, 'logits'
    )

  @parameterized.parameters(True, False)
  def test_towers_alone_with_and_without_head(self, use_head):
    theirs = parity.reference(
      'SiglipVisionModel',
      'SiglipVisionConfig',
      VISION | {'vision_use_head': use_head},
    )
    tower = siglip.VisionTower(
      siglip.TowerConfig.from_dict(theirs.config.to_dict())
    )
    seen = self.record(theirs.encoder)
    expected = theirs(
      parity.channels_first(images()), output_hidden_states=True
    )
    bare = parity.state(theirs)
    for checkpoint in (bare, {f'vision_model.{k}': v for k, v in bare.items()}):
      variables = parity.load(
        tower, weights.of_tower(checkpoint, 'vision_model'), images()
      )
      y, out = parity.apply(tower, variables, images())
      pooled = {'pooled': 'pooler_output'} if use_head else {}
      self.assert_tower(out, expected, seen, **pooled)
      self.assertEqual('pooled' in out, use_head)
      np.testing.assert_array_equal(y, out['pooled' if use_head else 'tokens'])

  def test_text_tower_alone(self):
    theirs = parity.reference('SiglipTextModel', 'SiglipTextConfig', TEXT)
    tower = siglip.TextTower(
      siglip.TowerConfig.from_dict(theirs.config.to_dict())
    )
    checkpoint = weights.of_tower(parity.state(theirs), 'text_model')
    variables = parity.load(tower, checkpoint, tokens(16))
    y, _ = parity.apply(tower, variables, tokens(16))
    expected = theirs(parity.ids(tokens(16))).pooler_output
    self.assert_equal(y, expected, 'projected')


class SigLIPTest(absltest.TestCase):
  def test_a_tower_is_read_out_of_both(self):
    variables = parity.init(module(), images(), tokens(16))
    both = weights.export(variables['params'])
    tower = siglip.VisionTower(siglip.TowerConfig.from_dict(VISION))
    alone = parity.load(tower, weights.of_tower(both, 'vision_model'), images())
    expected, _ = parity.apply(module(), variables, images(), method='image')
    found, _ = parity.apply(tower, alone, images())
    np.testing.assert_allclose(
      found / np.linalg.norm(found, axis=1, keepdims=True), expected, rtol=1e-6
    )

  def test_bfloat16_stays_near_float32(self):
    variables = parity.init(module(), images(), tokens(16))
    exact = parity.apply(module(), variables, images(), tokens(16))
    rough = parity.apply(module(jnp.bfloat16), variables, images(), tokens(16))
    for a, b in zip(exact[:2], rough[:2], strict=True):
      self.assertGreater(jnp.sum(a * b, axis=1).min(), 0.995)

  def test_without_a_head_there_is_no_embedding(self):
    found = CONFIG | {'vision_config': VISION | {'vision_use_head': False}}
    headless = siglip.SigLIP(siglip.SigLIPConfig.from_dict(found))
    with self.assertRaisesRegex(errors.UserError, 'vision_use_head false'):
      parity.init(headless, images(), tokens(16))

  def test_long_texts_are_refused(self):
    with self.assertRaisesRegex(errors.UserError, '17 tokens.* at most 16'):
      parity.init(module(), images(), tokens(17))

  def test_unknown_activations_are_named(self):
    found = CONFIG | {'text_config': TEXT | {'hidden_act': 'mish'}}
    odd = siglip.SigLIP(siglip.SigLIPConfig.from_dict(found))
    with self.assertRaisesRegex(errors.UserError, "'mish'; known are"):
      parity.init(odd, images(), tokens(16))


if __name__ == '__main__':
  absltest.main()
