"""Modality subspaces of planted modalities, and the split of a planted gap."""

from absl.testing import absltest
import numpy as np
import scipy.sparse
from sklearn import discriminant_analysis
from sklearn import metrics

from saejax.analysis import geometry
from saejax.analysis import subspace

D, N = 8, 4000


def modalities(seed: int, apart: int = 1):
  """Rows whose means differ along the first axes, skewed by the last."""
  rng = np.random.default_rng(seed)
  mix_DD = np.eye(D)
  mix_DD[0, -1] = 2.0  # The last direction spills into the first axis.
  image_nD = rng.normal(size=(N, D)) @ mix_DD.T
  text_nD = rng.normal(size=(N, D)) @ mix_DD.T
  image_nD[:, :apart] += 3
  return image_nD, text_nD


class FitTest(absltest.TestCase):
  def test_means_and_the_best_classifier_differ_where_covariance_skews(self):
    train, val = modalities(0), modalities(1)
    found = subspace.fit(*train, *val)
    np.testing.assert_allclose(
      abs(found.bases['means'][0]), np.eye(D)[0], atol=0.1
    )
    lda = discriminant_analysis.LinearDiscriminantAnalysis()
    lda.fit(np.concatenate(train), np.repeat([1, 0], N))
    want_D = lda.coef_[0] / np.linalg.norm(lda.coef_[0])
    np.testing.assert_allclose(
      abs(found.bases['leace'][0] @ want_D), 1, atol=1e-3
    )
    self.assertLess(abs(found.bases['leace'][0] @ np.eye(D)[0]), 0.6)

  def test_classifiers_leave_nothing_to_tell_the_modalities_by(self):
    train, val = modalities(0, apart=3), modalities(1, apart=3)
    basis_RD = subspace.fit(*train, *val).bases['classifiers']
    np.testing.assert_allclose(
      basis_RD @ basis_RD.T, np.eye(len(basis_RD)), atol=1e-8
    )
    self.assertBetween(len(basis_RD), 1, D - 1)
    left = [x_nD - x_nD @ basis_RD.T @ basis_RD for x_nD in (*train, *val)]
    again = subspace.fit(*left)
    self.assertEmpty(again.bases['classifiers'])

  def test_one_distribution_has_no_classifier(self):
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=(N, D)) for _ in range(4)]
    self.assertEmpty(subspace.fit(*rows).bases['classifiers'])


class ProjectionTest(absltest.TestCase):
  def test_isotropic_directions_keep_their_share(self):
    x_ND = geometry.random_directions(np.eye(D), 2000)['isotropic']
    norm_N = subspace.projected_norm(x_ND, np.eye(D)[:3])
    self.assertAlmostEqual((norm_N**2).mean(), 3 / D, delta=0.02)

  def test_covariance_pulls_random_directions(self):
    skewed_DD = np.diag([100.0] + [1.0] * (D - 1))
    found = geometry.random_directions(skewed_DD, 2000)['covariance']
    on_first = subspace.projected_norm(found, np.eye(D)[:1])
    self.assertGreater(np.median(on_first), 0.8)

  def test_one_direction_is_the_cosine(self):
    norm_S = subspace.projected_norm(
      np.array([[3.0, 4.0], [0.0, 2.0]]), np.array([[1.0, 0.0]])
    )
    np.testing.assert_allclose(norm_S, [0.6, 0])


class ClassifierTest(absltest.TestCase):
  def test_auroc_is_scikit_learn_s_sparse_or_not(self):
    rng = np.random.default_rng(0)
    image_nS = rng.random((50, 4)) * (rng.random((50, 4)) < 0.5)
    text_nS = rng.random((70, 4)) * (rng.random((70, 4)) < 0.3)
    label_n = np.repeat([1, 0], [50, 70])
    want_S = [
      metrics.roc_auc_score(label_n, score_n)
      for score_n in np.concatenate([image_nS, text_nS]).T
    ]
    sparse = map(scipy.sparse.csr_matrix, (image_nS, text_nS))
    np.testing.assert_allclose(
      subspace.modality_auroc(image_nS, text_nS), want_S
    )
    np.testing.assert_allclose(subspace.modality_auroc(*sparse), want_S)
    np.testing.assert_allclose(subspace.fold(np.array([0.2, 0.7])), [0.8, 0.7])


class GapSplitTest(absltest.TestCase):
  def test_parts_add_up_to_the_gap_of_reconstructions(self):
    rng = np.random.default_rng(0)
    image_nS, text_nS = rng.random((2, 30, 12))
    d_SD = rng.normal(size=(12, D))
    found = subspace.gap_split(image_nS.mean(0), text_nS.mean(0), d_SD)
    gap = np.linalg.norm((image_nS @ d_SD).mean(0) - (text_nS @ d_SD).mean(0))
    self.assertAlmostEqual(found.gap, gap)
    self.assertAlmostEqual(found.part_S.sum(), gap)

  def test_a_concept_that_makes_the_gap_carries_it_alone(self):
    mean_image_S, mean_text_S = np.array([1.0, 5.0, 0.2]), np.array([1.0, 0, 0])
    found = subspace.gap_split(mean_image_S, mean_text_S, np.eye(3))
    self.assertEqual(found.carrying(0.9), 1)
    self.assertEqual(found.part_S.argmax(), 1)
    self.assertEqual(found.part_S[0], 0)


if __name__ == '__main__':
  absltest.main()
