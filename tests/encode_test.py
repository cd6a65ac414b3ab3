"""Codes over all devices, against the module as it is."""

import itertools
import os
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np
import scipy.sparse

from saejax import encode
from saejax import errors
from saejax import io
from saejax import store
from saejax import types
from saejax.train import config as config_lib
from saejax.train import loop
from tests import planted
from tests import saes

N, BLOCK = 300, 64


class EncodeTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(3)
    self.x_2ND = rng.normal(size=(2, N, saes.D)).astype(np.float32)
    path = os.path.join(self.create_tempdir().full_path, 'store')
    self.store = store.Store(planted.write_store(path, *self.x_2ND))
    self.enterContext(mock.patch.object(encode, '_ROWS', BLOCK))

  @parameterized.parameters(
    *itertools.product(
      ('topk', 'batch_topk'), (0, 1, BLOCK - 1, BLOCK, BLOCK + 1)
    ),
    *((arch, 3 * BLOCK + 7) for arch in saes.ARCHS),
  )
  def test_eight_devices_give_what_the_module_gives(self, arch, rows):
    self.assertEqual(jax.device_count(), 8)
    sae, variables = saes.make(arch, modalities=saes.MODALITIES)
    # Rows in any order, some of them twice.
    rows_n = np.random.default_rng(rows).integers(0, N, rows)
    found = encode.encode(sae, variables, self.store['text'], rows_n)
    x_nD = self.x_2ND[1, rows_n]
    out = sae.apply(variables, x_nD, np.ones(rows, np.int32))
    z_nS = saes.dense(out.codes)
    np.testing.assert_array_equal(found.rows_n, rows_n)
    np.testing.assert_array_equal(found.x_nD, x_nD)
    self.assertEqual(found.z_nS.shape, (rows, saes.S))
    self.assertEqual(found.z_nS.nnz, np.count_nonzero(z_nS))
    np.testing.assert_allclose(found.z_nS.toarray(), z_nS, rtol=1e-5, atol=1e-6)
    error_n = ((x_nD - np.asarray(out.xhat_BD)) ** 2).sum(1)
    np.testing.assert_allclose(found.error_n, error_n, rtol=1e-5)

  @parameterized.product(arch=saes.ARCHS, name=saes.MODALITIES)
  def test_reconstructions_are_codes_times_the_dictionary_plus_bias(
    self, arch, name
  ):
    sae, variables = saes.make(arch, modalities=saes.MODALITIES)
    found = encode.encode(sae, variables, self.store[name], np.arange(50))
    b_D = encode.bias(sae, variables, self.store[name])
    xhat_nD = found.z_nS @ np.asarray(variables['params']['w_dec']) + b_D
    error_n = ((found.x_nD - xhat_nD) ** 2).sum(1)
    np.testing.assert_allclose(found.error_n, error_n, rtol=1e-4)

  def test_without_a_decoder_bias_only_the_centre_is_added_back(self):
    sae, variables = saes.make('topk', use_b_dec=False)
    np.testing.assert_array_equal(
      encode.bias(sae, variables, self.store['image']),
      variables['constants']['center'][0],
    )

  def test_each_stream_takes_the_constants_of_its_modality(self):
    sae, _ = saes.make('topk', modalities=('text', 'image'))
    index = lambda sae, name: encode.modality_index(sae, self.store[name])
    self.assertEqual(index(sae, 'text'), 0)
    self.assertEqual(index(sae, 'image'), 1)
    shared, _ = saes.make('topk')
    self.assertEqual(index(shared, 'text'), 0)
    other, _ = saes.make('topk', modalities=('sound', 'image'))
    with self.assertRaisesRegex(
      errors.UserError, "'sound', 'image'.*stream text holds text rows"
    ):
      index(other, 'text')

  def test_rows_of_another_width_are_refused(self):
    sae, variables = saes.make('topk')
    wide = planted.sample(20)
    path = os.path.join(self.create_tempdir().full_path, 'store')
    other = store.Store(planted.write_store(path, wide.image_ND, wide.text_ND))
    with self.assertRaisesRegex(
      errors.UserError, f'width {saes.D}; stream image has width {planted.D}'
    ):
      encode.encode(sae, variables, other['image'], np.arange(3))


class PrecisionTest(absltest.TestCase):
  def test_what_was_trained_in_bfloat16_keeps_k_concepts_once_loaded(self):
    folder = self.create_tempdir().full_path
    data = planted.sample(2000)
    path = planted.write_store(
      os.path.join(folder, 'store'), data.image_ND, data.text_ND
    )
    config = config_lib.TrainConfig(
      store=path, latents=64, k=4, steps=20, batch=256, dtype='bfloat16'
    )
    sae, variables = io.load(loop.train(config, os.path.join(folder, 'run')))
    active = 0
    for name in ('image', 'text'):
      stream = store.Store(path)[name]
      found = encode.encode(sae, variables, stream, stream.rows('val'))
      active += found.z_nS.nnz / len(found.rows_n) / 2
    # Calibrated on these very rows: one concept in one row is seen.
    np.testing.assert_allclose(active, 4, atol=1e-4)


class CsrTest(absltest.TestCase):
  def test_padding_of_sparse_codes_is_left_out(self):
    values_BK = np.array([[2.0, 0.5], [0, 0], [1, 0]], np.float32)
    index_BK = np.array([[3, 0], [4, 4], [1, 4]])
    found = encode.to_csr(types.Sparse(values_BK, index_BK), 4)
    expected = [[0.5, 0, 0, 2], [0, 0, 0, 0], [0, 1, 0, 0]]
    self.assertIsInstance(found, scipy.sparse.csr_matrix)
    self.assertEqual(found.nnz, 3)
    np.testing.assert_array_equal(found.toarray(), expected)

  def test_dense_codes_keep_what_is_not_zero(self):
    z_BS = np.array([[0, 1.5], [0, 0]], np.float32)
    found = encode.to_csr(types.Dense(z_BS), 2)
    self.assertEqual(found.nnz, 1)
    np.testing.assert_array_equal(found.toarray(), z_BS)


if __name__ == '__main__':
  absltest.main()
