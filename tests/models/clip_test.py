"""CLIP: parity with transformers' torch model, and what must hold without."""

from absl.testing import absltest
from absl.testing import parameterized
import jax.numpy as jnp
import numpy as np

from saejax import errors
from saejax.models import clip
from tests.models import parity

TEXT = parity.TEXT | {
  'intermediate_size': 64,
  'num_hidden_layers': 2,
  'bos_token_id': 97,
  'eos_token_id': 98,
  'pad_token_id': 0,
  'layer_norm_eps': 1e-3,  # Large, so that a wrong one shows.
}
VISION = parity.VISION | {
  'layer_norm_eps': 2e-3,
}
CONFIG = {
  'model_type': 'clip',
  'projection_dim': 24,
  'text_config': TEXT,
  'vision_config': VISION,
}


def config(act: str = 'quick_gelu', eos: int = 98) -> dict:
  text = TEXT | {'hidden_act': act, 'eos_token_id': eos}
  vision = VISION | {'hidden_act': act}
  return CONFIG | {'text_config': text, 'vision_config': vision}


def images(h: int = 32, w: int = 32) -> np.ndarray:
  rng = np.random.default_rng(h + w)
  return rng.normal(size=(5, h, w, 3)).astype(np.float32)


def tokens(length: int = 12) -> np.ndarray:
  """Ids of five texts that end at different places."""
  rng = np.random.default_rng(length)
  ids_BT = rng.integers(3, 97, size=(5, length)).astype(np.int32)
  for row, end in zip(ids_BT, (3, length - 1, 7, 5, 6), strict=True):
    row[end] = 98
    row[end + 1 :] = 0
  return ids_BT


def inputs() -> tuple[np.ndarray, np.ndarray]:
  return images(), tokens()


def module(found: dict | None = None, dtype=jnp.float32) -> clip.CLIP:
  return clip.CLIP(clip.CLIPConfig.from_dict(found or config()), dtype)


@parity.needs_torch
class ParityTest(parity.ParityTest, parameterized.TestCase):
  # With the end of text 2, it is where the largest id is.
  @parameterized.parameters(
    ('quick_gelu', 98), ('gelu', 98), ('gelu_pytorch_tanh', 2)
  )
  def test_both_towers(self, act, eos):
    theirs = parity.reference('CLIPModel', 'CLIPConfig', config(act, eos))
    ours = module(theirs.config.to_dict())
    variables = parity.load(ours, parity.state(theirs), images(), tokens())
    seen = self.record(theirs.vision_model.encoder)
    said = self.record(theirs.text_model.encoder)
    expected = theirs(
      pixel_values=parity.channels_first(images()),
      input_ids=parity.ids(tokens()),
      output_hidden_states=True,
    )
    image_BD, image = parity.apply(ours, variables, images(), method='image')
    text_BD, text = parity.apply(ours, variables, tokens(), method='text')
    # What version 5 pools in a model of both towers is projected.
    self.assert_tower(
      image, expected.vision_model_output, seen, projected='pooler_output'
    )
    self.assert_tower(
      text, expected.text_model_output, said, projected='pooler_output'
    )
    self.assert_equal(image_BD, expected.image_embeds, 'image')
    self.assert_equal(text_BD, expected.text_embeds, 'text')
    _, _, scale = parity.apply(ours, variables, images(), tokens())
    self.assert_equal(
      image_BD @ text_BD.T * scale, expected.logits_per_image, 'logits'
    )

  def both(self):
    theirs = parity.reference('CLIPModel', 'CLIPConfig', config())
    return theirs, parity.load(
      module(), parity.state(theirs), images(), tokens()
    )

  # The table is of 4 by 4 patches. Rims that make no patch are cut off.
  @parameterized.parameters((48, 24), (35, 35))
  def test_images_of_other_sizes(self, h, w):
    theirs, variables = self.both()
    seen = self.record(theirs.vision_model.encoder)
    expected = theirs.vision_model(
      parity.channels_first(images(h, w)),
      interpolate_pos_encoding=True,
      output_hidden_states=True,
    )
    _, out = parity.apply(module(), variables, images(h, w), method='image')
    self.assert_tower(out, expected, seen, pooled='pooler_output')

  @parameterized.parameters(8, 16)
  def test_what_texts_pool(self, length):
    theirs, variables = self.both()
    seen = self.record(theirs.text_model.encoder)
    expected = theirs.text_model(
      parity.ids(tokens(length)), output_hidden_states=True
    )
    _, out = parity.apply(module(), variables, tokens(length), method='text')
    self.assert_tower(out, expected, seen, pooled='pooler_output')


class CLIPTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.variables = parity.init(module(), images(), tokens())

  def test_text_is_causal_and_read_at_its_end(self):
    ids = tokens()
    changed = ids.copy()
    changed[:, 4] = 50
    a, b = (
      parity.apply(module(), self.variables, x, method='text')
      for x in (ids, changed)
    )
    np.testing.assert_array_equal(a[1]['tokens'][:, :4], b[1]['tokens'][:, :4])
    moved = np.abs(a[1]['tokens'] - b[1]['tokens']).max(-1)
    self.assertTrue((moved[:, 4:] > 1e-6).all())
    # Row 0 ends at 3, before the change; the others read past it.
    same = np.abs(a[0] - b[0]).max(-1) == 0
    np.testing.assert_array_equal(same, [True, False, False, False, False])

  def test_bfloat16_stays_near_float32(self):
    exact, rough = (
      parity.apply(module(dtype=dtype), self.variables, images(), tokens())
      for dtype in (jnp.float32, jnp.bfloat16)
    )
    for a, b in zip(exact[:2], rough[:2], strict=True):
      self.assertGreater(jnp.sum(a * b, axis=1).min(), 0.995)

  def test_long_texts_are_refused(self):
    with self.assertRaisesRegex(errors.UserError, '17 tokens.* at most 16'):
      parity.init(module(), images(), tokens(17))


if __name__ == '__main__':
  absltest.main()
