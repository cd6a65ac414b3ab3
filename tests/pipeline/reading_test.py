"""The untrained dictionary that concepts are compared with."""

import os

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from saejax import encode
from saejax import nn
from saejax import store
from saejax.pipeline import findings
from saejax.pipeline import reading
from saejax.pipeline import sides
from tests import planted

S, K = 64, 4


class UntrainedTest(parameterized.TestCase):
  @parameterized.parameters('relu', 'gated', 'jumprelu', 'batch_topk')
  def test_has_the_l0_of_the_dictionary_it_stands_beside(self, arch):
    data = planted.sample(400)
    path = os.path.join(self.create_tempdir().full_path, 'store')
    planted.write_store(path, data.image_ND, data.text_ND, (0.2, 0.5, 0.3))
    found = store.Store(path)
    sae = nn.ARCHITECTURES[arch](d=planted.D, s=S, k=K)
    variables = sae.init(jax.random.key(0), method=lambda module: module.w_dec)
    if 'threshold' in variables['params']:
      variables['params']['threshold'] = np.full(S, 0.3, np.float32)
    else:
      variables['params']['b_enc'] = np.full(S, -0.2, np.float32)
    val = tuple(
      sides.encode_side(sae, variables, found[name], 'val')
      for name in ('image', 'text')
    )
    subject = findings.Subject(
      sae=sae, variables=variables, store=found, val=val, test=val, split='val'
    )
    untrained = reading._untrained(subject)
    l0 = lambda z: z.nnz / z.shape[0]
    again = [
      l0(encode.encode(sae, untrained, s.stream, s.rows_n).z_nS) for s in val
    ]
    trained = np.mean([l0(side.z_nS) for side in val])
    expected = K if arch == 'batch_topk' else trained
    self.assertGreater(expected, 1)
    np.testing.assert_allclose(np.mean(again), expected, atol=0.02)
    w_dec = variables['params']['w_dec']
    self.assertGreater(np.abs(untrained['params']['w_dec'] - w_dec).max(), 0.1)


if __name__ == '__main__':
  absltest.main()
