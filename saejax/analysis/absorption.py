"""Where a special concept fires in place of a general one (arXiv 2409.14507).

A dictionary saves a firing if "red circle" holds the direction of "red" too,
and the concept for "red" is silent there. It then reads as "red, but for red
circles".
"""

import numpy as np

CARRIED = 0.4  # Least share of the parent's direction that children carry.


def absorbed(
  z_nS,
  d_SD: np.ndarray,
  probe_D: np.ndarray,
  parent: int,
  children: np.ndarray,
) -> np.ndarray:
  """Rows in which children stand for their parent: bool [n].

  The parent's concept is silent, a child's fires, and of what all active
  concepts add along the parent's probe, the children add at least CARRIED.

  Args:
    z_nS: codes of rows that hold the parent, not negative; sparse.
    d_SD: directions of the concepts.
    probe_D: the direction of a linear probe for the parent.
    parent: the parent's main concept.
    children: the children's main concepts; the parent's own is passed over.
  """
  z_nS = z_nS.tocsc()
  along_S = np.maximum(d_SD @ probe_D, 0)
  children = np.setdiff1d(children, [parent])
  total_n = z_nS @ along_S
  carried_n = z_nS[:, children] @ along_S[children]
  is_silent_n = z_nS[:, [parent]].toarray().ravel() == 0
  return is_silent_n & (carried_n > 0) & (carried_n >= CARRIED * total_n)
