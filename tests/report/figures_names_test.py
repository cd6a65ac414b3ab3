"""What figures of names show is in their tables, and adds up."""

from absl.testing import absltest
import numpy as np

from saejax.report import figures_names


class FiguresTest(absltest.TestCase):
  def test_scores_are_shares_of_those_that_have_one(self):
    score_S = np.array([1, 1, 0.5, np.nan])
    drawn = figures_names.name_scores(
      {'captions': score_S, 'labels': score_S * np.nan},
      {'captions': score_S[::-1] / 2, 'labels': score_S},
    )
    shown = drawn.columns
    self.assertAlmostEqual(shown['captions'][-1], 2 / 3)
    self.assertAlmostEqual(sum(shown['captions']), 1)
    self.assertAlmostEqual(sum(shown['captions_null']), 1)
    self.assertEqual(sum(shown['labels']), 0)
    self.assertIn('names from captions', drawn.svg())

  def test_nothing_named_is_an_empty_figure(self):
    folder = self.create_tempdir().full_path
    figures_names.name_scores({}, {}).save(folder, 'none')

  def test_densities_and_cosines_are_tables_of_what_is_drawn(self):
    shares = {'image': np.array([0.25, 0.75]), 'text': np.array([1.0, 0])}
    drawn = figures_names.densities(shares, np.array([-2.0, -1, 0]))
    np.testing.assert_array_equal(drawn.columns['image'], shares['image'])
    drawn = figures_names.max_cosines(
      {'concepts': np.array([0.99, 1.0]), 'isotropic': np.array([-0.1, 0.1])}
    )
    self.assertAlmostEqual(drawn.columns['concepts'][-1], 1)
    self.assertAlmostEqual(drawn.columns['isotropic'][0], 0.5)


if __name__ == '__main__':
  absltest.main()
