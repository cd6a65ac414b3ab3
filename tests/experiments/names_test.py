"""What launch.sh says of the programs there are, and of one there is not."""

import sys

from absl.testing import absltest

from tests.experiments import programs


class LaunchTest(absltest.TestCase):
  def test_a_name_that_is_no_program_is_told(self):
    done = programs.launch(['magic'], python=sys.executable)
    self.assertEqual((done.status, done.stdout), (2, ''))
    self.assertEqual(
      done.stderr,
      "There is no program 'magic'. ./launch.sh --help lists them.\n",
    )

  def test_help_lists_every_program_with_what_it_does(self):
    done = programs.launch(['--help'], python=sys.executable)
    self.assertEqual((done.status, done.stderr), (0, ''))
    for program in programs.NAMES:
      self.assertRegex(done.stdout, rf'(?m)^  {program} +[A-Z].*\.$')


if __name__ == '__main__':
  absltest.main()
