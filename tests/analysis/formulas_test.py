"""The formulas against NumPy, scikit-learn and, where it is, overcomplete.

What the others define otherwise is held as well: a number of theirs beside one
of ours is then no surprise.
"""

import importlib.util
import itertools
import os

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import scipy.sparse
import sklearn.metrics

from saejax.analysis import bootstrap
from saejax.analysis import energy
from saejax.analysis import reconstruction
from saejax.analysis import stability

try:
  import torch
except ImportError:
  torch = None


def _metrics_of_overcomplete():
  """Its file of formulas alone: the package needs a matplotlib before 3.11."""
  package = importlib.util.find_spec('overcomplete')
  if torch is None or package is None:
    return None
  spec = importlib.util.spec_from_file_location(
    'overcomplete_metrics',
    os.path.join(os.path.dirname(package.origin), 'metrics.py'),
  )
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


theirs = _metrics_of_overcomplete()

N, D, S = 300, 12, 20
TOLERANCE = 1e-5
EPSILON = 1e-6  # What overcomplete adds to what it divides by.

needs_overcomplete = absltest.skipIf(
  theirs is None, 'torch or overcomplete 0.3.0 is not here'
)


def arrays(signed: bool = False, seed: int = 0):
  """Rows and their reconstruction [N, D], codes [N, S], two dictionaries."""
  rng = np.random.default_rng(seed)
  unit = lambda w: w / np.linalg.norm(w, axis=1, keepdims=True)
  w_SD, other_SD = (unit(rng.normal(size=(S, D))) for _ in range(2))
  z_NS = rng.exponential(size=(N, S)) * (rng.random((N, S)) < 0.2)
  z_NS[:, 3] = 0
  if signed:
    z_NS *= rng.choice([-1, 1], size=z_NS.shape)
  xhat_ND = z_NS @ w_SD + 0.5
  # Dimensions of unequal spread, where means over them differ.
  x_ND = xhat_ND + rng.normal(size=(N, D)) * np.linspace(0.1, 1, D)
  arrays = x_ND, xhat_ND, z_NS, w_SD, other_SD
  return [a.astype(np.float32) for a in arrays]


def our_r2(x_ND, xhat_ND) -> dict[str, bootstrap.Estimate]:
  """R² of one modality about the means of these rows, as others take them."""
  x_ND = x_ND.astype(np.float64)
  error_N = ((x_ND - xhat_ND) ** 2).sum(1)
  mean_D = x_ND.mean(0)
  return reconstruction.r2(
    [reconstruction.moments(x_ND, error_N, np.arange(N), mean_D, mean_D)]
  )


def tensors(*given):
  return [torch.tensor(a) for a in given]


class RSquaredTest(parameterized.TestCase):
  def test_is_what_plain_numpy_says(self):
    x_ND, xhat_ND, *_ = arrays()
    x_ND, xhat_ND = x_ND.astype(np.float64), xhat_ND.astype(np.float64)
    left = ((x_ND - xhat_ND) ** 2).sum()
    about_mean = ((x_ND - x_ND.mean(0)) ** 2).sum()
    about_number = ((x_ND - x_ND.mean()) ** 2).sum()
    found = our_r2(x_ND, xhat_ND)
    for name in ('r2', 'r2_pooled'):
      self.assertAlmostEqual(found[name].value, 1 - left / about_mean, 10)
    self.assertAlmostEqual(
      found['r2_library'].value, 1 - left / about_number, 10
    )

  def test_is_scikit_learns_weighted_by_variance(self):
    x_ND, xhat_ND, *_ = arrays()
    score = lambda how: sklearn.metrics.r2_score(x_ND, xhat_ND, multioutput=how)
    found = our_r2(x_ND, xhat_ND)['r2_pooled'].value
    self.assertAlmostEqual(found, score('variance_weighted'), delta=TOLERANCE)
    # Its default is the mean over dimensions, each by its own variance.
    self.assertGreater(abs(found - score('uniform_average')), 0.01)

  @needs_overcomplete
  def test_library_is_overcompletes_but_for_its_epsilon(self):
    x_ND, xhat_ND, *_ = arrays()
    for scale, is_near in ((1.0, True), (0.01, False)):
      given = (scale * x_ND, scale * xhat_ND)
      found = our_r2(*given)['r2_library'].value
      said = float(theirs.r2_score(*tensors(*given)))
      spread = float(((given[0] - given[0].mean()) ** 2).mean())
      # On rows of small entries, as unit rows are, it inflates their R².
      self.assertEqual(abs(found - said) < TOLERANCE, is_near)
      without = 1 - (1 - said) * (spread + EPSILON) / spread
      self.assertAlmostEqual(found, without, delta=TOLERANCE)


