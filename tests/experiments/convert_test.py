"""What convert writes is what train_sae would, and says where it is from."""

import json
import os

from absl.testing import absltest
import numpy as np

from saejax import io
from tests.experiments import programs
from tests.formats import vlm_saes_test


class ConvertTest(absltest.TestCase):
  def test_a_released_file_becomes_a_dictionary(self):
    folder = self.create_tempdir().full_path
    path = os.path.join(folder, f'{vlm_saes_test.NAME}.safetensors')
    tensors = vlm_saes_test.tensors()
    vlm_saes_test.safetensors.numpy.save_file(tensors, path)
    out = os.path.join(folder, 'made', 'sae')
    done = programs.run_alone(
      'convert', [f'--from=vlm-saes:{folder}', f'--to=saejax:{out}']
    )
    self.assertEqual((done.status, done.stderr), (0, ''))
    self.assertEqual(done.stdout, f'40 concepts of width 12, layer 24\n{out}\n')
    sae, variables = io.load(out)
    rng = np.random.default_rng(0)
    x_BD = rng.normal(size=(8, vlm_saes_test.D)).astype(np.float32)
    _, expected = vlm_saes_test.theirs(tensors, x_BD)
    np.testing.assert_allclose(
      sae.apply(variables, x_BD).xhat_BD, expected, rtol=1e-4, atol=1e-4
    )
    with open(os.path.join(out, io.CONFIG), encoding='utf-8') as f:
      told = json.load(f)['provenance']
    self.assertEqual(
      (told['format'], told['file'], told['layer'], told['mean_norm']),
      ('vlm-saes', os.path.basename(path), 24, vlm_saes_test.NORM),
    )


if __name__ == '__main__':
  absltest.main()
