"""Classes and bridges of learned codes are those of the atoms behind them."""

import tempfile

from absl.testing import absltest

from tests.pipeline import planted_study as study

LEAST = 0.95


class PlantedStudyTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.plant = study.plant(0)
    cls.subject, cls.found = study.study(folder, cls.plant, 0)
    cls.scores = study.score(cls.subject, cls.found, cls.plant)

  def check(self, name: str, least_true: int) -> None:
    rates = self.scores[name]
    self.assertGreaterEqual(rates.true, least_true)
    self.assertGreaterEqual(rates.precision, LEAST, f'{name}: {rates}')
    self.assertGreaterEqual(rates.recall, LEAST, f'{name}: {rates}')

  def test_atoms_are_learned(self):
    self.assertGreaterEqual(self.scores['atoms'].true, 80)
    self.assertGreaterEqual(self.scores['atoms'].recall, LEAST)
    self.assertLess(self.scores['stray'], 0.05)

  def test_bridges_are_those_planted(self):
    self.check('bridges', study.PAIRS)

  def test_what_only_fires_together_or_only_points_alike_is_no_bridge(self):
    self.assertEqual(self.scores['orthogonal'], 0)
    self.assertEqual(self.scores['apart'], 0)
    # Firing together is found for what it is, but for the direction.
    b = self.found.bridges
    real_P = b['replicated'] & b['cross']
    self.assertGreater((real_P & ~b['aligned']).sum(), 0)

  def test_modality_classes_are_those_planted(self):
    self.check('image', 30)
    self.check('text', 30)
    self.check('shared', study.SHARED)

  def test_rates_add_up_over_seeds(self):
    both = study.pooled([study.Rates(10, 8, 8), study.Rates(5, 8, 4)])
    self.assertEqual(both, study.Rates(15, 16, 12))
    self.assertEqual((both.precision, both.recall), (0.8, 0.75))
    self.assertIn('precision 0.800 (0.5', str(both))


if __name__ == '__main__':
  absltest.main()
