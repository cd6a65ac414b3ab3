"""Which patch of the whole image a position sees."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saejax.models import tiles

SMALL = tiles.Layout(48, 6, ((48, 48), (48, 96), (96, 48), (96, 96)))
LARGE = tiles.Layout(
  336, 24, ((336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008))
)


class SeenTest(parameterized.TestCase):
  @parameterized.product(
    layout=(SMALL, LARGE),
    size=((48, 48), (40, 96), (96, 31), (480, 640), (333, 500), (1000, 90)),
  )
  def test_tiles_see_the_image_from_left_to_right_and_downwards(
    self, layout, size
  ):
    packed, seen = tiles.packing(size, layout), tiles.seen(size, layout)
    np.testing.assert_array_equal(seen < 0, packed < 0)
    p = layout.patches
    np.testing.assert_array_equal(seen[: p * p], np.arange(p * p))
    width = int(np.argmax(seen[p * p :] < 0)) + 1
    cut_HW = seen[p * p :].reshape(-1, width)[:, :-1]
    # A middle in the tiles is at the same share of the image as its patch.
    for axis, of_HW in ((0, cut_HW // p), (1, cut_HW % p)):
      line = np.moveaxis(of_HW, axis, 0)[:, 0]
      middle = (np.arange(len(line)) + 0.5) / len(line)
      np.testing.assert_array_equal(line, np.floor(middle * p + 1e-9))

  def test_one_tile_sees_what_the_whole_image_does(self):
    cut = tiles.seen((48, 48), SMALL)[36:].reshape(6, 7)
    np.testing.assert_array_equal(cut[:, :6].ravel(), np.arange(36))
    self.assertTrue((cut[:, 6] == -1).all())


if __name__ == '__main__':
  absltest.main()
