"""Several launch.sh that start at once on one folder."""

import os
import signal
import subprocess
import time

from absl.testing import absltest

from tests.experiments import programs
from tests.experiments import server

# A Python that makes environments of itself, slowly, and writes down what it
# was asked; its pip takes longer still where a file says so.
PYTHON = """#!/usr/bin/env bash
case "$1 $2" in
  -c*) exit 0 ;;
  '-m venv')
    echo venv >>"$LOG"
    sleep 0.2
    mkdir -p "$4/bin"
    cp "$0" "$4/bin/python"
    sleep 0.2
    ;;
  '-m pip')
    echo pip >>"$LOG"
    sleep 0.4
    [ ! -e "$LOG.slow" ] || sleep 60
    ;;
  *) echo "run $2" >>"$LOG" ;;
esac
"""


class LaunchTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path
    self.python = os.path.join(self.folder, 'python')
    with open(self.python, 'w') as f:
      f.write(PYTHON)
    os.chmod(self.python, 0o755)
    self.log = os.path.join(self.folder, 'log')
    self.lock = os.path.join(self.folder, 'new', 'venv.lock')

  def start(self) -> subprocess.Popen:
    return subprocess.Popen(
      [str(server.ROOT / 'launch.sh'), 'train_sae'],
      env=programs.ENVIRONMENT
      | {
        'LOG': self.log,
        'SAEJAX_ENV': '',
        'SAEJAX_PYTHON': self.python,
        'SAEJAX_VENV': os.path.join(self.folder, 'new', 'venv'),
      },
      stderr=subprocess.PIPE,
      text=True,
      start_new_session=True,
    )

  def end(self, launches) -> list[str]:
    for launch in launches:
      _, complaints = launch.communicate(timeout=60)
      self.assertEqual(launch.returncode, 0, complaints)
    self.assertFalse(os.path.exists(self.lock))
    return self.logged()

  def logged(self) -> list[str]:
    with open(self.log) as f:
      return f.read().splitlines()

  def test_one_makes_the_environment_and_all_run(self):
    found = self.end([self.start() for _ in range(4)])
    self.assertEqual(found, ['venv', 'pip', *['run experiments.train_sae'] * 4])
    self.assertLen(self.end([self.start()]), 7)

  def test_a_killed_one_is_not_waited_for(self):
    for number, left in ((signal.SIGKILL, True), (signal.SIGTERM, False)):
      open(f'{self.log}.slow', 'w').close()
      first = self.start()
      while not os.path.exists(self.log) or self.logged()[-1:] != ['pip']:
        time.sleep(0.02)
      os.killpg(first.pid, number)
      first.communicate()
      self.assertEqual(os.path.exists(self.lock), left)
      os.remove(f'{self.log}.slow')
      found = self.end([self.start() for _ in range(3)])
      self.assertEqual(found[-4:], ['pip', *['run experiments.train_sae'] * 3])
      os.remove(self.log)
      os.remove(f'{self.folder}/new/venv/.saejax-core')


if __name__ == '__main__':
  absltest.main()
