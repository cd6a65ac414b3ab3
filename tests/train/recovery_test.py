"""BatchTopK finds the atoms of a crowded dictionary whose truth is known."""

from absl.testing import absltest
import numpy as np

from saejax import ops
from tests.train import recovery


class RecoveryTest(absltest.TestCase):
  def test_pairs_of_close_atoms_are_told_apart(self):
    world = recovery.make_world(active=4)
    w_SD, seen_S, dead = recovery.train(world, seed=0, steps=2500)
    mean, found = recovery.score(w_SD, world, seen_S)
    self.assertGreater(mean, 0.92)
    self.assertGreater(found, 0.85)
    self.assertLess(dead, 0.01)
    # What a dictionary that learned nothing would score.
    rng = np.random.default_rng(1)
    chance = ops.unit_rows(rng.normal(size=w_SD.shape))
    self.assertLess(recovery.score(np.asarray(chance), world, seen_S)[0], 0.5)


if __name__ == '__main__':
  absltest.main()
