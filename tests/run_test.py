"""A run's folder: begun, taken up again, refused."""

import json
import os

from absl.testing import absltest
from absl.testing import parameterized

from saejax import errors
from saejax import run

CONFIG = {'k': 8, 'streams': ('image', 'text'), 'mesh': None}


class RunTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.out = os.path.join(self.create_tempdir().full_path, 'runs', 'one')

  def write(self, name: str, text: str = 'mine'):
    os.makedirs(self.out, exist_ok=True)
    with open(os.path.join(self.out, name), 'w') as f:
      f.write(text)

  def test_a_new_folder_records_what_was_asked_and_with_what(self):
    run.open_folder(self.out, CONFIG)
    self.assertEqual(os.listdir(self.out), ['run.json'])
    found = run.read(self.out)
    self.assertEqual(found['format'], 'saejax-run')
    self.assertEqual(found['config'], run.as_json(CONFIG))
    for name in ('jax', 'numpy', 'python', 'commit', 'device', 'devices'):
      self.assertIn(name, found['provenance'])

  def test_an_empty_folder_is_as_good_as_none(self):
    os.makedirs(self.out)
    run.open_folder(self.out, CONFIG)
    self.assertEqual(os.listdir(self.out), ['run.json'])

  def test_checking_touches_nothing(self):
    run.check_folder(self.out, CONFIG)
    self.assertFalse(os.path.exists(os.path.dirname(self.out)))

  def test_the_same_settings_go_on_and_keep_the_record(self):
    run.open_folder(self.out, CONFIG)
    with open(os.path.join(self.out, 'run.json')) as f:
      before = f.read()
    self.write('metrics.jsonl')
    run.open_folder(self.out, CONFIG, resume=True)
    with open(os.path.join(self.out, 'run.json')) as f:
      self.assertEqual(f.read(), before)

  def test_what_a_kill_left_of_the_record_is_nothing(self):
    self.write('run.json.tmp', '{"form')
    run.open_folder(self.out, CONFIG)
    self.assertEqual(run.read(self.out)['config']['k'], 8)

  def test_another_run_is_refused(self):
    run.open_folder(self.out, CONFIG)
    with self.assertRaisesRegex(errors.UserError, 'another run. Add --resume'):
      run.open_folder(self.out, CONFIG)

  def test_other_settings_are_listed_each_with_both_values(self):
    run.open_folder(self.out, CONFIG)
    asked = CONFIG | {'k': 9, 'mesh': (2, 1)}
    with self.assertRaisesRegex(
      errors.UserError, r'\(k: 8 → 9, mesh: None → \[2, 1\]\)'
    ):
      run.check_folder(self.out, asked, resume=True)

  @parameterized.parameters(True, False)
  def test_other_files_are_refused_and_left_alone(self, resume):
    self.write('thesis.tex')
    with self.assertRaisesRegex(errors.UserError, 'such as thesis.tex'):
      run.open_folder(self.out, CONFIG, resume)
    self.assertEqual(os.listdir(self.out), ['thesis.tex'])

  def test_a_file_is_no_folder(self):
    path = self.create_tempfile('notes.txt', 'mine').full_path
    with self.assertRaisesRegex(errors.UserError, 'is a file; name a folder'):
      run.check_folder(path, CONFIG)

  @parameterized.parameters(
    (None, 'There is no run at'),
    ('{"config": {', 'run.json is not valid JSON'),
    ('[1]', 'run.json is not valid JSON: it holds no'),
  )
  def test_missing_and_damaged_records_are_told(self, text, message):
    if text:
      self.write('run.json', text)
    with self.assertRaisesRegex(errors.UserError, message):
      run.read(self.out)

  def test_as_json_is_what_reads_back(self):
    data = {'a': (1, (2, 3)), 'b': None, 'é': 1.5}
    self.assertEqual(run.as_json(data), json.loads(json.dumps(data)))
    self.assertEqual(run.as_json(data)['a'], [1, [2, 3]])


if __name__ == '__main__':
  absltest.main()
