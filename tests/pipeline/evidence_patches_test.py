"""A patch counts as kept only where every token that sees it was."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saejax.models import tiles
from saejax.pipeline import evidence_patches

SMALL = tiles.Layout(48, 6, ((48, 48), (48, 96), (96, 48), (96, 96)))
LARGE = tiles.Layout(
  336, 24, ((336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008))
)
SIZES = ((48, 48), (40, 96), (96, 31), (480, 640), (1000, 90))


def truth(seen: np.ndarray, kept: np.ndarray, p: int) -> np.ndarray:
  """Which patches no position that was left out sees."""
  whole_P = np.ones(p * p, bool)
  left = seen[~np.isin(np.arange(len(seen)), kept)]
  whole_P[left[left >= 0]] = False
  return whole_P


class WholeTest(parameterized.TestCase):
  @parameterized.product(layout=(SMALL, LARGE), size=SIZES)
  def test_all_of_an_image_is_all_patches(self, layout, size):
    seen = tiles.seen(size, layout)
    found = evidence_patches.whole(np.arange(len(seen)), seen, layout.patches)
    self.assertTrue(found.all())

  @parameterized.product(layout=(SMALL, LARGE), size=SIZES, share=(0.9, 0.5))
  def test_those_without_a_gap_are_found(self, layout, size, share):
    seen, p = tiles.seen(size, layout), layout.patches
    rng = np.random.default_rng(0)
    kept = np.flatnonzero(rng.random(len(seen)) < share)
    found = evidence_patches.whole(kept, seen[kept], p)
    np.testing.assert_array_equal(found, truth(seen, kept, p))
    if share == 0.9:
      self.assertTrue(found.any())
    self.assertFalse(found.all())

  @parameterized.product(size=SIZES, most=(1, 8, 32))
  def test_of_few_positions_no_patch_is_claimed_that_has_a_gap(
    self, size, most
  ):
    seen = tiles.seen(size, LARGE)
    for seed in range(5):
      rng = np.random.default_rng(seed)
      kept = np.sort(rng.choice(len(seen), most, replace=False))
      found = evidence_patches.whole(kept, seen[kept], LARGE.patches)
      self.assertFalse((found & ~truth(seen, kept, LARGE.patches)).any())

  def test_the_last_rows_are_missed_too(self):
    seen, p = tiles.seen((96, 96), SMALL), SMALL.patches
    kept = np.arange(len(seen) - 13)  # All but the last row of the tiles.
    found = evidence_patches.whole(kept, seen[kept], p)
    np.testing.assert_array_equal(found, np.arange(p * p) < p * (p - 1))

  def test_what_no_cut_explains_is_not_known(self):
    found = evidence_patches.whole(np.array([9, 10]), np.array([5, 2]), 3)
    self.assertFalse(found.any())


if __name__ == '__main__':
  absltest.main()
