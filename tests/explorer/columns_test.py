"""Numbers of bridges are such that a page can read them."""

from unittest import mock

from absl.testing import absltest
import numpy as np

from saejax.explorer import columns
from saejax.explorer import schema


class BridgesTest(absltest.TestCase):
  def test_a_tiny_p_value_is_not_0_on_a_page(self):
    p_M = np.array([0.0, 1e-300, 1e-12, 0.5, np.nan])
    bridges = {name: np.ones(5) for name in schema.EDGE_COLUMNS}
    bridges |= {'p': p_M, 'correlation': np.ones(5)}
    found = columns.of_bridges(mock.Mock(bridges=bridges))
    read = schema.unpack_columns(*schema.pack_columns(found))['p']
    seen_M = read.astype(np.float32)  # As pages do.
    np.testing.assert_allclose(seen_M[:2], columns.LEAST_P, rtol=1e-5)
    np.testing.assert_allclose(seen_M[2:4], p_M[2:4], rtol=2e-3)
    self.assertTrue(np.isnan(seen_M[4]))
    np.testing.assert_array_equal(bridges['p'], p_M)
    said = {c.name: c.definition for c in found}['p']
    self.assertIn('1e-30 stands for all that is less', said)


if __name__ == '__main__':
  absltest.main()
