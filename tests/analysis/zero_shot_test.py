"""Classes from prompts: ensembles, ranks with ties, accuracy by class."""

import warnings

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saejax.analysis import zero_shot


def unit(x_nD: np.ndarray) -> np.ndarray:
  return x_nD / np.linalg.norm(x_nD, axis=1, keepdims=True)


class ClassRowsTest(absltest.TestCase):
  def test_are_means_of_unit_rows_scaled_to_unit_length(self):
    prompt_nD = np.array([[2.0, 0], [0, 3], [0, -1], [0.6, -0.8], [0, -9]])
    label_n = np.array([0, 0, 1, 1, 1])
    found_CD = zero_shot.class_rows(prompt_nD, label_n)
    half = 0.5**0.5
    mean_D = np.array([0.6, -2.8]) / 3
    expected_CD = [[half, half], mean_D / np.linalg.norm(mean_D)]
    np.testing.assert_allclose(found_CD, expected_CD)

  def test_do_not_depend_on_the_order_of_prompts(self):
    rng = np.random.default_rng(0)
    prompt_nD, label_n = rng.normal(size=(12, 5)), np.arange(12) % 4
    order_n = rng.permutation(12)
    np.testing.assert_allclose(
      zero_shot.class_rows(prompt_nD[order_n], label_n[order_n]),
      zero_shot.class_rows(prompt_nD, label_n),
    )


class RanksTest(absltest.TestCase):
  def test_count_the_classes_that_are_nearer(self):
    rng = np.random.default_rng(0)
    image_nD, class_CD = (unit(rng.normal(size=(n, 6))) for n in (50, 9))
    label_n = rng.integers(0, 9, size=50)
    similarity_nC = image_nD @ class_CD.T
    own_n1 = similarity_nC[np.arange(50), label_n][:, None]
    np.testing.assert_array_equal(
      zero_shot.ranks(image_nD, label_n, class_CD),
      (similarity_nC > own_n1).sum(1),
    )

  def test_classes_that_are_the_same_come_last_of_their_kind(self):
    class_CD = np.eye(3)[[0, 0, 1, 2]]
    found_n = zero_shot.ranks(class_CD, np.arange(4), class_CD)
    np.testing.assert_array_equal(found_n, [1, 1, 0, 0])
    collapsed_CD = np.ones((4, 3)) / 3**0.5
    found_n = zero_shot.ranks(class_CD, np.arange(4), collapsed_CD)
    np.testing.assert_array_equal(found_n, 3)


class ByClassTest(parameterized.TestCase):
  def test_classes_count_the_same_and_those_without_images_not_at_all(self):
    label_n = np.array([0, 0, 0, 0, 2])
    correct_n = np.array([1, 1, 1, 0, 0])
    with warnings.catch_warnings():
      warnings.simplefilter('error')
      found = zero_shot.by_class(correct_n, label_n, np.arange(5), 3)
    np.testing.assert_array_equal(found.images_C, [4, 0, 1])
    np.testing.assert_allclose(found.value_C, [0.75, np.nan, 0])
    np.testing.assert_allclose(found.mean.value, 0.375)
    self.assertEqual(found.mean.n, 5)
    np.testing.assert_array_equal(np.isnan(found.low_C), [False, True, False])
    self.assertLess(found.low_C[0], 0.75)
    self.assertGreaterEqual(found.high_C[0], 0.75)

  @parameterized.named_parameters(('alone', 1), ('four_to_a_group', 4))
  def test_intervals_cover_the_truth(self, rows):
    # Half of the images of class 0 are right and four in five of class 1.
    truth, covered = 0.65, 0
    for seed in range(100):
      rng = np.random.default_rng(seed)
      group_n = np.repeat(np.arange(120), rows)
      label_n = group_n % 2
      right_n = rng.random(120) < np.array([0.5, 0.8])[np.arange(120) % 2]
      found = zero_shot.by_class(right_n[group_n], label_n, group_n, 2)
      covered += found.mean.low <= truth <= found.mean.high
    self.assertBetween(covered, 88, 100)


if __name__ == '__main__':
  absltest.main()
