"""AIMv2: parity with transformers' torch model, and what must hold without."""

from absl.testing import absltest
from absl.testing import parameterized
import jax.numpy as jnp
import numpy as np

from saejax import errors
from saejax.models import aimv2
from saejax.models import weights
from tests.models import parity

TEXT = parity.TEXT | {
  'eos_token_id': 98,
  'rms_norm_eps': 1e-3,  # Large, so that a wrong one shows.
}
VISION = parity.VISION | {
  'rms_norm_eps': 2e-3,
}
CONFIG = {
  'model_type': 'aimv2',
  'projection_dim': 24,
  'text_config': TEXT,
  'vision_config': VISION,
}
NATIVE = VISION | {'is_native': True}
HEADLESS = VISION | {'use_head': False}
BIASED = VISION | {'qkv_bias': True, 'mlp_bias': True}


def images(h: int = 32, w: int = 32) -> np.ndarray:
  rng = np.random.default_rng(h + w)
  return rng.normal(size=(3, h, w, 3)).astype(np.float32)


def tokens(length: int, pad: bool = True) -> tuple[np.ndarray, np.ndarray]:
  """Ids of three texts that end at different places, and their mask."""
  rng = np.random.default_rng(length)
  ids_BT = rng.integers(2, 98, size=(3, length)).astype(np.int32)
  end_B1 = np.array([[length - 1], [length // 3], [length // 2]])
  position_1T = np.arange(length)[None]
  ids_BT[position_1T == end_B1] = 98
  if pad:
    # The end-of-text token is the padding too, as in CLIP's tokenizer.
    ids_BT[position_1T > end_B1] = 98
  return ids_BT, position_1T <= end_B1


def module(config=CONFIG, dtype=jnp.float32) -> aimv2.AIMv2:
  return aimv2.AIMv2(aimv2.AIMv2Config.from_dict(config), dtype)


@parity.needs_torch
class ParityTest(parity.ParityTest, parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.theirs = parity.reference('Aimv2Model', 'Aimv2Config', CONFIG)
    cls.variables = parity.load(
      module(), parity.state(cls.theirs), images(), tokens(16)[0]
    )

  def assert_texts(self, theirs, ids_BT, shown_BT, mask_BT, causal) -> None:
    """Compares texts, where transformers is shown a mask of its own."""
    seen = self.record(theirs.text_model.encoder, 'attention', 'ffn')
    if shown_BT is not None:
      shown_BT = parity.ids(shown_BT)
    expected = theirs.text_model(
      parity.ids(ids_BT), attention_mask=shown_BT, output_hidden_states=True
    )
    _, out = parity.apply(
      module(), self.variables, ids_BT, mask_BT, method='text', causal=causal
    )
    self.assert_tower(out, expected, seen, pooled='pooler_output')
    projected = theirs.text_projection(expected.pooler_output)
    self.assert_equal(out['projected'], projected, 'projected')

  @parameterized.parameters(3, 9, 16)
  def test_texts_with_padding_are_causal(self, length):
    ids_BT, mask_BT = tokens(length)
    self.assert_texts(self.theirs, ids_BT, mask_BT, mask_BT, causal=True)

  @parameterized.product(length=(1, 7, 16), ones=(True, False))
  def test_texts_that_sdpa_sees_unmasked_are_not_causal(self, length, ones):
    ids_BT, _ = tokens(length, pad=False)
    shown_BT = np.ones_like(ids_BT) if ones else None
    self.assert_texts(self.theirs, ids_BT, shown_BT, None, causal=False)

  def test_texts_with_eager_attention(self):
    # The parameters are the same.
    theirs = parity.reference(
      'Aimv2Model', 'Aimv2Config', CONFIG, attn_implementation='eager'
    )
    ids_BT, mask_BT = tokens(11)
    ones = np.ones_like(ids_BT)
    self.assert_texts(theirs, ids_BT, ones, None, causal=True)
    self.assert_texts(theirs, ids_BT, mask_BT, mask_BT, causal=True)
    self.assert_texts(theirs, ids_BT, None, None, causal=False)

  @parameterized.parameters(
    (VISION, 32, 32), (VISION, 34, 39), (BIASED, 32, 32), (HEADLESS, 32, 32),
    (NATIVE, 32, 32), (NATIVE, 16, 56), (NATIVE, 43, 8),
    (NATIVE | HEADLESS, 24, 48),
  )  # fmt: skip
  def test_vision_tower_alone(self, config, h, w):
    theirs = parity.reference('Aimv2VisionModel', 'Aimv2VisionConfig', config)
    tower = aimv2.VisionTower(
      aimv2.TowerConfig.from_dict(theirs.config.to_dict())
    )
    seen = self.record(theirs.encoder, 'attention', 'ffn')
    expected = theirs(
      parity.channels_first(images(h, w)), output_hidden_states=True
    )
    bare = parity.state(theirs)
    for checkpoint in (bare, {f'vision_model.{k}': v for k, v in bare.items()}):
      variables = parity.load(
        tower, weights.of_tower(checkpoint, 'vision_model'), images(h, w)
      )
      y, out = parity.apply(tower, variables, images(h, w))
      has_head = config.get('use_head', True)
      pooled = {'pooled': 'pooler_output'} if has_head else {}
      self.assert_tower(out, expected, seen, **pooled)
      self.assertEqual('pooled' in out, has_head)
      np.testing.assert_array_equal(y, out['pooled' if has_head else 'tokens'])

  def test_images_of_both_towers(self):
    seen = self.record(self.theirs.vision_model.encoder, 'attention', 'ffn')
    image = parity.channels_first(images())
    expected = self.theirs.vision_model(image, output_hidden_states=True)
    _, out = parity.apply(module(), self.variables, images(), method='image')
    self.assert_tower(out, expected, seen, pooled='pooler_output')
    projected = self.theirs.visual_projection(expected.pooler_output)
    self.assert_equal(out['projected'], projected, 'projected')

  # The scale is held between 1 and 100.
  @parameterized.parameters(-0.5, 2.0, 7.0)
  def test_logits(self, log_scale):
    theirs = parity.reference('Aimv2Model', 'Aimv2Config', CONFIG)
    theirs.logit_scale.fill_(log_scale)
    ids_BT, mask_BT = tokens(12)
    expected = theirs(
      input_ids=parity.ids(ids_BT),
      attention_mask=parity.ids(mask_BT),
      pixel_values=parity.channels_first(images()),
    )
    variables = parity.load(module(), parity.state(theirs), images(), ids_BT)
    # What is after the end of a text is not seen, so that no mask is needed.
    image_BD, text_BD, scale = parity.apply(
      module(), variables, images(), ids_BT
    )
    self.assert_equal(image_BD, expected.image_embeds, 'image')
    self.assert_equal(text_BD, expected.text_embeds, 'text')
    self.assert_equal(
      image_BD @ text_BD.T * scale, expected.logits_per_image, 'logits'
    )


class AIMv2Test(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.ids_BT, self.mask_BT = tokens(12)
    self.variables = parity.init(module(), images(), self.ids_BT)

  def test_text_is_causal_unless_told(self):
    changed_BT = self.ids_BT.copy()
    changed_BT[:, 3] = 50
    for causal in (True, False):
      a, b = (
        parity.apply(
          module(), self.variables, ids, causal=causal, method='text'
        )[1]
        for ids in (self.ids_BT, changed_BT)
      )
      moved_BT = np.abs(a['tokens'] - b['tokens']).max(-1) > 1e-6
      self.assertEqual(moved_BT[:, :3].any(), not causal)
      self.assertTrue(moved_BT[:, 3:].all())

  def test_padding_changes_no_embedding(self):
    near, _ = parity.apply(module(), self.variables, self.ids_BT, method='text')
    far, _ = parity.apply(
      module(), self.variables, self.ids_BT, self.mask_BT, method='text'
    )
    np.testing.assert_allclose(near, far, rtol=1e-5, atol=1e-6)

  def test_bfloat16_stays_near_float32(self):
    exact, rough = (
      parity.apply(module(dtype=dtype), self.variables, images(), self.ids_BT)
      for dtype in (jnp.float32, jnp.bfloat16)
    )
    for a, b in zip(exact[:2], rough[:2], strict=True):
      self.assertGreater(jnp.sum(a * b, axis=1).min(), 0.995)

  def test_other_image_sizes_need_a_native_model(self):
    with self.assertRaisesRegex(
      errors.UserError, '48 by 32 pixels makes 6 by 4 patches.* 4 by 4: resize'
    ):
      parity.apply(module(), self.variables, images(48, 32), method='image')

  def test_without_a_head_there_is_no_embedding(self):
    headless = module(CONFIG | {'vision_config': HEADLESS})
    with self.assertRaisesRegex(errors.UserError, 'use_head false'):
      parity.init(headless, images(), self.ids_BT)


if __name__ == '__main__':
  absltest.main()
