"""Crosscoders and transcoders evaluated: R² of each site by hand."""

import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from saejax import errors
from saejax import io
from saejax import nn
from saejax import store
from saejax.pipeline import evaluation
from saejax.pipeline import findings
from tests import planted

N, S, K = 300, 96, 6
SCALES = 1.5, 0.5
CROSS = tuple(
  io.Site(stream=n, d=planted.D, scale=s)
  for n, s in zip(('image', 'text'), SCALES, strict=True)
)
TRANS = tuple(io.Site(stream=n, d=planted.D) for n in ('image', 'text'))


def variables_of(sae):
  variables = sae.init(jax.random.key(0), method=lambda module: module.w_dec)
  rng = np.random.default_rng(0)
  noisy = lambda x: np.asarray(x + 0.05 * rng.normal(size=x.shape), np.float32)
  return jax.tree.map(noisy, variables)


class SiteEvaluationTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    data = planted.sample(N)
    cls.store = planted.write_store(
      os.path.join(cls.folder, 'store'), data.image_ND, data.text_ND
    )

  def save(self, sae, sites) -> str:
    path = os.path.join(self.create_tempdir().full_path, 'sae')
    self.variables = variables_of(sae)
    io.save(path, sae, self.variables, sites=sites)
    return path

  def rows(self, split='test'):
    found = store.Store(self.store)
    rows = found['image'].rows(split)
    return [found[n].take(rows) for n in ('image', 'text')]

  def r2(self, y_nD, yhat_nD, mean_D) -> float:
    return 1 - ((y_nD - yhat_nD) ** 2).sum() / ((y_nD - mean_D) ** 2).sum()

  def means(self):
    return [x_nD.mean(0) for x_nD in self.rows('train')]

  def test_a_crosscoder(self):
    sae = nn.TopK(d=2 * planted.D, s=S, k=K)
    path = self.save(sae, CROSS)
    found = evaluation.evaluate(path, self.store)
    parts = [s * x for s, x in zip(SCALES, self.rows(), strict=True)]
    out = sae.apply(self.variables, np.concatenate(parts, axis=1))
    halves = np.split(np.asarray(out.xhat_BD), 2, axis=1)
    for i, name in enumerate(('image', 'text')):
      expected = self.r2(parts[i], halves[i], SCALES[i] * self.means()[i])
      np.testing.assert_allclose(
        found[f'{name}/r2']['value'], expected, rtol=1e-3
      )
      self.assertIn('low', found[f'{name}/r2'])
      self.assertEqual(found[f'{name}/left_out']['value'], 0)
    active_n = (np.asarray(out.codes.values_BK) > 0).sum(1)
    np.testing.assert_allclose(found['l0']['value'], active_n.mean())
    # Of random rows nearly all are in both halves.
    self.assertGreater(found['shared_concepts']['value'], 0.9 * S / 2)
    self.assertLess(found['dead_fraction']['value'], 1)

  def test_a_transcoder(self):
    sae = nn.Transcoder(d=planted.D, d_in=planted.D, s=S, k=K)
    path = self.save(sae, TRANS)
    found = evaluation.evaluate(path, self.store)
    image_nD, text_nD = self.rows()
    out = sae.apply(self.variables, image_nD)
    expected = self.r2(text_nD, np.asarray(out.xhat_BD), self.means()[1])
    np.testing.assert_allclose(found['r2']['value'], expected, rtol=1e-3)
    self.assertNotIn('image/r2', found)

  def test_mistakes_are_told(self):
    path = self.save(nn.TopK(d=2 * planted.D, s=S, k=K), CROSS)
    with self.assertRaisesRegex(errors.UserError, 'image and text at once'):
      findings.load_subject(path, self.store, 'test')
    data = planted.sample(60)
    narrow = planted.write_store(
      os.path.join(self.folder, 'narrow'),
      data.image_ND[:, :12],
      data.text_ND[:, :12],
    )
    with self.assertRaisesRegex(
      errors.UserError, 'image of width 48; in .* 12'
    ):
      evaluation.evaluate(path, narrow)


if __name__ == '__main__':
  absltest.main()