class CodesTest(parameterized.TestCase):
  @parameterized.parameters(False, True)
  def test_energy_is_what_plain_numpy_says(self, signed):
    *_, z_NS, _, _ = arrays(signed)
    found = energy.usage(scipy.sparse.csr_matrix(z_NS))
    np.testing.assert_allclose(
      found.energy_S, np.abs(z_NS.astype(np.float64)).mean(0), rtol=1e-12
    )
    np.testing.assert_array_equal(found.count_S, (z_NS != 0).sum(0))

  @needs_overcomplete
  def test_energy_is_overcompletes_on_codes_without_a_sign(self):
    for signed in (False, True):
      *_, z_NS, w_SD, _ = arrays(signed)
      found_S = energy.usage(scipy.sparse.csr_matrix(z_NS)).energy_S
      said_S = theirs.energy_of_codes(*tensors(z_NS, w_SD)).numpy()
      # Theirs is ‖E[z] D‖: codes of both signs cancel. Ours is E|z|.
      self.assertEqual(np.abs(found_S - said_S).max() < TOLERANCE, not signed)
    # Of rows that are not of unit norm theirs has the norm as well.
    longer_S = theirs.energy_of_codes(*tensors(z_NS, 3 * w_SD)).numpy()
    np.testing.assert_allclose(longer_S, 3 * said_S, rtol=TOLERANCE)

  @needs_overcomplete
  def test_l0_is_overcompletes_share_times_the_concepts(self):
    *_, z_NS, _, _ = arrays()
    usage = energy.usage(scipy.sparse.csr_matrix(z_NS))
    (codes,) = tensors(z_NS)
    share = float(theirs.l0(codes))
    self.assertAlmostEqual(usage.rate_S.sum(), S * share, delta=TOLERANCE * S)
    np.testing.assert_array_equal(
      usage.count_S == 0, theirs.dead_codes(codes).numpy() == 1
    )


class MatchingTest(absltest.TestCase):
  def test_is_the_best_of_all_permutations(self):
    *_, a_SD, b_SD = arrays()
    a_6D, b_6D = a_SD[:6].astype(np.float64), b_SD[:6].astype(np.float64)
    cosine_66 = a_6D @ b_6D.T
    best = max(
      np.mean([cosine_66[i, j] for i, j in enumerate(order)])
      for order in itertools.permutations(range(6))
    )
    found = stability.match_rows(a_6D, b_6D).similarity_M.mean()
    self.assertAlmostEqual(found, best, delta=TOLERANCE)

  def test_does_not_depend_on_norms(self):
    *_, a_SD, b_SD = arrays()
    of = lambda a, b: stability.match_rows(a, b).similarity_M.mean()
    self.assertAlmostEqual(of(7 * a_SD, b_SD), of(a_SD, b_SD), delta=TOLERANCE)

  @needs_overcomplete
  def test_is_one_less_overcompletes_loss_an_atom(self):
    *_, a_SD, b_SD = arrays()
    found = stability.match_rows(a_SD, b_SD).similarity_M
    # Theirs is a sum over atoms, though it says to divide by the dimension.
    loss = theirs.cosine_hungarian_loss(*tensors(a_SD, b_SD))
    self.assertAlmostEqual(found.mean(), 1 - loss / S, delta=TOLERANCE)
    # By distance, √(2 − 2 cos), another matching may be best.
    far = theirs.hungarian_loss(*tensors(a_SD, b_SD))
    self.assertLessEqual(far, np.sqrt(2 - 2 * found).sum() + 1e-4)


if __name__ == '__main__':
  absltest.main()
