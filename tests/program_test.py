"""How programs read their flags, and what their failures become."""

import contextlib
import dataclasses
import errno
import io
import sys
from unittest import mock

from absl import flags
from absl.testing import absltest
from absl.testing import parameterized

from saejax import errors
from saejax import program
from saejax import store

PROGRAM = 'a_program.py'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
  """Flags of a program that exists here alone."""

  store: str
  k: int = 8
  lr: float = 0.1
  splits: tuple[str, ...] = ('a',)
  mesh: tuple[int, int] | None = None
  without_flag: int = 5


class ProgramTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.flags = flags.FlagValues()
    self.enterContext(mock.patch.object(program, 'FLAGS', self.flags))
    self.enterContext(mock.patch.object(program, 'REQUIRED', ['store']))
    own = dict(flag_values=self.flags, module_name=PROGRAM)
    flags.DEFINE_string('store', None, 'Where.', required=True, **own)
    flags.DEFINE_integer('k', Config.k, 'How many.', **own)
    flags.DEFINE_float('lr', Config.lr, 'How fast.', **own)
    flags.DEFINE_bool('resume', False, 'Go on.', **own)
    flags.DEFINE_enum('arch', 'topk', ['topk', 'other'], 'Which.', **own)
    flags.DEFINE_list('splits', ['a'], 'Shares.', **own)
    flags.DEFINE_list('mesh', None, 'Devices.', **own)
    flags.DEFINE_integer(
      'stored', 0, 'Of a library.', flag_values=self.flags, module_name='lib'
    )

  def run_program(self, *given: str, main=lambda: None):
    """Status, standard output and standard error of a run."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    with (
      mock.patch.object(sys, 'argv', [PROGRAM, *given]),
      contextlib.redirect_stdout(out),
      contextlib.redirect_stderr(err),
    ):
      try:
        program.run(main)
      except SystemExit as e:
        status = e.code
    return status, out.getvalue(), err.getvalue()

  def test_a_config_takes_its_flags_and_its_own_defaults(self):
    found = []
    main = lambda: found.append(program.config_from_flags(Config))
    done = self.run_program('--store=s', '--k=3', '--splits=b,c', main=main)
    self.assertEqual(done, (0, '', ''))
    self.assertEqual(found, [Config(store='s', k=3, splits=('b', 'c'))])

  def test_what_is_given_goes_before_a_flag(self):
    found = []
    main = lambda: found.append(
      program.config_from_flags(Config, k=5, mesh=program.mesh_shape())
    )
    self.run_program('--store=s', '--k=3', '--mesh=4,2', main=main)
    self.assertEqual(found, [Config(store='s', k=5, mesh=(4, 2))])

  @parameterized.parameters('4', '4,2,1', 'a,b', '4,', '1.5,1')
  def test_a_mesh_that_is_not_two_numbers_is_refused(self, mesh):
    status, _, err = self.run_program(
      '--store=s', f'--mesh={mesh}', main=program.mesh_shape
    )
    self.assertEqual(status, 2)
    self.assertEqual(
      err,
      f'--mesh={mesh} is not understood: write data,model, such as 4,2.\n',
    )

  def test_no_mesh_is_none(self):
    found = []
    self.run_program(
      '--store=s', main=lambda: found.append(program.mesh_shape())
    )
    self.assertEqual(found, [None])

  @parameterized.parameters(
    ((), '--store is missing. See --help.'),
    (('--store=',), '--store is empty. See --help.'),
    (('--store=s', '--k=1.5'), '--k=1.5: expected a whole number.'),
    (('--store=s', '--k='), '--k=: expected a whole number.'),
    (('--store=s', '--lr=fast'), '--lr=fast: expected a number.'),
    (('--store=s', '--lr=nan'), '--lr=nan: expected a number.'),
    (('--store=s', '--lr=-inf'), '--lr=-inf: expected a number.'),
    (('--store=s', '--resume=x'), '--resume=x: expected true or false.'),
    (('--store=s', '--arch=x'), '--arch=x: value should be one of'),
    (('--store=s', '--stor=s'), 'There is no flag --stor. Did you mean --st'),
    (('--store=s', '--xyz'), 'There is no flag --xyz. See --help.'),
    (('--store=s', 'k=3'), "'k=3' is not a flag: write --name=value."),
    (('s',), '--store is missing.'),
  )
  def test_a_mistake_in_the_flags_is_one_line(self, given, message):
    main = mock.Mock()
    status, out, err = self.run_program(*given, main=main)
    self.assertEqual((status, out), (2, ''))
    self.assertStartsWith(err, message)
    self.assertEqual(err.count('\n'), 1)
    main.assert_not_called()

  def test_flags_of_libraries_are_not_suggested(self):
    _, _, err = self.run_program('--store=s', '--stores=1')
    self.assertIn('Did you mean --store?', err)
    _, _, err = self.run_program('--store=s', '--stoored=1')
    self.assertNotIn('--stored', err)

  @parameterized.parameters('--help', '-h', '-help', '--helpfull')
  def test_help_explains_the_program_and_runs_nothing(self, ask):
    main = mock.Mock()
    with mock.patch.object(
      sys.modules['__main__'], '__doc__', 'Does a thing.\n\n  In detail.\n'
    ):
      status, out, err = self.run_program('--k=x', ask, main=main)
    self.assertEqual((status, err), (0, ''))
    self.assertStartsWith(out, 'Does a thing.\n\nIn detail.\n\nFlags:\n')
    self.assertIn('  --store: Where. Required.\n', out)
    self.assertIn('  --k: How many. [8]\n', out)
    self.assertIn('  --mesh: Devices.\n', out)
    self.assertNotIn('--stored', out)
    main.assert_not_called()

  @parameterized.parameters(
    (errors.UserError('No\n  such thing.'), 2, 'No such thing.\n'),
    (store.StoreError('No store.'), 2, 'No store.\n'),
    (KeyboardInterrupt(), 130, 'Interrupted. What was finished is kept'),
    (OSError(errno.ENOSPC, 'full'), 1, 'The disk is full. Finished shards'),
    (OSError(errno.EDQUOT, 'quota'), 1, 'The disk is full.'),
    (RuntimeError('x: No space left on device (28)'), 1, 'The disk is full.'),
    (
      NotADirectoryError(errno.ENOTDIR, 'Not a directory', 'a/b'),
      2,
      'a/b cannot be used: Not a directory.\n',
    ),
    (
      PermissionError(errno.EACCES, 'Permission denied', '/a'),
      2,
      '/a cannot be used: Permission denied.\n',
    ),
  )
  def test_failures_have_a_status_and_one_line(self, failure, status, line):
    main = mock.Mock(side_effect=failure)
    found, out, err = self.run_program('--store=s', main=main)
    self.assertEqual((found, out), (status, ''))
    self.assertStartsWith(err, line)
    self.assertEqual(err.count('\n'), 1)

  @parameterized.parameters(True, False)
  def test_a_full_disk_is_known_behind_what_wraps_it(self, explicit):
    def main():
      try:
        raise OSError(errno.ENOSPC, 'full')
      except OSError as e:
        if explicit:
          raise ValueError('Could not save.') from e
        raise ValueError('Could not save.')  # noqa: B904

    status, _, err = self.run_program('--store=s', main=main)
    self.assertEqual(status, 1)
    self.assertStartsWith(err, 'The disk is full.')

  @parameterized.parameters(
    (ValueError('k'),), (OSError(errno.EIO, 'broken'),), (KeyError('k'),)
  )
  def test_what_is_our_own_fault_keeps_its_traceback(self, failure):
    with self.assertRaises(type(failure)):
      self.run_program('--store=s', main=mock.Mock(side_effect=failure))


if __name__ == '__main__':
  absltest.main()
