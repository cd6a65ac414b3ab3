"""plan_llava prints what a model needs, and tells mistakes in a line."""

import json
import os

from absl.testing import absltest
from absl.testing import parameterized

from tests.experiments import programs
from tests.models import llava_configs

RUNNER: programs.Programs


def setUpModule():
  global RUNNER
  RUNNER = programs.Programs()


def tearDownModule():
  RUNNER.close()


class PlanTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path
    self.path = os.path.join(self.folder, 'config.json')
    with open(self.path, 'w', encoding='utf-8') as f:
      json.dump(llava_configs.config(), f)

  def test_it_needs_neither_weights_nor_devices(self):
    flags = ['--mesh=2,4', '--batch=4', '--image_size=40,40', '--layers=1']
    done = RUNNER.run('plan_llava', [f'--model={self.path}', *flags])
    self.assertEqual((done.status, done.stderr), (0, ''))
    self.assertIn('mesh 2×4 (data×model), bfloat16, batch 4', done.stdout)
    self.assertRegex(done.stdout, r'MiB  language_model\n')
    self.assertRegex(done.stdout, r'MiB  = all\n')

  @parameterized.parameters(
    ('--mesh=2', '--mesh=2 is not understood'),
    ('--mesh=3,1', '--batch=8 cannot be split over 3 devices'),
    ('--image_size=a,b', '--image_size=0,0 is not understood'),
    ('--layers=9', 'no layer 9; the model has 3'),
    ('--dtype=int8', '--dtype=int8: value should be one of'),
    ('--model=none', 'There is no model none: expected a folder'),
    ('--model=org/none --offline', 'org/none is not in the cache .* offline'),
  )
  def test_a_mistake_is_one_line(self, flags, message):
    given = [f'--model={self.path}', *flags.split()]
    done = RUNNER.run('plan_llava', given)
    self.assertEqual((done.status, done.stdout), (2, ''))
    self.assertEqual(done.stderr.count('\n'), 1, done.stderr)
    self.assertRegex(done.stderr, message)

  def test_what_is_no_config_is_told(self):
    with open(self.path, 'w', encoding='utf-8') as f:
      f.write('{')
    done = RUNNER.run('plan_llava', [f'--model={self.path}'])
    self.assertEqual(done.status, 2)
    self.assertRegex(done.stderr, 'config.json is not JSON')


if __name__ == '__main__':
  absltest.main()
