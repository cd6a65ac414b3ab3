"""Figures of interventions show the numbers that they are given."""

import csv
import os

from absl.testing import absltest
import numpy as np

from saejax.report import figures_interventions


class RecallBySizeTest(absltest.TestCase):
  def test_every_set_has_a_panel_with_its_numbers(self):
    points = [
      {'set': name, 'concepts': n, 'recall1': 0.4 - n / 100}
      | {'low': 0.3 - n / 100, 'high': 0.5 - n / 100}
      | {'random': 0.4, 'random_low': 0.35, 'random_high': 0.45, 'p': p}
      for name, p in (('shared', 0.04), ('image_only', 0.5))
      for n in (8, 16)
    ]
    drawn = figures_interventions.recall_by_size(points, 0.42, 'remove')
    panels = drawn.drawing.axes
    self.assertEqual(
      [ax.get_title(loc='left') for ax in panels], ['shared', 'image only']
    )
    for ax, faces in zip(panels, ('filled', 'hollow'), strict=True):
      markers = [line for line in ax.lines if line.get_marker() == 'o']
      self.assertLen(markers, 2)
      for line in markers:
        hollow = line.get_markerfacecolor() == 'white'
        self.assertEqual('hollow' if hollow else 'filled', faces)
      (bars,) = ax.containers
      np.testing.assert_allclose(bars.lines[0].get_ydata(), [0.32, 0.24])
    folder = self.create_tempdir().full_path
    drawn.save(folder, 'sets')
    with open(os.path.join(folder, 'sets.csv'), newline='') as f:
      rows = list(csv.DictReader(f))
    self.assertEqual([r['set'] for r in rows], [p['set'] for p in points])
    self.assertIn('concepts removed', drawn.svg())


if __name__ == '__main__':
  absltest.main()
