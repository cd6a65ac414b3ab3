"""explore, as a user runs it on a site that is there."""

import os
import signal
import subprocess
import sys
import urllib.request

from absl.testing import absltest

from tests.experiments import programs
from tests.experiments import server
from tests.explorer import synthetic


class ServeTest(absltest.TestCase):
  def test_serves_a_site_until_interrupted_and_leaves_it_as_it_is(self):
    site = os.path.join(self.create_tempdir().full_path, 'site')
    synthetic.write(site, n=20, m=9, count=0, twice=False)
    with subprocess.Popen(
      [
        *(sys.executable, '-m', 'experiments.explore'),
        *('--serve', '--port=0', f'--out={site}'),
      ],
      env=programs.ENVIRONMENT,
      cwd=server.ROOT,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
      # Where tests run in the background, SIGINT is ignored, and inherited so.
      preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
      address = process.stdout.readline().split()[0]
      self.assertRegex(address, r'^http://127\.0\.0\.1:\d+/$')
      with urllib.request.urlopen(address + 'data/index.json') as answer:
        self.assertEqual(answer.status, 200)
        self.assertIn(b'saejax-explorer/1', answer.read())
      process.send_signal(signal.SIGINT)
      try:
        status = process.wait(timeout=60)
      except subprocess.TimeoutExpired:
        process.kill()  # Or leaving the block would wait for ever.
        raise
      self.assertEqual(status, 0)
      self.assertEqual(process.stderr.read(), '')


if __name__ == '__main__':
  absltest.main()
