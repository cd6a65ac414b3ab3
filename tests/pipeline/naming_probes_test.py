"""Absorption of a parent by its child, planted in rows and left out of them."""

import dataclasses
import json
import os

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saejax import errors
from saejax.pipeline import findings
from saejax.pipeline import naming_probes
from tests import planted
from tests.pipeline import truth

N, SPLITS = 2000, (0.4, 0.3, 0.3)
PARENT, CHILD = 0, 1
_OF_PARENT = 0.4  # Share of the parent's rows that are the child's.


def plant(folder: str, absorbed: bool) -> findings.Subject:
  """Factor 1 is a kind of factor 0, and takes its place or stands beside it."""
  data = planted.sample(N)
  rng = np.random.default_rng(3)
  shown_NF, atoms_SD = data.shown_NF.copy(), data.atoms_SD.copy()
  parent_N = shown_NF[:, PARENT]
  child_N = shown_NF[:, CHILD] = parent_N & (rng.random(N) < _OF_PARENT)
  active_NF = shown_NF.astype(np.float64)
  if absorbed:
    active_NF[:, PARENT] = parent_N & ~child_N
    atoms_SD[CHILD] = (atoms_SD[PARENT] + atoms_SD[CHILD]) / 2**0.5
  strength_NF = active_NF * rng.uniform(0.7, 1.3, active_NF.shape)
  x_ND = (strength_NF @ atoms_SD[: planted.FACTORS]).astype(np.float32)
  store = planted.write_store(
    os.path.join(folder, 'store'),
    x_ND,
    data.text_ND,
    SPLITS,
    (shown_NF, data.mentioned_NF),
  )
  sae = truth.save(os.path.join(folder, 'sae'), store, atoms_SD)
  return findings.load_subject(sae, store, 'test')


class AbsorptionTest(parameterized.TestCase):
  @parameterized.parameters(True, False)
  def test_is_found_where_it_was_planted_and_nowhere_else(self, absorbed):
    s = plant(self.create_tempdir().full_path, absorbed)
    p = naming_probes.probe(s, 0)
    kinds = {'f0': ['f1'], 'f5': ['f6'], 'f9': ['none']}
    found = naming_probes.absorptions(p, s, 0, kinds)
    self.assertLen(found, 2)
    a = found[0]
    np.testing.assert_array_equal(p.chosen_Fk[[PARENT, CHILD], 0], [0, 1])
    np.testing.assert_array_equal(
      a.absorbed_n, p.label_nF[a.rows_n, CHILD] & absorbed
    )
    np.testing.assert_array_equal(a.silent_n, a.absorbed_n)
    self.assertFalse(np.concatenate([b.null_n for b in found]).any())
    entries = naming_probes.absorption_entries(found, 'image', s, 0)
    share = entries['absorption/image/absorbed']
    self.assertAlmostEqual(share['value'], a.absorbed_n.mean() / 2)
    self.assertEqual(share['value'] > 0.1, absorbed)
    self.assertEqual(entries['absorption/image/null']['value'], 0)
    # Two concepts tell the parent where its child was taken from it.
    self.assertEqual(p.splits_F[PARENT], 1 + absorbed)


class HierarchyTest(parameterized.TestCase):
  @parameterized.parameters(
    ([], 'is not valid JSON: it holds no object'),
    ({'f0': 'f1'}, 'expected an object of a parent and the list'),
    ({'f0': ['f1', 'blue']}, "names 'blue', which is no label of"),
  )
  def test_what_is_not_understood_is_told(self, data, message):
    folder = self.create_tempdir().full_path
    s = plant(folder, absorbed=False)
    path = os.path.join(folder, 'kinds.json')
    with open(path, 'w', encoding='utf-8') as f:
      json.dump(data, f)
    with self.assertRaisesRegex(errors.UserError, message):
      naming_probes.read_hierarchy(path, s)

  def test_the_world_has_its_own(self):
    s = plant(self.create_tempdir().full_path, absorbed=False)
    self.assertEqual(naming_probes.read_hierarchy(None, s), {})
    s.store.about['dataset'] = {'name': 'scenes'}
    kinds = naming_probes.read_hierarchy(None, dataclasses.replace(s))
    self.assertIn('pair=red circle', kinds['colour=red'])
    self.assertIn('pair=red circle', kinds['shape=circle'])
    self.assertLen(kinds, 20)


if __name__ == '__main__':
  absltest.main()
