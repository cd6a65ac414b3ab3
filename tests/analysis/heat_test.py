"""Cells of concepts against a count by hand."""

from absl.testing import absltest
import numpy as np
import scipy.sparse

from saejax.analysis import heat


class HeatTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(0)
    n, s, examples = 90, 7, 12
    z_nS = rng.random((n, s)) * (rng.random((n, s)) < 0.3)
    z_nS[:, 5] = 0  # It never fires.
    self.z_nS = z_nS.astype(np.float32)
    self.z = scipy.sparse.csr_matrix(self.z_nS)
    self.example_n = np.sort(rng.integers(0, examples, n))
    self.cell_n = rng.integers(-1, 4, n)
    self.shown_SX = np.stack([rng.permutation(examples)[:5] for _ in range(s)])
    self.shown_SX[:, 3] = -1

  def test_an_example_has_its_strongest_tokens_code(self):
    found = heat.strongest(self.z, self.example_n, 13).toarray()
    for e in range(13):
      own = self.z_nS[self.example_n == e]
      truth = own.max(0) if len(own) else np.zeros(7)
      np.testing.assert_array_equal(found[e], truth)
    none = heat.strongest(self.z[:0], self.example_n[:0], 2)
    self.assertEqual((none.shape, none.nnz), ((2, 7), 0))

  def test_cells_are_those_that_fire(self):
    c = heat.cells(self.z, self.example_n, self.cell_n, self.shown_SX)
    self.assertEqual(c.starts[-1], len(c.cell))
    for s, shown_X in enumerate(self.shown_SX):
      is_shown_n = np.isin(self.example_n, shown_X)
      scale = self.z_nS[is_shown_n, s].max(initial=0)
      self.assertEqual(c.scale_S[s], scale)
      for x, e in enumerate(shown_X):
        at = slice(*c.starts[s * 5 + x : s * 5 + x + 2])
        truth = {}
        for cell in range(4):
          own = (self.example_n == e) & (self.cell_n == cell)
          if (v := self.z_nS[own, s].max(initial=0)) > 0:
            truth[cell] = max(round(254 * float(v / scale)), 1)
        found = dict(zip(c.cell[at].tolist(), c.q[at].tolist(), strict=True))
        self.assertEqual(found, truth)

  def test_what_fires_is_never_silent_and_never_past_the_scale(self):
    np.testing.assert_array_equal(
      heat.quantise(np.array([1e-9, 1.0, 2.0, 3.0]), 2.0), [1, 127, 254, 254]
    )


if __name__ == '__main__':
  absltest.main()
