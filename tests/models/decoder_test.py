"""A decoder may not see the tokens that it is to tell."""

from absl.testing import absltest
import jax
import numpy as np

from saejax.models import clip
from saejax.models import decoder
from tests.models import parity

CONFIG = clip.TowerConfig(
  hidden_size=16,
  intermediate_size=32,
  num_hidden_layers=2,
  num_attention_heads=2,
  hidden_act='gelu',
  vocab_size=11,
  max_position_embeddings=8,
)


class DecoderTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(0)
    self.image = rng.normal(size=(2, 3, 24)).astype(np.float32)
    self.ids = rng.integers(0, 11, (2, 6))
    module = decoder.Decoder(CONFIG)
    variables = parity.init(module, self.image, self.ids)
    self.apply = jax.jit(lambda x, ids: module.apply(variables, x, ids))
    self.logits = self.apply(self.image, self.ids)

  def test_a_token_is_told_from_those_before_it_alone(self):
    self.assertEqual(self.logits.shape, (2, 5, 11))
    for t in range(6):
      changed = self.ids.copy()
      changed[:, t] = (changed[:, t] + 1) % 11
      found = self.apply(self.image, changed)
      # Token t is read by the logits of t + 1 and later, which are at t.
      np.testing.assert_allclose(found[:, :t], self.logits[:, :t], atol=1e-6)
      if t < 5:
        for row in range(2):
          self.assertGreater(
            np.abs(found[row, t] - self.logits[row, t]).max(), 1e-3
          )

  def test_every_part_of_the_image_is_seen_from_the_first_token_on(self):
    for p in range(3):
      image = self.image.copy()
      image[:, p] += 1
      found = self.apply(image, self.ids)
      self.assertGreater(np.abs(found - self.logits).max(axis=-1).min(), 1e-4)


if __name__ == '__main__':
  absltest.main()
