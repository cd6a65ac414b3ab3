"""How every program starts, explains itself, and fails.

Status 0 on success and for --help; 2, with one line, on a user's mistake; 1,
with one line, where the machine failed us (a full disk) and what was finished
is kept; 75 (EX_TEMPFAIL) where a scheduler's signal stopped a run that saved a
checkpoint and goes on with --resume; 130 when interrupted. Anything else is a
bug and shows its traceback.
"""

from collections.abc import Callable
import dataclasses
import difflib
import errno
import inspect
import logging
import math
import os
import sys
import textwrap
from typing import Any
from typing import TypeVar

from absl import flags
from absl import logging as absl_logging

from saejax import errors
from saejax import store as store_lib

FLAGS = flags.FLAGS
REQUIRED: list[str] = []
STOPPED = 75  # Try again; and no status of a kill, which saves nothing.
_WIDTH = 78
# Of a path that was given and cannot be used, whatever is done with it.
_REFUSED = (
  errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR,
  errno.EEXIST, errno.ENAMETOOLONG,
)  # fmt: skip
T = TypeVar('T')


def config_from_flags(cls: type[T], **given: Any) -> T:
  """Fills a config dataclass from the flags of the same names."""
  names = [f.name for f in dataclasses.fields(cls) if f.name not in given]
  values = {n: FLAGS[n].value for n in names if n in FLAGS}
  as_tuple = lambda v: tuple(v) if isinstance(v, list) else v
  return cls(**{n: as_tuple(v) for n, v in values.items()}, **given)


def required(name: str, help_: str) -> flags.FlagHolder[str]:
  """Defines a string flag that must be given."""
  REQUIRED.append(name)
  return flags.DEFINE_string(name, None, help_, required=True)


def mesh_flag() -> None:
  """Defines --mesh, which `mesh_shape` reads."""
  flags.DEFINE_list(
    'mesh', None, 'Devices that split the batch and the dictionary: data,model.'
  )


def mesh_shape() -> tuple[int, int] | None:
  """--mesh as two numbers, or None."""
  if FLAGS.mesh is None:
    return None
  try:
    data, model = map(int, FLAGS.mesh)
  except ValueError:
    raise errors.UserError(
      f'--mesh={",".join(FLAGS.mesh)} is not understood: write data,model, '
      'such as 4,2.'
    ) from None
  return data, model


def numbers(
  flag: flags.FlagHolder, of: Callable[[str], float], default: float | None
) -> list[float | None]:
  """Values of a list flag of several numbers, each once."""
  if flag.value is None:
    return [default]
  try:
    found = [of(word) for word in flag.value]
  except ValueError:
    found = []
  if not found or not all(map(math.isfinite, found)):
    kind = 'whole numbers' if of is int else 'numbers'
    raise errors.UserError(
      f'--{flag.name}={",".join(flag.value)}: expected {kind} joined by commas.'
    )
  twice = [v for v in found if found.count(v) > 1]
  if twice:
    raise errors.UserError(f'--{flag.name} names {twice[0]} more than once.')
  return found


def process_flags() -> None:
  """Defines the flags of several processes, which `process_values` reads."""
  flags.DEFINE_bool(
    'distributed', False, 'One of several processes, on a cluster whose '
    'environment tells which: Slurm, TPU pods and others.'
  )  # fmt: skip
  flags.DEFINE_string(
    'coordinator', None, 'Elsewhere: address of the first process, host:port.'
  )
  flags.DEFINE_integer('num_processes', None, 'How many.')
  flags.DEFINE_integer('process_id', None, 'Which this is, from 0.')


def process_values() -> dict[str, Any]:
  """What `processes.start` takes."""
  return {
    'coordinator': FLAGS.coordinator,
    'num_processes': FLAGS.num_processes,
    'process_id': FLAGS.process_id,
    'is_cluster': FLAGS.distributed,
  }


def _own_flags() -> list[flags.Flag]:
  """The flags of this program, without those of libraries."""
  by_module = FLAGS.flags_by_module_dict()
  ours = [sys.argv[0], *(m for m in by_module if m.startswith('saejax.'))]
  return [flag for module in ours for flag in by_module.get(module, [])]


