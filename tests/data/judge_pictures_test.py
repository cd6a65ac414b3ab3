"""Pictures for a judge are small, and dark but at patches that are lit."""

import base64
import io

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image

from saejax.data import judge_pictures


class JudgePicturesTest(parameterized.TestCase):
  @parameterized.parameters(((9, 6), 3), ((10, 7), 3), ((224, 224), 24))
  def test_patches_that_are_lit_are_as_they_were(self, size, p):
    rng = np.random.default_rng(0)
    image = rng.integers(4, 256, (*size, 3), dtype=np.uint8)
    is_lit = rng.random(p * p) < 0.5
    found = judge_pictures.masked(image, is_lit)
    for y in range(size[0]):
      for x in range(size[1]):
        # The patch that the middle of the pixel is in.
        row, column = ((2 * n + 1) * p // (2 * m)
                       for n, m in zip((y, x), size, strict=True))  # fmt: skip
        expected = image[y, x]
        if not is_lit[row * p + column]:
          expected = expected // 4
        np.testing.assert_array_equal(found[y, x], expected)

  def test_large_images_are_made_small_and_small_ones_kept(self):
    for size, expected in (
      ((640, 480), (168, 224, 3)), ((30, 50), (50, 30, 3)),
    ):  # fmt: skip
      found = judge_pictures.small(Image.new('L', size, 7))
      self.assertEqual(found.shape, expected)
      self.assertTrue((found == 7).all())

  def test_what_is_sent_is_the_image(self):
    image = np.zeros((48, 48, 3), np.uint8)
    image[:24, :24] = 214, 39, 40
    found = judge_pictures.encode(image, is_masked=True)
    self.assertTrue(found.is_masked)
    self.assertNotIn('base64', repr(found))
    head, data = found.url.split(',')
    self.assertEqual(head, 'data:image/jpeg;base64')
    with Image.open(io.BytesIO(base64.b64decode(data))) as opened:
      decoded = np.asarray(opened).astype(int)
    self.assertLess(np.abs(decoded - image).max(), 12)
    self.assertEqual(judge_pictures.encode(image).url, found.url)


if __name__ == '__main__':
  absltest.main()
