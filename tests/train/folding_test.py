"""Norms that move into codes leave reconstructions as they are."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saejax.train import config as config_lib
from saejax.train import folding
from tests import saes


class FoldNormsTest(parameterized.TestCase):
  @parameterized.parameters(*config_lib.FOLDABLE)
  def test_the_reconstruction_is_the_same(self, arch):
    sae, variables = saes.make(arch, modalities=saes.MODALITIES)
    rng = np.random.default_rng(5)
    params = dict(variables['params'])
    norm_S = rng.uniform(0.2, 5, saes.S).astype(np.float32)
    params['w_dec'] = params['w_dec'] * norm_S[:, None]
    modality_B = np.arange(saes.B) % 2
    run = lambda p: sae.apply(
      variables | {'params': p}, saes.rows(), modality_B
    )
    before, after = run(params), run(folding.fold_norms(params))
    np.testing.assert_allclose(
      after.xhat_BD, before.xhat_BD, rtol=1e-4, atol=1e-5
    )
    z_BS = saes.dense(before.codes)
    self.assertTrue((z_BS != 0).any())
    np.testing.assert_allclose(
      saes.dense(after.codes), z_BS * norm_S, rtol=1e-4, atol=1e-5
    )
    folded = np.linalg.norm(folding.fold_norms(params)['w_dec'], axis=1)
    np.testing.assert_allclose(folded, 1, rtol=1e-5)

  def test_what_selects_among_concepts_would_choose_others(self):
    for arch in config_lib.SELECTING:
      self.assertNotIn(arch, config_lib.FOLDABLE)
    sae, variables = saes.make('topk')
    params = dict(variables['params'])
    params['w_dec'] = params['w_dec'] * np.linspace(0.2, 5, saes.S)[:, None]
    run = lambda p: sae.apply(variables | {'params': p}, saes.rows()).xhat_BD
    change = np.abs(run(params) - run(folding.fold_norms(params))).max()
    self.assertGreater(change, 0.1)


if __name__ == '__main__':
  absltest.main()
