"""Positions on other grids: parity with torch, and what they must be."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saejax import errors
from saejax.models import clip
from saejax.models import positions
from saejax.models import weights
from tests.models import clip_test
from tests.models import parity

SIZES = ((16, 16), (16, 24), (16, 7), (7, 16), (5, 1), (24, 37), (27, 16))


def table(n: int, d: int = 6) -> np.ndarray:
  return np.random.default_rng(n).normal(size=(n * n, d)).astype(np.float32)


def interpolated(table_TD: np.ndarray, h: int, w: int, **kwargs) -> np.ndarray:
  n = positions.side(len(table_TD))
  image = parity.torch.tensor(table_TD.reshape(1, n, n, -1))
  found = parity.torch.nn.functional.interpolate(
    image.permute(0, 3, 1, 2), size=(h, w), align_corners=False, **kwargs
  )
  return found[0].permute(1, 2, 0).reshape(h * w, -1).numpy()


@parity.needs_torch
class ParityTest(parity.ParityTest, parameterized.TestCase):
  @parameterized.parameters(*SIZES)
  def test_bicubic(self, n, m):
    for h, w in ((m, m), (m, n + 1), (2, m)):
      found = positions.to_grid(jnp.asarray(table(n)), h, w)
      expected = interpolated(table(n), h, w, mode='bicubic')
      self.assert_equal(np.asarray(found), expected, f'{h}x{w}')

  @parameterized.parameters(*SIZES)
  def test_antialiased_bilinear(self, n, m):
    grids = np.array([(m, m), (m, n + 1), (2, m), (1, 1)])
    slots = grids.prod(1).max() + 3
    found = np.asarray(positions.to_grids(table(n), grids, slots))
    for row, (h, w) in zip(found, grids.tolist(), strict=True):
      expected = interpolated(table(n), h, w, mode='bilinear', antialias=True)
      self.assert_equal(row[: h * w], expected, f'{h}x{w}')
      padding = np.broadcast_to(expected[:1], (slots - h * w, row.shape[-1]))
      self.assert_equal(row[h * w :], padding, f'padding of {h}x{w}')

  @parameterized.parameters((32, 32), (34, 34), (16, 64), (56, 40), (8, 16))
  def test_clip_on_other_image_sizes(self, h, w):
    vision = clip_test.CONFIG['vision_config']
    theirs = parity.reference('CLIPVisionModel', 'CLIPVisionConfig', vision)
    tower = clip.VisionTower(clip.TowerConfig.from_dict(vision))
    image = np.random.default_rng(h).normal(size=(2, h, w, 3))
    image = image.astype(np.float32)
    seen = self.record(theirs.encoder)
    expected = theirs(
      parity.channels_first(image),
      interpolate_pos_encoding=True,
      output_hidden_states=True,
    )
    # The tower's file as version 5 has it in memory, and as version 4 saved it.
    bare = parity.state(theirs)
    old = {f'vision_model.{k}': v for k, v in bare.items()}
    old['vision_model.embeddings.position_ids'] = np.arange(17)[None]
    for checkpoint in (bare, old):
      variables = parity.load(
        tower, weights.of_tower(checkpoint, 'vision_model'), image
      )
      _, out = parity.apply(tower, variables, image)
      self.assert_tower(out, expected, seen, pooled='pooler_output')


class PositionsTest(parameterized.TestCase):
  @parameterized.parameters(*SIZES)
  def test_weights_sum_to_one(self, n, m):
    ones = np.ones(m)
    np.testing.assert_allclose(positions.bicubic(n, m).sum(1), ones, rtol=1e-5)
    every = positions.bilinear(n, jnp.full((m,), m), jnp.arange(m))
    np.testing.assert_allclose(every.sum(1), ones, rtol=1e-5)

  def test_the_own_grid_is_left_alone(self):
    np.testing.assert_array_equal(positions.bicubic(7, 7), np.eye(7))
    found = positions.to_grids(table(4), jnp.array([[4, 4]]), 16)
    np.testing.assert_allclose(found[0], table(4), rtol=1e-6)

  @parameterized.parameters((3, 2), (5, 4), (2, 5), (9, 1), (3, 1))
  def test_antialiased_bilinear_is_that_of_jax(self, h, w):
    found = positions.to_grids(table(4), jnp.array([[h, w]]), h * w)
    expected = jax.image.resize(
      table(4).reshape(4, 4, -1), (h, w, 6), 'bilinear'
    )
    np.testing.assert_allclose(
      found[0], expected.reshape(h * w, -1), rtol=1e-4, atol=1e-6
    )

  def test_sines_of_the_column_come_first(self):
    found = positions.sincos(2, 3, 8)
    self.assertEqual(found.shape, (6, 8))
    # Row 1, column 2; frequencies 1 and 1/100.
    angle = np.array([2.0, 0.02, 1.0, 0.01])
    expected = [*np.sin(angle[:2]), *np.cos(angle[:2])]
    expected += [*np.sin(angle[2:]), *np.cos(angle[2:])]
    np.testing.assert_allclose(found[5], expected, rtol=1e-6)
    with self.assertRaisesRegex(errors.UserError, 'hidden size is 10'):
      positions.sincos(2, 2, 10)


if __name__ == '__main__':
  absltest.main()
