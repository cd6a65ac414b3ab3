"""What is read computes what its own code computes, and pickles run nothing."""

import os
import pathlib
import pickle

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import safetensors.numpy

from saejax import errors
from saejax import io
from saejax.formats import vlm_saes
from tests import saes
from tests.models import parity
from tests.torch_bridge import bin_files_test

torch = parity.torch
D, S, NORM = 12, 40, 13.996978
NAME = f'sae_final_layer24_8x_norm{NORM}'


def tensors(seed: int = 0) -> dict[str, np.ndarray]:
  rng = np.random.default_rng(seed)
  draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
  return {
    'fc1.weight': draw(S, D),
    'fc1.bias': draw(S),
    # Norms far from each other, so that where they go shows.
    'fc2.weight': draw(D, S) * np.linspace(0.1, 3, S, dtype=np.float32),
    'fc2.bias': draw(D),
  }


def theirs(t: dict[str, np.ndarray], x_BD: np.ndarray):
  """Features [B, S] and reconstructions [B, D], as the release computes them.

  In float64, from the equation of its training: rows times 64 over their mean
  norm.
  """
  t = {name: a.astype(np.float64) for name, a in t.items()}
  u_BD = x_BD * 64 / NORM
  f_BS = np.maximum(u_BD @ t['fc1.weight'].T + t['fc1.bias'], 0)
  return f_BS, (f_BS @ t['fc2.weight'].T + t['fc2.bias']) * NORM / 64


class VlmSaesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path

  def path(self, name: str) -> str:
    return os.path.join(self.folder, name)

  def save(self, name: str = NAME, prefix: str = '', **changes) -> str:
    found = {f'{prefix}{n}': a for n, a in (tensors() | changes).items()}
    path = self.path(f'{name}.safetensors')
    safetensors.numpy.save_file(found, path)
    return path

  def save_pickle(self, name: str = NAME, prefix: str = 'module.') -> str:
    """As nn.DataParallel's state dict is saved."""
    path = self.path(f'{name}.pkl')
    state = {f'{prefix}{n}': torch.tensor(a) for n, a in tensors().items()}
    torch.save(state, path)
    return path

  def assert_same_function(self, sae, variables):
    t, rng = tensors(), np.random.default_rng(1)
    x_BD = (NORM / D**0.5 * rng.normal(size=(64, D))).astype(np.float32)
    out = sae.apply(variables, x_BD)
    f_BS, xhat_BD = theirs(t, x_BD)
    self.assertBetween((f_BS > 0).mean(), 0.2, 0.8)
    np.testing.assert_allclose(out.xhat_BD, xhat_BD, rtol=1e-4, atol=1e-4)
    # Codes: their features, on the scale of x and with decoder rows of norm 1.
    norm_S = np.linalg.norm(t['fc2.weight'], axis=0)
    np.testing.assert_allclose(
      saes.dense(out.codes), f_BS * norm_S * NORM / 64, rtol=1e-3, atol=1e-3
    )
    np.testing.assert_allclose(
      np.linalg.norm(variables['params']['w_dec'], axis=1), 1, rtol=1e-5
    )

  @parameterized.parameters('', 'module.')
  def test_tensors_alone_are_the_same_function(self, prefix):
    found = vlm_saes.load(self.save(prefix=prefix))
    self.assertEqual((found.layer, found.norm), (24, NORM))
    self.assert_same_function(found.sae, found.variables)

  def test_it_is_saved_and_read_as_one_of_ours(self):
    found = vlm_saes.load(self.save())
    io.save(self.path('ours'), found.sae, found.variables)
    self.assert_same_function(*io.load(self.path('ours')))

  @parity.needs_torch
  def test_a_pickle_is_read_if_it_is_allowed(self):
    path = self.save_pickle()
    with self.assertRaisesRegex(errors.UserError, 'With --allow_pickle'):
      vlm_saes.load(path)
    found = vlm_saes.load(self.folder, allow_pickle=True)
    self.assertEqual(found.path, self.path(f'{NAME}.pkl'))
    self.assert_same_function(found.sae, found.variables)

  @parity.needs_torch
  def test_a_pickle_runs_no_code(self):
    trap = bin_files_test.Trap(self.path('sprung'))
    pathlib.Path(self.path(f'{NAME}.pkl')).write_bytes(pickle.dumps(trap))
    with self.assertRaisesRegex(errors.UserError, 'more than tensors'):
      vlm_saes.load(self.folder, allow_pickle=True)
    self.assertFalse(os.path.exists(self.path('sprung')))

  def test_a_layer_is_found_among_others(self):
    for layer in (8, 16, 24):
      self.save(f'sae_final_layer{layer}_8x_norm{layer}.5')
    pathlib.Path(self.path('sae_final_layer16_8x_norm16.5.pkl')).touch()
    pathlib.Path(self.path('README.md')).touch()
    found = vlm_saes.load(self.folder, layer=16)
    self.assertEqual((found.layer, found.norm), (16, 16.5))
    for layer, message in ((None, 'has 3 files'), (12, '0 files .*layer 12')):
      with self.assertRaisesRegex(
        errors.UserError, message + '.* of 8, 16, 24, or'
      ):
        vlm_saes.load(self.folder, layer=layer)

  def test_a_file_of_another_layer_is_told(self):
    with self.assertRaisesRegex(errors.UserError, '--layer=8: .* of layer 24'):
      vlm_saes.load(self.save(), layer=8)

  def test_a_norm_that_is_not_told_must_be_given(self):
    path = self.save('sae_final_layer24_8x_norm')
    with self.assertRaisesRegex(errors.UserError, 'give it by --norm'):
      vlm_saes.load(path)
    found = vlm_saes.load(path, norm=NORM)
    self.assertEqual(found.layer, 24)
    self.assert_same_function(found.sae, found.variables)
    with self.assertRaisesRegex(errors.UserError, 'give it by --norm'):
      vlm_saes.load(path, norm=-1.0)

  @parameterized.parameters(
    ({'fc3.bias': np.zeros(2)}, 'fc3.bias; expected fc1.weight'),
    ({'fc2.weight': np.zeros((S, D))}, r'fc2.weight of shape \(40, 12\)'),
    ({'fc1.weight': np.zeros(S)}, r'fc1.weight of shape \(40,\)'),
    ({'fc2.bias': np.full(D, np.nan)}, 'NaN or infinite values in fc2.bias'),
  )
  def test_other_tensors_are_told(self, changes, message):
    changes = {n: a.astype(np.float32) for n, a in changes.items()}
    with self.assertRaisesRegex(errors.UserError, message):
      vlm_saes.load(self.save(**changes))

  def test_what_is_not_there_is_told(self):
    with self.assertRaisesRegex(errors.UserError, 'download the released'):
      vlm_saes.load(self.path('none'))
    with self.assertRaisesRegex(errors.UserError, 'has 0 files .* of none'):
      vlm_saes.load(self.folder)
    pathlib.Path(self.path(f'{NAME}.safetensors')).write_bytes(b'no')
    with self.assertRaisesRegex(errors.UserError, 'cannot be read'):
      vlm_saes.load(self.folder)


if __name__ == '__main__':
  absltest.main()
