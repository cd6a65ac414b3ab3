"""Codes: exact zeros, optimality, L0, and what pursuit leaves of a row."""

from absl.testing import absltest
from absl.testing import parameterized
import jax.numpy as jnp
import numpy as np
import scipy.optimize
import sklearn.linear_model

from saejax import baselines
from saejax.baselines import descent
from saejax.baselines import dictionary as dictionary_lib

S, D, N = 24, 10, 40


def made(code: str, signed: bool, seed: int = 0) -> baselines.Dictionary:
  rng = np.random.default_rng(seed)
  w_SD, length_S = dictionary_lib.unit(rng.normal(size=(S, D)))
  return baselines.Dictionary(
    w_SD=w_SD,
    b_D=rng.normal(size=D).astype(np.float32),
    code=code,
    signed=signed,
    length_S=length_S,
  )


def rows(n: int = N, seed: int = 1) -> np.ndarray:
  return np.random.default_rng(seed).normal(size=(n, D)).astype(np.float32)


class DescentTest(parameterized.TestCase):
  @parameterized.parameters(range(5))
  def test_the_bound_is_above_the_largest_eigenvalue_and_near_it(self, seed):
    x_ND = np.random.default_rng(seed).normal(size=(30, D)) + seed
    gram_DD = (x_ND.T @ x_ND).astype(np.float32)
    exact = np.linalg.eigvalsh(gram_DD)[-1]
    found = float(descent.largest_eigenvalue(jnp.asarray(gram_DD)))
    self.assertBetween(found / exact, 1 - 1e-5, D ** (1 / 64) + 1e-5)

  def test_is_nonnegative_least_squares(self):
    w_SD, x_ND = made('largest', True).w_SD, rows()
    z_NS = descent.lasso(x_ND, w_SD, 0.0, signed=False, iterations=3000)
    for x_D, z_S in zip(x_ND, np.asarray(z_NS), strict=True):
      _, residual = scipy.optimize.nnls(w_SD.T.astype(np.float64), x_D)
      found = np.linalg.norm(x_D - z_S @ w_SD)
      self.assertAlmostEqual(found, residual, delta=2e-3)

  @parameterized.parameters(True, False)
  def test_agrees_with_sklearn_on_the_lasso(self, signed):
    w_SD, x_ND = made('lasso', signed).w_SD, rows()
    model = sklearn.linear_model.Lasso(
      0.3 / D, positive=not signed, fit_intercept=False, tol=1e-10,
      max_iter=100_000,
    )  # fmt: skip
    expected_NS = model.fit(
      w_SD.T.astype(np.float64), x_ND.T.astype(np.float64)
    ).coef_
    found_NS = np.asarray(
      descent.lasso(x_ND, w_SD, 0.3, signed=signed, iterations=3000)
    )
    np.testing.assert_allclose(found_NS, expected_NS, atol=2e-3)
    is_clear = np.abs(expected_NS) > 5e-3
    np.testing.assert_array_equal(
      found_NS[expected_NS == 0] == 0, True, 'zeros are exact'
    )
    self.assertTrue((found_NS[is_clear] != 0).all())
    self.assertEqual(bool((found_NS < 0).any()), signed)

  def test_a_refit_is_least_squares_on_the_same_codes(self):
    w_SD, x_ND = made('lasso', True).w_SD, rows()
    given = dict(signed=True, iterations=3000)
    shrunk_NS = np.asarray(descent.lasso(x_ND, w_SD, 1.0, **given))
    z_NS = np.asarray(descent.lasso(x_ND, w_SD, 1.0, refit=True, **given))
    np.testing.assert_array_equal(z_NS != 0, shrunk_NS != 0)
    slope_NS = (x_ND - z_NS @ w_SD) @ w_SD.T
    self.assertLess(np.abs(slope_NS[z_NS != 0]).max(), 1e-3)
    self.assertGreater(np.abs(slope_NS).max(), 0.3)


class OwnTest(parameterized.TestCase):
  @parameterized.parameters(1, 3, 7)
  def test_the_largest_are_kept_and_refitted(self, k):
    fitted, x_ND = made('largest', True), rows()
    z_NS = baselines.encode(fitted, x_ND, k).toarray()
    u_ND = x_ND - fitted.b_D
    score_NS = np.abs(u_ND @ fitted.w_SD.T)
    for u_D, z_S, score_S in zip(u_ND, z_NS, score_NS, strict=True):
      kept = np.sort(np.argsort(score_S)[-k:])
      np.testing.assert_array_equal(np.flatnonzero(z_S), kept)
      expected = np.linalg.lstsq(fitted.w_SD[kept].T, u_D, rcond=None)[0]
      np.testing.assert_allclose(z_S[kept], expected, rtol=5e-3, atol=5e-4)

  def test_the_nearest_centroid_gives_one_code_and_itself(self):
    fitted, x_ND = made('nearest', False), rows()
    z_NS = baselines.encode(fitted, x_ND, None)
    np.testing.assert_array_equal(z_NS.getnnz(axis=1), 1)
    centroid_SD = fitted.w_SD * fitted.length_S[:, None]
    away_NS = np.linalg.norm((x_ND - fitted.b_D)[:, None] - centroid_SD, axis=2)
    expected_ND = centroid_SD[away_NS.argmin(1)] + fitted.b_D
    np.testing.assert_allclose(
      baselines.decode(fitted, z_NS), expected_ND, atol=1e-5
    )

  @parameterized.parameters(('lasso', True), ('nonnegative_lasso', False))
  def test_a_weight_is_tuned_to_an_l0(self, code, signed):
    fitted, x_ND = made(code, signed), rows(400)
    for l0 in (1, 2, 4):
      z_NS = baselines.encode(fitted, x_ND, baselines.tune(fitted, x_ND, l0))
      self.assertBetween(z_NS.nnz / len(x_ND), l0 - 0.15, l0)
      self.assertEqual(bool((z_NS.data < 0).any()), signed)

  def test_no_code_without_rows(self):
    found = baselines.encode(made('largest', True), rows(0), 3)
    self.assertEqual(found.shape, (0, S))


class PursuitTest(parameterized.TestCase):
  @parameterized.parameters(True, False)
  def test_the_rest_is_orthogonal_to_the_atoms_in_use(self, signed):
    w_SD, x_ND = made('lasso', signed).w_SD, rows()
    z_NS = baselines.pursue(w_SD, x_ND, 3, signed).toarray()
    self.assertLessEqual((z_NS != 0).sum(1).max(), 3)
    self.assertEqual(bool((z_NS < 0).any()), signed)
    rest_ND = x_ND - z_NS @ w_SD
    overlap_NS = np.abs(rest_ND @ w_SD.T)
    self.assertLess(overlap_NS[z_NS != 0].max(), 1e-3)
    self.assertGreater(overlap_NS.max(), 0.3)

  def test_on_orthogonal_atoms_it_is_the_largest_codes(self):
    w_DD = np.linalg.qr(rows(D, 3))[0].astype(np.float32)
    x_ND = rows()
    z_ND = baselines.pursue(w_DD, x_ND, 4, True).toarray()
    all_ND = x_ND @ w_DD.T
    least_N1 = np.sort(np.abs(all_ND), axis=1)[:, -4, None]
    expected_ND = np.where(np.abs(all_ND) >= least_N1, all_ND, 0)
    np.testing.assert_allclose(z_ND, expected_ND, atol=1e-4)


if __name__ == '__main__':
  absltest.main()
