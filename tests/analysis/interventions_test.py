"""Changes of codes, against dense formulas."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import scipy.sparse

from saejax import errors
from saejax.analysis import interventions
from tests.analysis import codes

N, S = 40, 12


class ChangesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(0)
    z_nS = codes.random(rng, N, np.full(S, 0.4)).astype(np.float32)
    self.z_nS, self.dense = z_nS, z_nS.toarray()

  def tearDown(self):
    np.testing.assert_array_equal(self.z_nS.toarray(), self.dense)
    super().tearDown()

  def test_scales_what_is_named_alone(self):
    out = interventions.scale(self.z_nS, [7, 2, 7], 0.5)
    self.dense_out = self.dense.copy()
    self.dense_out[:, [2, 7]] *= 0.5
    np.testing.assert_array_equal(out.toarray(), self.dense_out)
    self.assertEqual(out.dtype, np.float32)

  @parameterized.parameters(([],), ([3],), ([0, 5, 11],), (range(S),))
  def test_removed_and_kept_add_up(self, concepts):
    removed = interventions.remove(self.z_nS, concepts)
    kept = interventions.keep(self.z_nS, concepts)
    np.testing.assert_array_equal((removed + kept).toarray(), self.dense)
    self.assertFalse(removed.toarray()[:, list(concepts)].any())
    self.assertEqual(removed.nnz + kept.nnz, self.z_nS.nnz)

  def test_swaps_columns_and_back(self):
    once = interventions.swap(self.z_nS, [1, 4], [8, 0])
    expected = self.dense.copy()
    expected[:, [1, 8, 4, 0]] = self.dense[:, [8, 1, 0, 4]]
    np.testing.assert_array_equal(once.toarray(), expected)
    twice = interventions.swap(once, [1, 4], [8, 0])
    self.assertEqual((twice != self.z_nS).nnz, 0)
    np.testing.assert_array_equal(twice.indices, self.z_nS.indices)

  def test_edits_add_to_every_row_what_is_left(self):
    out = interventions.edit(self.z_nS, {2: 1.5, 6: 0.25}, [6, 9])
    expected = self.dense.copy()
    expected[:, [6, 9]] = 0
    expected[:, 2] += 1.5
    expected[:, 6] = 0.25
    np.testing.assert_allclose(out.toarray(), expected, rtol=1e-6)

  def test_an_edit_of_nothing_is_the_same(self):
    self.assertEqual((interventions.edit(self.z_nS) != self.z_nS).nnz, 0)

  @parameterized.parameters(
    lambda z: interventions.remove(z, [S]),
    lambda z: interventions.keep(z, [-1]),
    lambda z: interventions.edit(z, {S: 1.0}),
  )
  def test_unknown_concepts_are_named(self, change):
    with self.assertRaisesRegex(errors.UserError, rf'has 0…{S - 1}\.'):
      change(self.z_nS)

  def test_overlapping_swaps_are_refused(self):
    with self.assertRaisesRegex(errors.UserError, 'in two pairs'):
      interventions.swap(self.z_nS, [1, 2], [2, 3])

  def test_no_rows_are_no_trouble(self):
    none = scipy.sparse.csr_matrix((0, S))
    self.assertEqual(interventions.edit(none, {1: 1.0}, [2]).shape, (0, S))


if __name__ == '__main__':
  absltest.main()
