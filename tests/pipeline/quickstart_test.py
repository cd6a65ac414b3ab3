"""The quickstart, small: all its files, and going on where it stopped."""

import dataclasses
import os
from unittest import mock

from absl.testing import absltest

from saejax import errors
from saejax import results
from saejax.explorer import load
from saejax.pipeline import analysing
from saejax.pipeline import quickstart
from tests.pipeline import written

SMALL = quickstart.QuickstartConfig(
  scenes=800, latents=64, ks=(2, 4), k=4, steps=40
)


def times(out: str) -> dict[str, int]:
  return written.times(out, but=(quickstart.REPORT,))


class QuickstartTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.out = os.path.join(self.create_tempdir().full_path, 'out')

  def test_it_goes_on_where_it_stopped_and_writes_everything(self):
    said = []
    with (
      mock.patch.object(analysing, 'analyse', side_effect=KeyboardInterrupt),
      self.assertRaises(KeyboardInterrupt),
    ):
      quickstart.quickstart(SMALL, self.out, said.append)
    before = times(self.out)
    self.assertNotIn(quickstart.REPORT, os.listdir(self.out))
    report = quickstart.quickstart(SMALL, self.out, said.append)
    after = times(self.out)
    self.assertEqual({f: after[f] for f in before}, before)
    self.assertEqual(sum(s.startswith('5/6') for s in said), 2)
    with open(report, encoding='utf-8') as f:
      self.assertIn('What the vectors of a small CLIP are made of', f.read())
    found = results.read(os.path.join(self.out, 'analysis'))
    for name in ('r2', 'raw/gap', 'bridges/sum_b', 'surrogate/r2'):
      self.assertIsNotNone(found[name]['value'], name)
    for k in SMALL.ks:
      results.read(os.path.join(self.out, 'evaluations', f'k{k}'))
    site = load.load(os.path.join(self.out, quickstart.SITE))
    (shown,) = site.dictionaries.values()
    self.assertEqual(shown.n, found['concepts/live']['value'])
    # A third time there is nothing left to do.
    quickstart.quickstart(SMALL, self.out, said.append)
    self.assertEqual(times(self.out), after)

  def test_other_settings_and_taken_folders_are_refused(self):
    for changes, message in (
      (dict(ks=(2, 4), k=3), '--k=3 must be one of --ks=2,4'),
      (dict(ks=(), k=4), '--ks'),
      (dict(steps=0), 'must be positive'),
      (dict(scenes=0), 'must be at least 1'),
      (dict(latents=3), r'--k=4 is larger than the dictionary'),
    ):
      with self.assertRaisesRegex(errors.UserError, message):
        quickstart.quickstart(
          dataclasses.replace(SMALL, **changes), self.out, str
        )
      self.assertFalse(os.path.exists(self.out), changes)
    os.makedirs(self.out)
    with open(os.path.join(self.out, 'mine.txt'), 'w') as f:
      f.write('mine')
    with self.assertRaisesRegex(errors.UserError, 'mine.txt'):
      quickstart.quickstart(SMALL, self.out, str)
    self.assertEqual(os.listdir(self.out), ['mine.txt'])


if __name__ == '__main__':
  absltest.main()
