"""Shares of decoder norms by hand."""

from absl.testing import absltest
import numpy as np

from saejax.analysis import sites


class SitesTest(absltest.TestCase):
  def test_rows_are_split_by_width(self):
    x_ND = np.arange(12).reshape(2, 6)
    a, b, c = sites.split(x_ND, (1, 3, 2))
    np.testing.assert_array_equal(a, [[0], [6]])
    np.testing.assert_array_equal(b, [[1, 2, 3], [7, 8, 9]])
    np.testing.assert_array_equal(c, [[4, 5], [10, 11]])

  def test_shares_of_norms(self):
    w_SD = np.array([[3, 4, 0], [3, 4, 5], [0, 0, 2], [0, 0, 0]], np.float32)
    found = sites.norm_shares(w_SD, (2, 1))
    np.testing.assert_allclose(found[:3], [[1, 0], [0.5, 0.5], [0, 1]])
    self.assertTrue(np.isnan(found[3]).all())


if __name__ == '__main__':
  absltest.main()
