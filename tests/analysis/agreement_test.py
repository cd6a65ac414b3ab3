"""Means of strongest tokens, against what is known."""

from absl.testing import absltest
import numpy as np
import scipy.sparse

from saejax.analysis import agreement


class MeansTest(absltest.TestCase):
  def test_of_the_strongest_tokens(self):
    x = np.arange(8.0).reshape(4, 2)
    z = scipy.sparse.csr_matrix([[1.0, 0, 0], [3, 0, 0], [2, 0, 1], [0, 0, 0]])
    found = agreement.top_means(x, z, 2)
    np.testing.assert_array_equal(found[0], (x[1] + x[2]) / 2)
    np.testing.assert_array_equal(found[2], x[2])
    self.assertTrue(np.isnan(found[1]).all())
    own = np.array([[0, 2.0], [1, 0], [1, 0]])
    rest = agreement.top_means(x, z, 2, own)
    np.testing.assert_allclose(rest[0], [3, 0])
    np.testing.assert_allclose(rest[2], [0, 5])

  def test_others_are_all_but_ones_own(self):
    found = agreement.other_cosines(np.eye(3), np.eye(3))
    np.testing.assert_allclose(found, 0, atol=1e-12)
    np.testing.assert_allclose(agreement.cosines(np.eye(3), 2 * np.eye(3)), 1)
    self.assertTrue(np.isnan(agreement.other_cosines(*[np.eye(1)] * 2)).all())


if __name__ == '__main__':
  absltest.main()
