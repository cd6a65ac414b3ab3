"""Embedding that is killed, and embedding by several processes."""

import os
import subprocess
import sys

from absl.testing import absltest

from saejax import store
from tests.experiments import programs
from tests.experiments import server
from tests.pipeline import embedding_test
from tests.pipeline import pictured


def start(module: str, *arguments: str) -> subprocess.Popen:
  return subprocess.Popen(
    [sys.executable, '-m', module, *arguments],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    env=programs.ENVIRONMENT,
    cwd=server.ROOT,
    text=True,
  )


class KilledTest(absltest.TestCase):
  def test_at_any_moment_it_goes_on_to_the_same_bytes(self):
    root = self.create_tempdir().full_path
    out = self.create_tempdir().full_path
    pictured.write(root)
    done = start('tests.pipeline.killed', root, out)
    said, complaints = done.communicate()
    self.assertEqual(done.returncode, 0, complaints)
    self.assertGreater(int(said), 40)
    names = os.listdir(out)
    self.assertGreater(len(names), 10)
    whole = embedding_test.contents(os.path.join(out, 'whole'))
    for name in names:
      found = embedding_test.contents(os.path.join(out, name))
      self.assertEqual(found.keys(), whole.keys(), f'killed at {name}')
      for file, content in found.items():
        self.assertEqual(content, whole[file], f'{file}, killed at {name}')
    # Which would prove nothing if no shard had been written anew.
    about = store.Store(os.path.join(out, 'whole')).about
    self.assertEqual(about['near_duplicates_merged'], 1)


class ProcessesTest(absltest.TestCase):
  def test_two_give_the_store_of_one(self):
    root = self.create_tempdir().full_path
    out = self.create_tempdir().full_path
    pictured.write(root)
    given = ['--model=clip-scenes', f'--dataset=folder:path={root}']
    code = (
      'from saejax import program; from saejax.pipeline import '
      'embedding_records as r; r.PER_SHARD = 9; from experiments import embed; '
      'program.run(embed.main)'
    )
    run = lambda *flags: subprocess.Popen(
      [sys.executable, '-c', code, *given, *flags],
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      env=programs.ENVIRONMENT,
      cwd=server.ROOT,
      text=True,
    )
    port = programs.free_port()
    runs = [
      run(
        f'--out={out}/two',
        f'--coordinator=127.0.0.1:{port}',
        '--num_processes=2',
        f'--process_id={i}',
      )
      for i in range(2)
    ]
    runs.append(run(f'--out={out}/one'))
    for done in runs:
      said, complaints = done.communicate(timeout=300)
      self.assertEqual(done.returncode, 0, complaints)
      self.assertRegex(said, 'rows: 30 image, .* text; skipped: 7, .*images/s')
    self.assertEmpty(list(store.validate(f'{out}/two')))
    one, two = (embedding_test.contents(f'{out}/{n}') for n in ('one', 'two'))
    self.assertEqual(one.keys(), two.keys())
    for file, content in one.items():
      self.assertEqual(two[file], content, file)


if __name__ == '__main__':
  absltest.main()
