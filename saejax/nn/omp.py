"""OMP: matching pursuit whose codes are fitted anew after every choice.

  r = u − b_dec;  k times:  i = argmax_i ⟨r, d_i⟩ over those not chosen,
                            z = argmin ‖u − b_dec − zD‖² over the chosen, z ≥ 0,
                            r = u − b_dec − zD

Costa et al., arXiv 2506.03093, and its authors' library, overcomplete, whose
OMPSAE also fits non-negative codes and lets no gradient through them. Unlike
MP, no concept is chosen twice and r is orthogonal to those in use. At the best
z the error has no slope in z, so the gradient of a reconstruction with z held
fixed is the whole gradient.
"""

from saejax import ops
from saejax.nn import mp


class OMP(mp.MP):
  """Keeps the best non-negative fit of k greedy choices to each row."""

  pursue = staticmethod(ops.orthogonal_pursuit)
