"""Norms that move into codes leave reconstructions as they are."""

import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import jax.numpy as jnp
import numpy as np

from saejax import encode
from saejax import io
from saejax import store as store_lib
from saejax.data import whitening
from saejax.train import config as config_lib
from saejax.train import folding
from saejax.train import loop
from tests import planted
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


class WhiteningTest(parameterized.TestCase):
  def test_whitened_rows_have_the_identity_s_covariance(self):
    rng = np.random.default_rng(0)
    center_MD = np.array([[5.0, 0, 0], [0, 0, 7.0]])
    which_N = np.arange(6000) % 2
    x_ND = rng.normal(size=(6000, 3)) @ np.array(
      [[2, 0, 0], [1, 1, 0], [0, 0, 1]]
    )
    found = whitening.fit(x_ND + center_MD[which_N], which_N, center_MD)
    u_ND = found.apply(x_ND + center_MD[which_N], which_N)
    np.testing.assert_allclose(u_ND.T @ u_ND / 6000, np.eye(3), atol=0.01)
    np.testing.assert_allclose(
      found.w_DD @ found.inverse_DD, np.eye(3), atol=1e-5
    )

  @parameterized.parameters(*config_lib.FOLDABLE)
  def test_saved_weights_read_rows_as_they_are(self, arch):
    sae, variables = saes.make(arch, modalities=saes.MODALITIES)
    rng = np.random.default_rng(5)
    center_MD = rng.normal(size=(2, saes.D)).astype(np.float32)
    mix_DD = rng.normal(size=(saes.D, saes.D))
    w_DD = (mix_DD @ mix_DD.T / saes.D + np.eye(saes.D)).astype(np.float32)
    found = whitening.Whitening(center_MD, w_DD, np.linalg.inv(w_DD))
    constants = variables['constants'] | {
      'center': np.zeros_like(variables['constants']['center']),
      'scale': np.ones_like(variables['constants']['scale']),
    }
    variables = variables | {
      'constants': {n: jnp.asarray(v) for n, v in constants.items()}
    }
    modality_B = np.arange(saes.B) % 2
    u_BD = found.apply(saes.rows(), modality_B)
    before = sae.apply(variables, u_BD, modality_B)
    want_BD = before.xhat_BD @ found.inverse_DD + center_MD[modality_B]
    folded = folding.fold_whitening(
      variables, center_MD, w_DD, found.inverse_DD, (0, 1)
    )
    after = sae.apply(folded, saes.rows(), modality_B)
    np.testing.assert_allclose(after.xhat_BD, want_BD, rtol=1e-4, atol=1e-4)
    is_active = saes.dense(before.codes) != 0
    self.assertTrue(is_active.any())
    np.testing.assert_array_equal(saes.dense(after.codes) != 0, is_active)
    norm_S = np.linalg.norm(folded['params']['w_dec'], axis=1)
    np.testing.assert_allclose(norm_S, 1, rtol=1e-5)

  def test_a_run_on_whitened_rows_reconstructs_rows_as_they_are(self):
    with tempfile.TemporaryDirectory() as folder:
      data = planted.sample(1200)
      # Rows that vary a hundred times as much along the first axis.
      stretch_D = np.where(np.arange(planted.D) == 0, 100, 1)
      store = planted.write_store(
        os.path.join(folder, 'store'),
        (data.image_ND * stretch_D).astype(np.float32),
        (data.text_ND * stretch_D).astype(np.float32),
      )
      config = config_lib.TrainConfig(
        store=store, arch='relu', settings={'l1': 0.01}, latents=96, steps=300,
        batch=256, lr=1e-2, center='modality', whiten=True, use_b_dec=True,
      )  # fmt: skip
      path = loop.train(config, os.path.join(folder, 'run'))
      sae, variables = io.load(path)
      image = store_lib.Store(store)['image']
      rows_n = image.rows('test')
      x_nD = image.take(rows_n)
      found = encode.encode(sae, variables, image, rows_n)
      # Of all but the stretched axis, all that unwhitened training sees.
      xhat_nD = found.z_nS @ np.asarray(variables['params']['w_dec'])
      xhat_nD = xhat_nD + encode.bias(sae, variables, image)
      away = lambda a: ((a - x_nD.mean(0)) ** 2)[:, 1:].sum()
      error = ((x_nD - xhat_nD) ** 2)[:, 1:].sum()
      self.assertLess(error / away(x_nD), 0.2)


if __name__ == '__main__':
  absltest.main()