def _help(doc: str) -> str:
  """The docstring, then every flag of this program with its default."""
  lines = [inspect.cleandoc(doc), '', 'Flags:']
  for flag in _own_flags():
    default = '' if flag.default in (None, []) else flag.default_as_str
    default = default and f' [{default.strip(chr(39))}]'
    if flag.name in REQUIRED:
      default = ' Required.'
    lines += textwrap.wrap(
      f'--{flag.name}: {flag.help}{default}',
      _WIDTH,
      initial_indent='  ',
      subsequent_indent='      ',
    )
  return '\n'.join(lines)


def _flag_error(e: flags.Error) -> str:
  """absl's message as one line that says what to do."""
  text = ' '.join(str(e).split())
  if isinstance(e, flags.UnrecognizedFlagError):
    names = [flag.name for flag in _own_flags()]
    near = difflib.get_close_matches(e.flagname, names, n=1)
    hint = f' Did you mean --{near[0]}?' if near else ''
    return f'There is no flag --{e.flagname}.{hint} See --help.'
  if 'must have a value other than None' in text:
    name = text.partition('--')[2].partition('=')[0]
    return f'--{name} is missing. See --help.'
  given, _, why = text.removeprefix('flag ').partition(': ')
  for sign, expected in (
    ('invalid literal for int', 'a whole number'),
    ('could not convert string to float', 'a number'),
    ('Non-boolean argument', 'true or false'),
  ):
    why = f'expected {expected}' if sign in why else why
  return f'{given}: {why.rstrip(".")}. See --help.'


def _value_error() -> str | None:
  """What is wrong with a value that has the right type, or None."""
  for flag in _own_flags():
    if isinstance(flag.value, float) and not math.isfinite(flag.value):
      return f'--{flag.name}={flag.value}: expected a number. See --help.'
    if flag.name in REQUIRED and not flag.value:
      return f'--{flag.name} is empty. See --help.'
  return None


def _is_full_disk(e: BaseException | None) -> bool:
  """Whether a full disk is behind an exception, however it was wrapped."""
  while e is not None:
    full = isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or 'No space left on device' in str(e):
      return True
    e = e.__cause__ or e.__context__
  return False


def _fail(status: int, message: str) -> None:
  print(' '.join(message.split()), file=sys.stderr)
  sys.exit(status)


def run(main: Callable[[], None]) -> None:
  """Parses the flags, runs `main`, and maps failures to lines and statuses."""
  doc = sys.modules['__main__'].__doc__ or ''
  if {'-h', '--help', '-help', '--helpfull', '--helpshort'} & set(sys.argv[1:]):
    print(_help(doc))
    sys.exit(0)
  try:
    rest = FLAGS(sys.argv)[1:]
  except flags.Error as e:
    _fail(2, _flag_error(e))
  if rest:
    _fail(2, f'{rest[0]!r} is not a flag: write --name=value. See --help.')
  if wrong := _value_error():
    _fail(2, wrong)
  try:
    main()
  except (errors.UserError, store_lib.StoreError) as e:
    _fail(2, str(e))
  except errors.Stopped as e:
    _fail(STOPPED, str(e))
  except KeyboardInterrupt:
    _fail(130, 'Interrupted. What was finished is kept; run again to go on.')
  except Exception as e:
    if isinstance(e, OSError) and e.errno in _REFUSED and e.filename:
      _fail(2, f'{e.filename} cannot be used: {e.strerror}.')
    if not _is_full_disk(e):
      raise
    _fail(
      1,
      'The disk is full. Finished shards and checkpoints are kept: free some '
      'space and run the same command again (with --resume, for training).',
    )


def quiet() -> None:
  """Keeps libraries, imported later, from printing what no user can act on."""
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
  os.environ.setdefault('GRPC_VERBOSITY', 'ERROR')
  os.environ.setdefault('TRANSFORMERS_NO_ADVISORY_WARNINGS', '1')
  os.environ.setdefault('HF_HUB_DISABLE_TELEMETRY', '1')
  # Orbax logs, from its threads, what it raises as well.
  for logger in (absl_logging.get_absl_logger(), logging.getLogger('asyncio')):
    logger.addFilter(lambda _: False)


quiet()
