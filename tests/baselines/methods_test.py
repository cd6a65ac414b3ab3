"""Each method finds what it is for, and not what is not there."""

from absl.testing import absltest
from absl.testing import parameterized
import jax.numpy as jnp
import numpy as np
import scipy.optimize
import sklearn.decomposition

from saejax import baselines
from saejax.baselines import alternation
from saejax.baselines import convex_nmf
from saejax.baselines import dictionary
from saejax.baselines import ica
from saejax.baselines import kmeans
from saejax.baselines import pca
from saejax.baselines import random_directions
from saejax.baselines import semi_nmf
from saejax.baselines import sparse_coding

S, D, N, ACTIVE = 20, 16, 800, 2


def planted(signed: bool, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
  """Rows that are sums of two of S atoms, and the atoms."""
  rng = np.random.default_rng(seed)
  w_SD, _ = dictionary.unit(rng.normal(size=(S, D)))
  on_NS = np.argsort(rng.random((N, S)), axis=1) < ACTIVE
  z_NS = on_NS * rng.uniform(0.7, 1.5, size=(N, S))
  if signed:
    z_NS *= rng.choice([-1, 1], size=(N, S))
  x_ND = z_NS @ w_SD + 0.01 * rng.normal(size=(N, D))
  return x_ND.astype(np.float32), w_SD


def match(found_SD, w_SD, signed: bool) -> np.ndarray:
  """Cosines of true atoms to those found, by the best one-to-one matching."""
  cosine_SS = w_SD @ found_SD.T
  cosine_SS = np.abs(cosine_SS) if signed else cosine_SS
  return cosine_SS[scipy.optimize.linear_sum_assignment(-cosine_SS)]


def explained(fitted, z_NS, x_ND) -> float:
  away_ND = x_ND - baselines.decode(fitted, z_NS)
  return 1 - (away_ND**2).sum() / ((x_ND - x_ND.mean(0)) ** 2).sum()


class FactorisationTest(parameterized.TestCase):
  @parameterized.named_parameters(
    ('semi_nmf', semi_nmf.fit, False), ('sparse', sparse_coding.fit, True)
  )
  def test_recovers_planted_atoms(self, fit, signed):
    x_ND, w_SD = planted(signed)
    # A few more than there are, so that no start leaves two to one atom.
    fitted = fit(x_ND, S + 6, 0, l0=ACTIVE, steps=200)
    cosine_S = match(fitted.w_SD, w_SD, signed)
    self.assertGreater(np.median(cosine_S), 0.99)
    self.assertGreater((cosine_S > 0.97).mean(), 0.85)
    blind = random_directions.fit(x_ND, S + 6, 7)
    self.assertLess(np.median(match(blind.w_SD, w_SD, signed)), 0.8)
    np.testing.assert_allclose(
      np.linalg.norm(fitted.w_SD, axis=1), 1, atol=1e-5
    )

  def test_codes_have_exact_zeros_and_no_sign(self):
    x_ND = planted(False)[0][:500]
    fitted = semi_nmf.fit(x_ND, S, 0, l0=ACTIVE, steps=100)
    sparsity = baselines.tune(fitted, x_ND, ACTIVE)
    z_NS = baselines.encode(fitted, x_ND, sparsity)
    self.assertGreaterEqual(z_NS.data.min(), 0)
    self.assertBetween((z_NS.toarray() == 0).mean(), 0.8, 0.95)
    self.assertGreater(explained(fitted, z_NS, x_ND), 0.9)

  @parameterized.parameters((0.0, False), (0.1, False), (0.1, True))
  def test_the_objective_never_rises(self, l1, signed):
    x_ND, _ = planted(signed)
    plan = alternation.Plan(
      signed=signed, l1=l1, steps=15, batch=N, iterations=200
    )
    found = semi_nmf.factorise(x_ND[:300], 8, 0, plan)
    change_t = np.diff(found.objective_t)
    self.assertLess(change_t.max(), 1e-5 * found.objective_t[0])
    self.assertLess(found.objective_t[-1], 0.8 * found.objective_t[0])

  def test_agrees_with_sklearn_on_what_is_reached(self):
    x_ND, _ = planted(True)
    x_ND = x_ND[:300]
    scale = alternation.unit_scale(x_ND)
    plan = alternation.Plan(
      signed=True, l1=0.2, steps=60, batch=N, iterations=100
    )
    found = semi_nmf.factorise(x_ND, S, 0, plan)
    first_SD, _ = dictionary.unit(alternation.draw_rows(x_ND, S, 0))
    # λ is a share of the mean largest |⟨x, w⟩| of the first batch: of all.
    u_ND = x_ND.astype(np.float64) / scale
    l1 = 0.2 * np.abs(u_ND @ first_SD.T).max(1).mean()
    model = sklearn.decomposition.DictionaryLearning(
      S, alpha=l1, max_iter=60, fit_algorithm='cd', random_state=0,
      dict_init=first_SD.astype(np.float64),
    )  # fmt: skip
    model.fit(u_ND)
    theirs = model.error_[-1] / len(x_ND) * scale**2
    # Neither is convex, so that each ends where it may.
    self.assertBetween(found.objective_t[-1] / theirs, 0.9, 1.05)

  def test_a_weight_is_steered_to_an_l0(self):
    x_ND, _ = planted(False)
    plan = alternation.Plan(signed=False, l0=4, steps=150, batch=256)
    found = semi_nmf.factorise(x_ND, S, 0, plan)
    self.assertBetween(found.l0_t[-20:].mean(), 3.5, 4.5)

  def test_convex_atoms_are_nonnegative_sums_of_anchors(self):
    x_ND, _ = planted(False)
    anchor_aD = kmeans.centroids(x_ND, 40, 0)
    plan = alternation.Plan(signed=False, steps=15, batch=N, iterations=200)
    found = convex_nmf.factorise(anchor_aD, x_ND[:300], 8, 0, plan)
    self.assertGreaterEqual(np.asarray(found.state).min(), 0)
    for w_D in found.w_SD:
      _, residual = scipy.optimize.nnls(anchor_aD.T.astype(np.float64), w_D)
      self.assertLess(residual, 1e-4)
    change_t = np.diff(found.objective_t)
    self.assertLess(change_t.max(), 1e-4 * found.objective_t[0])
    self.assertLess(found.objective_t[-1], 0.95 * found.objective_t[0])

  def test_the_same_seed_gives_the_same_atoms_and_another_does_not(self):
    x_ND, _ = planted(False)
    fit = lambda seed: (
      convex_nmf.fit(x_ND, S, seed, ACTIVE, steps=5, anchors=30).w_SD
    )
    first_SD = fit(0)
    np.testing.assert_array_equal(first_SD, fit(0))
    self.assertGreater(np.abs(first_SD - fit(1)).max(), 0.1)

  def test_an_atom_no_row_uses_becomes_a_row(self):
    fresh_SD = jnp.eye(3)
    w_SD = alternation.free_atoms(
      jnp.diag(jnp.array([1.0, 0.0, 1.0])),
      jnp.array([[0.5, 0, 0], [0, 0, 0], [0, 0, 2.0]]),
      -jnp.eye(3),
      fresh_SD,
    )
    np.testing.assert_allclose(w_SD, [[0.5, 0, 0], [0, 1, 0], [0, 0, 1]])


class OthersTest(parameterized.TestCase):
  def test_pca_is_the_svd(self):
    x_ND = planted(True)[0] + np.arange(D, dtype=np.float32)
    fitted = pca.fit(x_ND, 5)
    mean_D = x_ND.mean(0, dtype=np.float64)
    _, _, vt_DD = np.linalg.svd(x_ND - mean_D, full_matrices=False)
    np.testing.assert_allclose(fitted.b_D, mean_D, rtol=1e-5)
    cosine_S = np.abs((fitted.w_SD * vt_DD[:5]).sum(1))
    np.testing.assert_allclose(cosine_S, 1, atol=1e-5)

  @parameterized.parameters(pca.fit, ica.fit)
  def test_no_more_atoms_than_dimensions(self, fit):
    x_ND, _ = planted(True)
    fitted = fit(x_ND, 4 * D, 0)
    self.assertEqual(fitted.s, D)
    z_NS = baselines.encode(fitted, x_ND, 4 * D)
    self.assertGreater(explained(fitted, z_NS, x_ND), 0.9999)

  def test_ica_finds_independent_sources_that_pca_does_not(self):
    rng = np.random.default_rng(0)
    atom_DD, _ = dictionary.unit(rng.normal(size=(6, 6)))
    x_ND = (rng.laplace(size=(5000, 6)) @ atom_DD).astype(np.float32)
    self.assertGreater(
      match(ica.fit(x_ND, 6, 0).w_SD, atom_DD, True).min(), 0.98
    )
    self.assertLess(match(pca.fit(x_ND, 6).w_SD, atom_DD, True).min(), 0.95)

  def test_kmeans_codes_are_one_hot_and_give_the_centroid(self):
    x_ND, _ = planted(False)
    fitted = kmeans.fit(x_ND, 12, 0)
    z_NS = baselines.encode(fitted, x_ND, baselines.tune(fitted, x_ND, 8))
    np.testing.assert_array_equal(z_NS.getnnz(axis=1), 1)
    away_NS = np.linalg.norm(
      x_ND[:, None] - fitted.w_SD * fitted.length_S[:, None], axis=2
    )
    np.testing.assert_array_equal(z_NS.indices, away_NS.argmin(1))
    error_N = np.linalg.norm(x_ND - baselines.decode(fitted, z_NS), axis=1)
    np.testing.assert_allclose(error_N, away_NS.min(1), atol=1e-4)

  def test_rows_are_atoms(self):
    x_ND, _ = planted(False)
    fitted = random_directions.fit_rows(x_ND, 30, 0)
    unit_ND, _ = dictionary.unit(x_ND)
    cosine_S = (fitted.w_SD @ unit_ND.T).max(1)
    np.testing.assert_allclose(cosine_S, 1, atol=1e-5)
    self.assertLen(np.unique(fitted.w_SD, axis=0), 30)

  @parameterized.parameters('ica', 'random', 'kmeans', 'semi_nmf')
  def test_nothing_beats_pca_at_its_width_on_noise(self, name):
    # A rank of S explains least with other atoms: Eckart and Young, 1936. Here
    # all S atoms may be used, so that L0 is S for both.
    x_ND = np.random.default_rng(0).normal(size=(1000, D)).astype(np.float32)
    few = 6
    method = baselines.METHODS[name]
    given = {'l0': few, 'steps': 40} if method.for_l0 else {}
    fitted = method.fit(x_ND, few, 0, **given)
    best = pca.fit(x_ND, few)
    of = lambda f: explained(
      f, baselines.pursue(f.w_SD, x_ND - f.b_D, few, f.signed), x_ND
    )
    self.assertLessEqual(of(fitted), of(best) + 1e-3)
    self.assertBetween(of(best), few / D, 1.3 * few / D)


if __name__ == '__main__':
  absltest.main()
