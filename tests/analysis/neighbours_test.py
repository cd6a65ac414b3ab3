"""Nearest directions, what a map keeps of them, and its second layout."""

from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saejax.analysis import neighbours
from saejax.analysis import places
from tests.analysis import codes


class NearestTest(parameterized.TestCase):
  @parameterized.parameters(1 << 24, 300)
  def test_equals_sorting_all_cosines_whatever_the_block(self, cells):
    rng = np.random.default_rng(0)
    d_ND = codes.unit_rows(rng, 60, 8) * rng.uniform(0.1, 9, (60, 1))
    own_N = rng.random(60) < 0.4
    with mock.patch.object(neighbours, '_CELLS', cells):
      every, some = neighbours.nearest(
        d_ND, [(np.ones(60, bool), 5), (own_N, 3)]
      )
    cosine_NN = neighbours.unit(d_ND) @ neighbours.unit(d_ND).T
    np.fill_diagonal(cosine_NN, -2)
    expected = np.argsort(-cosine_NN, axis=1)[:, :5]
    np.testing.assert_array_equal(every.index_NK, expected)
    np.testing.assert_allclose(
      every.cosine_NK, np.take_along_axis(cosine_NN, expected, 1), atol=1e-5
    )
    cosine_NN[:, ~own_N] = -3
    np.testing.assert_array_equal(
      some.index_NK, np.argsort(-cosine_NN, axis=1)[:, :3]
    )

  @parameterized.parameters(0, 1, 3)
  def test_few_have_none(self, n):
    d_ND = np.eye(4)[:n]
    every, none = neighbours.nearest(
      d_ND, [(np.ones(n, bool), 5), (np.zeros(n, bool), 2)]
    )
    self.assertEqual((every.index_NK >= 0).sum(), n * max(n - 1, 0))
    self.assertTrue((none.index_NK == -1).all())
    self.assertTrue(np.isnan(none.cosine_NK).all())

  def test_a_true_map_keeps_all_and_a_shuffled_one_next_to_nothing(self):
    rng = np.random.default_rng(0)
    angle_N = np.sort(rng.uniform(0, 3, 200))
    d_ND = np.stack([np.cos(angle_N), np.sin(angle_N)], 1)
    (near,) = neighbours.nearest(d_ND, [(np.ones(200, bool), 10)])
    line_N2 = np.stack([angle_N, np.zeros(200)], 1)
    kept_N = neighbours.preserved(near.index_NK, line_N2)
    self.assertGreater(kept_N.mean(), 0.98)
    shuffled = neighbours.preserved(near.index_NK, rng.permutation(line_N2))
    self.assertLess(shuffled.mean(), 0.12)
    self.assertTrue(
      np.isnan(
        neighbours.preserved(np.full((1, 3), -1), np.zeros((1, 2)))
      ).all()
    )


class PlacesTest(parameterized.TestCase):
  def test_the_curve_visits_every_cell_and_steps_to_the_next(self):
    side = 8
    with mock.patch.object(places, '_ORDER', 3):
      x, y = np.divmod(np.arange(side * side), side)
      at_N2 = (np.stack([x, y], 1) + 0.5) / side
      order = np.argsort(places.hilbert(at_N2))
    self.assertLen(set(order.tolist()), side * side)
    steps = np.abs(np.diff(at_N2[order] * side, axis=0)).sum(1)
    np.testing.assert_allclose(steps, 1)

  def test_modality_stands_left_to_right_and_heights_are_even(self):
    rng = np.random.default_rng(0)
    score_N = np.where(rng.random(50) < 0.1, np.nan, rng.random(50))
    at_N2 = places.by_modality(score_N, rng.random((50, 2)))
    known = np.isfinite(score_N)
    np.testing.assert_array_equal(at_N2[known, 0], score_N[known])
    np.testing.assert_array_equal(at_N2[~known, 0], 0.5)
    np.testing.assert_allclose(np.sort(at_N2[:, 1]), (np.arange(50) + 0.5) / 50)

  def test_groups_are_nested_deterministic_and_find_blobs(self):
    rng = np.random.default_rng(0)
    centre_K2 = np.array([[0.1, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.9]])
    of_N = np.repeat(np.arange(4), 40)
    at_N2 = centre_K2[of_N] + 0.02 * rng.normal(size=(160, 2))
    label_N3 = places.clusters(at_N2, (4, 12, 24))
    np.testing.assert_array_equal(label_N3, places.clusters(at_N2, (4, 12, 24)))
    for coarse, fine in ((0, 1), (1, 2)):
      pairs = set(zip(label_N3[:, fine], label_N3[:, coarse], strict=True))
      self.assertLen(pairs, len({p[0] for p in pairs}))
    self.assertEqual([len(set(c)) for c in label_N3.T], [4, 8, 24])
    self.assertLen(set(zip(of_N, label_N3[:, 0], strict=True)), 4)

  @parameterized.parameters(0, 1, 2, 7)
  def test_groups_of_few_or_of_one_place(self, n):
    label_N3 = places.clusters(np.full((n, 2), 0.5))
    self.assertEqual(label_N3.shape, (n, 3))
    self.assertTrue((label_N3 == 0).all())


if __name__ == '__main__':
  absltest.main()
