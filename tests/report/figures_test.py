"""Figures show the numbers they are given, and say them again as CSV."""

import csv
import os

from absl.testing import absltest
import numpy as np
from PIL import Image

from saejax.report import figures


def read(path):
  with open(path, newline='') as f:
    rows = list(csv.reader(f))
  return {
    name: np.array([float(row[i]) for row in rows[1:]])
    for i, name in enumerate(rows[0])
  }


def point(l0: float) -> dict[str, float]:
  numbers = {}
  for i, prefix in enumerate(('', 'image/', 'text/')):
    r2 = 0.5 + 0.01 * l0 - 0.1 * i
    numbers |= {f'{prefix}l0': l0, f'{prefix}r2': r2}
    numbers |= {f'{prefix}r2_low': r2 - 0.01, f'{prefix}r2_high': r2 + 0.02}
  return numbers


class FiguresTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path
    rng = np.random.default_rng(0)
    self.score_S = rng.random(200)
    self.score_S[:20] = np.nan  # Dead.
    self.energy_S = rng.random(200)
    self.energy_S[:20] = 0

  def test_a_sweep_shows_all_but_what_diverged(self):
    nothing = dict.fromkeys(('l0', 'r2', 'r2_low', 'r2_high'))
    names = (('a', 'lr=1'), ('b', 'lr=2'), ('c', 'lr=1'))
    points = [
      {'member': member, 'series': series} | rest
      for (member, series), rest in zip(
        names, (point(8.0), nothing, point(4.0)), strict=True
      )
    ]
    keys = ('member', 'series', 'l0', 'r2', 'r2_low', 'r2_high')
    drawn = figures.sweep_curve([{k: p[k] for k in keys} for p in points])
    drawn.save(self.folder, 'sweep')
    with open(os.path.join(self.folder, 'sweep.csv'), newline='') as f:
      rows = list(csv.DictReader(f))
    self.assertEqual([row['member'] for row in rows], ['a', 'b', 'c'])
    self.assertEqual((rows[0]['l0'], rows[1]['l0']), ('8.0', ''))
    (axes,) = drawn.drawing.axes
    (line,) = axes.containers
    np.testing.assert_array_equal(line.lines[0].get_xdata(), [8, 4])
    figures.sweep_curve([]).save(self.folder, 'none')

  def test_histograms_count_concepts_and_energy(self):
    drawn = figures.modality_histograms(
      self.score_S, self.energy_S, self.score_S[::-1], self.energy_S[::-1]
    )
    drawn.save(self.folder, 'modality')
    shown = read(os.path.join(self.folder, 'modality.csv'))
    live = np.isfinite(self.score_S)
    last = live & (self.score_S >= 0.95)
    np.testing.assert_allclose(
      shown['share_of_concepts'][-1], last.sum() / live.sum()
    )
    np.testing.assert_allclose(
      shown['share_of_energy'][-1],
      self.energy_S[last].sum() / self.energy_S.sum(),
    )
    # The twin here is the same concepts in another order.
    for of in ('concepts', 'energy'):
      np.testing.assert_allclose(
        shown[f'twin_share_of_{of}'], shown[f'share_of_{of}']
      )
      np.testing.assert_allclose(shown[f'share_of_{of}'].sum(), 1)

  def test_the_curve_is_sorted_by_sparsity_and_has_its_bounds(self):
    drawn = figures.sparsity_curve([point(8.0), point(2.0), point(4.0)])
    drawn.save(self.folder, 'curve')
    shown = read(os.path.join(self.folder, 'curve.csv'))
    np.testing.assert_array_equal(shown['l0'], [2, 4, 8])
    np.testing.assert_allclose(shown['image/r2_high'] - shown['image/r2'], 0.02)

  def test_files_are_pictures_and_the_same_every_time(self):
    drawings = []
    for name in ('a', 'b'):
      drawn = figures.gap_cosines(
        self.energy_S[20:], self.energy_S[20:], {'isotropic': 0.1}
      )
      drawn.save(self.folder, name)
      path = os.path.join(self.folder, f'{name}.svg')
      with open(path, encoding='utf-8') as f:
        drawings.append(f.read())
      with Image.open(os.path.join(self.folder, f'{name}.png')) as image:
        self.assertGreater(np.ptp(np.asarray(image)), 100)
    self.assertEqual(*drawings)
    self.assertIn('isotropic: 0.100', drawings[0])

  def test_bridges_split_into_what_shuffling_leaves_and_excess(self):
    b_P, b0_P = np.array([0.5, 0.3]), np.array([0.2, 0.1])
    drawn = figures.bridge_excess(b_P, b0_P, ['true', ''])
    bars = drawn.drawing.axes[0].containers
    heights = [[bar.get_height() for bar in group] for group in bars]
    np.testing.assert_allclose(heights, [b0_P, b_P - b0_P])

  def test_curves_of_recall_have_bounds_and_chance_beside(self):
    ks = np.array([1, 5, 10])
    curves = {
      way: {n: rng.random(3) for n in ('recall', 'low', 'high', 'chance')}
      for way, rng in (
        ('image_to_text', np.random.default_rng(1)),
        ('text_to_image', np.random.default_rng(2)),
      )
    }
    figures.recall_curves(ks, curves).save(self.folder, 'recall')
    shown = read(os.path.join(self.folder, 'recall.csv'))
    np.testing.assert_array_equal(shown['k'], ks)
    self.assertLen(shown, 9)
    for way, curve in curves.items():
      for name, values in curve.items():
        np.testing.assert_allclose(shown[f'{way}_{name}'], values)

  def test_classes_stand_by_accuracy_without_those_that_have_no_images(self):
    top1 = np.array([0.2, np.nan, 0.9])
    columns = {
      'class': ['a $', 'b', 'c $'], 'images': [5, 0, 3], 'top1': top1,
      'low': top1 - 0.1, 'high': top1 + 0.1, 'single_top1': top1,
    }  # fmt: skip
    drawn = figures.class_accuracy(columns, 0.5)
    self.assertEqual(list(drawn.columns['class']), ['c $', 'a $'])
    self.assertEqual(list(drawn.columns['images']), [3, 5])
    drawn.save(self.folder, 'classes')
    (line,) = [
      line for line in drawn.drawing.axes[0].lines
      if line.get_label() == 'first template'
    ]  # fmt: skip
    np.testing.assert_allclose(line.get_ydata(), [0.9, 0.2])

  def test_many_classes_are_drawn_without_their_names(self):
    many = np.linspace(0, 1, 1000)
    columns = dict.fromkeys(('images', 'top1', 'low', 'high', 'single_top1'))
    columns |= dict.fromkeys(columns, many) | {'images': np.ones(1000)}
    columns['class'] = [f'name{i}' for i in range(1000)]
    self.assertNotIn('name7', figures.class_accuracy(columns, 0.001).svg())


if __name__ == '__main__':
  absltest.main()
