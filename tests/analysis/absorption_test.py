"""Absorption is found where it was planted, and nowhere else."""

from absl.testing import absltest
import numpy as np
import scipy.sparse

from saejax.analysis import absorption

D = 8
PARENT, CHILD, OTHER = 0, 1, 2


def rows(*active) -> scipy.sparse.csr_matrix:
  z_nS = np.zeros((len(active), 3))
  for row, own in zip(z_nS, active, strict=True):
    row[list(own)] = 1
  return scipy.sparse.csr_matrix(z_nS)


class AbsorptionTest(absltest.TestCase):
  def absorbed(self, z_nS, d_SD, children=(CHILD,)):
    found_n = absorption.absorbed(
      z_nS, d_SD, np.eye(D)[0], PARENT, np.array(children)
    )
    return found_n.tolist()

  def test_a_child_that_took_the_parents_direction_absorbs_it(self):
    d_SD = np.eye(D)[:3]
    d_SD[CHILD] = (np.eye(D)[0] + np.eye(D)[1]) / 2**0.5
    z_nS = rows([PARENT], [CHILD], [PARENT, CHILD], [OTHER], [CHILD, OTHER], [])
    self.assertEqual(
      self.absorbed(z_nS, d_SD), [False, True, False, False, True, False]
    )

  def test_a_child_apart_from_its_parent_absorbs_nothing(self):
    z_nS = rows([PARENT, CHILD], [CHILD], [PARENT])
    self.assertEqual(self.absorbed(z_nS, np.eye(D)[:3]), [False] * 3)

  def test_the_child_must_carry_the_larger_part(self):
    d_SD = np.eye(D)[:3]
    d_SD[CHILD, 0], d_SD[OTHER, 0] = 0.2, 0.8
    self.assertEqual(
      self.absorbed(rows([CHILD, OTHER], [CHILD]), d_SD), [False, True]
    )

  def test_a_parent_is_not_its_own_child(self):
    self.assertEqual(
      self.absorbed(rows([PARENT], [CHILD]), np.eye(D)[:3], (PARENT,)),
      [False, False],
    )


if __name__ == '__main__':
  absltest.main()
