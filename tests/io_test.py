"""A dictionary on disk: saved, read back, read by NumPy alone, damaged."""

import errno
import json
import os
import pathlib
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import safetensors.numpy

from saejax import errors
from saejax import io
from saejax.store import files
from tests import saes
from tests.ops import orthogonal_test
from tests.ops import pursuit_test

BOTH = saes.MODALITIES
BY_ROW = (
  'topk', 'abs_topk', 'hierarchical_topk', 'nested_topk', 'archetypal',
)  # fmt: skip


def by_numpy(path: str, x_BD: np.ndarray, modality: int):
  """Codes and reconstructions of a saved dictionary, without saejax."""
  with open(os.path.join(path, 'config.json'), encoding='utf-8') as f:
    config = json.load(f)
  a = safetensors.numpy.load_file(os.path.join(path, 'sae.safetensors'))
  center_D, scale = a['center'][modality], a['scale'][modality]
  pre_BS = (x_BD - center_D) * scale @ a['w_enc'] + a['b_enc']
  arch, size_BS, value_BS, least_BS = (
    config['arch'], pre_BS, pre_BS, a['threshold'],
  )  # fmt: skip
  if arch == 'gated':
    value_BS = np.exp(a['r_mag']) * (pre_BS - a['b_enc']) + a['b_mag']
    value_BS = np.maximum(value_BS, 0)
  if arch == 'abs_topk':
    size_BS = abs(pre_BS)
  if arch in BY_ROW:
    least_BS = np.sort(size_BS, axis=1)[:, [-config['k'] - 1]]
  z_BS = np.where(size_BS > np.maximum(least_BS, 0), value_BS, 0) / scale
  if arch in ('mp', 'omp'):  # w_dec is w_enc, transposed.
    by_hand = {'mp': pursuit_test.by_hand, 'omp': orthogonal_test.by_hand}[arch]
    u_BD = (x_BD - center_D) * scale - a['b_dec']
    z_BS = by_hand(u_BD, a['w_enc'].T, config['k'])[0] / scale
  return z_BS, z_BS @ a['w_dec'] + a['b_dec'] / scale + center_D


class RoundTripTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.path = os.path.join(self.create_tempdir().full_path, 'runs', 'sae')

  @parameterized.product(
    arch=saes.ARCHS, modalities=[('all',), BOTH], use_b_dec=[True, False]
  )
  def test_codes_and_reconstructions_keep_their_bits(
    self, arch, modalities, use_b_dec
  ):
    sae, variables = saes.make(arch, modalities=modalities, use_b_dec=use_b_dec)
    io.save(self.path, sae, variables)
    again, read = io.load(pathlib.Path(self.path))
    self.assertEqual(again, sae)
    modality_B = np.arange(saes.B) % len(modalities)
    expected = sae.apply(variables, saes.rows(), modality_B)
    found = again.apply(read, saes.rows(), modality_B)
    codes_BS = saes.dense(expected.codes)
    self.assertGreater((codes_BS != 0).sum(), saes.B)
    np.testing.assert_array_equal(saes.dense(found.codes), codes_BS)
    np.testing.assert_array_equal(found.xhat_BD, expected.xhat_BD)

  @parameterized.product(arch=saes.ARCHS, modality=[0, 1])
  def test_a_dozen_lines_of_numpy_read_and_run_it(self, arch, modality):
    sae, variables = saes.make(arch, modalities=BOTH)
    io.save(self.path, sae, variables)
    z_BS, xhat_BD = by_numpy(self.path, saes.rows(), modality)
    out = sae.apply(variables, saes.rows(), np.full(saes.B, modality))
    codes_BS = saes.dense(out.codes)
    self.assertTrue(((codes_BS != 0).sum(1) > 0).any())
    np.testing.assert_array_equal(z_BS != 0, codes_BS != 0)
    np.testing.assert_allclose(z_BS, codes_BS, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(xhat_BD, out.xhat_BD, rtol=1e-4, atol=1e-5)

  @parameterized.parameters(*saes.ARCHS)
  def test_the_folder_says_what_it_is_and_where_it_came_from(self, arch):
    sae, variables = saes.make(arch, modalities=BOTH)
    io.save(self.path, sae, variables, {'store_hash': 'abc', 'steps': 3})
    self.assertCountEqual(
      os.listdir(self.path), ['config.json', 'sae.safetensors']
    )
    config = io.read_config(self.path)
    self.assertEqual(config['format'], 'saejax-sae')
    self.assertEqual(config['version'], 1)
    self.assertEqual(config['arch'], arch)
    self.assertEqual(
      [config[name] for name in ('d', 's', 'k', 'modalities')],
      [saes.D, saes.S, saes.K, list(BOTH)],
    )
    self.assertEqual(config['provenance'], {'store_hash': 'abc', 'steps': 3})
    arrays = files.map_arrays(os.path.join(self.path, 'sae.safetensors'))
    self.assertEqual(
      {name: a.shape for name, a in arrays.items()},
      {
        'w_enc': (saes.D, saes.S),
        'b_enc': (saes.S,),
        'w_dec': (saes.S, saes.D),
        'b_dec': (saes.D,),
        'center': (2, saes.D),
        'scale': (2,),
        'threshold': (saes.S,) if arch == 'jumprelu' else (),
      }
      | ({'r_mag': (saes.S,), 'b_mag': (saes.S,)} if arch == 'gated' else {}),
    )
    self.assertEqual({a.dtype.name for a in arrays.values()}, {'float32'})

  def test_own_fields_that_a_file_lacks_have_their_defaults(self):
    sae, variables = saes.make('relu')
    io.save(self.path, sae, variables)
    config = io.read_config(self.path)
    del config['sparsity_warmup']
    with open(f'{self.path}/config.json', 'w', encoding='utf-8') as f:
      json.dump(config, f)
    self.assertEqual(io.load(self.path)[0], sae)

  def test_a_full_disk_leaves_no_dictionary_that_looks_whole(self):
    full = OSError(errno.ENOSPC, 'No space left on device')
    with (
      mock.patch.object(files, '_replace', side_effect=full),
      self.assertRaises(OSError),
    ):
      io.save(self.path, *saes.make('topk'))
    self.assertEqual(os.listdir(self.path), [])
    with self.assertRaisesRegex(errors.UserError, 'There is no dictionary'):
      io.load(self.path)


class DamageTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.path = self.create_tempdir().full_path
    io.save(self.path, *saes.make('batch_topk'))

  def file(self, name: str) -> str:
    return os.path.join(self.path, name)

  def assert_refused(self, message: str):
    with self.assertRaisesRegex(errors.UserError, message):
      io.load(self.path)

  @parameterized.parameters(
    ('format', 'other', "has format 'other' version 1; expected 'saejax-sae'"),
    ('version', 2, 'version 2; expected .* version 1'),
    ('arch', 'magic', "arch 'magic'; known are .*batch_topk"),
    ('arch', None, 'arch None; known are'),
    ('k', None, "config.json lacks or misnames a field: 'k'"),
    ('d', 'wide', 'config.json lacks or misnames a field'),
    ('k', saes.S + 1, f'has k {saes.S + 1} for {saes.S} concepts'),
    ('k', 0, f'has k 0 for {saes.S} concepts'),
    ('s', 9, r'b_enc of shape \(64,\); its config.json asks for \(9,\)'),
    ('modalities', BOTH, r'center of shape \(1, 12\); its .* asks for \(2, 12'),
  )
  def test_a_config_that_does_not_fit_is_told(self, key, value, message):
    config = io.read_config(self.path)
    if value is None:
      del config[key]
    else:
      config[key] = value
    with open(self.file('config.json'), 'w', encoding='utf-8') as f:
      json.dump(config, f)
    self.assert_refused(message)

  @parameterized.parameters(
    (b'{"format": "saejax-', 'config.json is not valid JSON'),
    (b'\xff\xfe', 'config.json is not valid JSON'),
    (b'[]', 'config.json is not valid JSON: it holds no'),
  )
  def test_a_damaged_config_is_told(self, raw, message):
    pathlib.Path(self.file('config.json')).write_bytes(raw)
    self.assert_refused(message)

  @parameterized.parameters('threshold', 'w_dec')
  def test_a_missing_array_is_named(self, name):
    arrays = dict(files.map_arrays(self.file('sae.safetensors')))
    kept = {k: np.array(v) for k, v in arrays.items() if k != name}
    files.write_arrays(self.file('sae.safetensors'), kept)
    self.assert_refused(f'has {name} of shape None')

  @parameterized.parameters(
    (lambda raw: raw[:-4], 'cut short'),
    (lambda raw: raw[:20], 'cut short, or not a safetensors file'),
    (lambda _: b'', 'cut short, or not a safetensors file'),
    (lambda raw: raw[:8] + b'?' + raw[9:], 'not a safetensors file'),
    (lambda _: b'\x02' + bytes(7) + b'[]', 'not a safetensors file'),
    (lambda raw: raw.replace(b'shape', b'sh_pe', 1), 'not a safetensors file'),
    (lambda raw: raw.replace(b'F32', b'C64', 1), 'has type C64'),
  )
  def test_damaged_weights_are_told(self, damage, message):
    path = pathlib.Path(self.file('sae.safetensors'))
    path.write_bytes(damage(path.read_bytes()))
    self.assert_refused(f'The dictionary at .* is damaged: .*{message}')

  def test_missing_weights_are_told(self):
    os.remove(self.file('sae.safetensors'))
    self.assert_refused('is damaged: .*No such file.*sae.safetensors')

  def test_a_run_is_told_apart_from_its_dictionary(self):
    with self.assertRaisesRegex(errors.UserError, 'in its folder sae/'):
      io.load(os.path.dirname(self.path))


if __name__ == '__main__':
  absltest.main()
