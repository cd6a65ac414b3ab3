"""results.json: fields, undefined values, order; and the table of it."""

import json
import math
import os

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saejax import errors
from saejax import results
from saejax.analysis import bootstrap


class OverSeedsTest(absltest.TestCase):
  def test_is_the_mean_with_the_range_as_bounds(self):
    entries = [
      results.entry(bootstrap.Estimate(v, 40, v - 1, v + 1), split='test')
      for v in (0.5, 0.25, 0.75)
    ]
    self.assertEqual(
      results.over_seeds(entries),
      {
        'value': 0.5,
        'low': 0.25,
        'high': 0.75,
        'interval': 'range over seeds',
        'seeds': 3,
        'n': 40,
        'split': 'test',
      },
    )

  def test_a_single_seed_keeps_its_interval(self):
    entry = results.entry(bootstrap.Estimate(0.5, 40, 0.25, 0.75))
    self.assertEqual(results.over_seeds([entry]), entry)

  def test_is_undefined_where_a_seed_is(self):
    found = results.over_seeds([results.entry(1.0), results.entry(math.nan)])
    self.assertIsNone(found['value'])
    self.assertIsNone(found['low'])


class EntryTest(parameterized.TestCase):
  @parameterized.parameters(
    (0.25, 0.25),
    (np.float32(0.5), 0.5),
    (np.int64(3), 3),
    (3.0, 3),
    (True, 1),
    (math.nan, None),
    (math.inf, None),
    (-math.inf, None),
    (np.float32('nan'), None),
  )
  def test_undefined_is_null_and_numbers_are_plain(self, value, expected):
    found = results.entry(value)
    self.assertEqual(found, {'value': expected})
    self.assertIn(type(found['value']), (int, float, type(None)))

  def test_fields_that_do_not_apply_are_left_out(self):
    self.assertEqual(
      results.entry(0.5, n=7, split='test', unit='share'),
      {'value': 0.5, 'n': 7, 'split': 'test', 'unit': 'share'},
    )

  def test_an_estimate_brings_its_bounds_and_says_what_they_are(self):
    found = results.entry(bootstrap.Estimate(0.5, 40, 0.25, 0.75), split='val')
    self.assertEqual(
      found,
      {
        'value': 0.5,
        'n': 40,
        'low': 0.25,
        'high': 0.75,
        'interval': 'bootstrap over groups',
        'split': 'val',
      },
    )

  def test_an_estimate_without_bounds_claims_no_interval(self):
    found = results.entry(bootstrap.Estimate(math.nan, 0))
    self.assertEqual(found, {'value': None, 'n': 0})

  def test_bounds_that_are_undefined_are_null(self):
    found = results.entry(bootstrap.Estimate(1.5, 3, math.nan, math.nan))
    self.assertIsNone(found['low'])
    self.assertIsNone(found['high'])


class PWordsTest(parameterized.TestCase):
  @parameterized.parameters(
    (None, None, '—'),
    (1, (60, 1), '1'),
    (0.043, (60, 1), '0.043'),
    (1 / 61, (60, 1), '≤ 0.016'),  # The least of sixty shuffles.
    (8 / 1000, (999, 8), '≤ 0.008'),  # And of eight such tests, corrected.
    (2 / 61, (60, 1), '0.033'),
    (1 / 10_001, (10_000, 1), '≤ 0.0001'),
    (3.21e-12, None, '3.2e-12'),
    (0.0, None, '< 1e-300'),
    (1e-310, None, '< 1e-300'),
  )
  def test_they_never_say_0(self, p, of, expected):
    e = results.entry(p, unit=results.P_VALUE)
    if of:
      e = results.p_entry(p, of[0], tests=of[1])
    self.assertEqual(results.p_words(e), expected)
    self.assertIn(expected, results.table({'p': e}))


class FolderTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.out = os.path.join(self.create_tempdir().full_path, 'a', 'b')
    self.entries = {
      'r2': results.entry(0.5, n=7),
      'image/r2': results.entry(math.nan, n=0),
      'l0': results.entry(bootstrap.Estimate(4.125, 7, 4, 4.25), split='test'),
    }

  def test_is_sorted_json_without_nan_and_reads_back(self):
    results.write(self.out, self.entries)
    self.assertEqual(os.listdir(self.out), ['results.json'])
    with open(os.path.join(self.out, 'results.json')) as f:
      raw = f.read()
    self.assertNotIn('NaN', raw)
    self.assertEqual(list(json.loads(raw)), ['image/r2', 'l0', 'r2'])
    self.assertEqual(results.read(self.out), self.entries)

  def test_a_number_that_is_not_finite_cannot_slip_in(self):
    with self.assertRaises(ValueError):
      results.write(self.out, {'r2': {'value': math.nan}})
    self.assertEqual(os.listdir(self.out), [])

  def test_folders_with_results_are_taken(self):
    results.check_vacant(self.out)
    self.assertFalse(os.path.exists(self.out))
    results.write(self.out, self.entries)
    with self.assertRaisesRegex(errors.UserError, 'already holds results'):
      results.check_vacant(self.out)

  def test_a_file_is_no_folder(self):
    path = self.create_tempfile('notes.txt', 'mine').full_path
    with self.assertRaisesRegex(errors.UserError, 'is a file; name a folder'):
      results.check_vacant(path)

  def test_missing_and_damaged_results_are_told(self):
    with self.assertRaisesRegex(errors.UserError, 'There are no results at'):
      results.read(self.out)
    results.write(self.out, self.entries)
    path = os.path.join(self.out, 'results.json')
    os.truncate(path, os.path.getsize(path) - 5)
    with self.assertRaisesRegex(errors.UserError, 'is not valid JSON'):
      results.read(self.out)

  def test_the_table_aligns_what_there_is_to_say(self):
    self.assertEqual(
      results.table(self.entries).split('\n'),
      [
        'image/r2          —                        n=0',
        'l0            4.125  [4, 4.25]             n=7 split=test',
        'r2              0.5                        n=7',
      ],
    )
    self.assertEqual(results.table({}), '')


if __name__ == '__main__':
  absltest.main()
