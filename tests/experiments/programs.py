"""Runs programs as a user does, and keeps what they say."""

from collections.abc import Sequence
import dataclasses
import inspect
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile

from saejax import llava_flags
from tests.experiments import server

NAMES = sorted(f.stem for f in (server.ROOT / 'experiments').glob('[!_]*.py'))
ENVIRONMENT = os.environ | {
  'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(server.ROOT),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Done:
  """How a program ended."""

  status: int
  stdout: str
  stderr: str


class Programs:
  """Starts programs, each in a process of its own."""

  def __init__(self):
    self._folder = tempfile.TemporaryDirectory()
    self._server = subprocess.Popen(
      [sys.executable, '-m', 'tests.experiments.server'],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      env=ENVIRONMENT,
      cwd=server.ROOT,
      text=True,
    )

  def close(self) -> None:
    self._server.stdin.close()
    self._server.wait()
    self._server.stdout.close()
    self._folder.cleanup()

  def run(
    self,
    program: str,
    flags: Sequence[str],
    full: tuple[str, int] | None = None,
  ) -> Done:
    """Runs a program to its end; `full` says which write finds no room."""
    said = {
      name: pathlib.Path(self._folder.name, name)
      for name in ('stdout', 'stderr')
    }
    for path in said.values():
      path.write_text('')
    request = {'program': program, 'flags': list(flags), 'full': full}
    request |= {name: str(path) for name, path in said.items()}
    self._server.stdin.write(json.dumps(request) + '\n')
    self._server.stdin.flush()
    status = int(self._server.stdout.readline())
    return Done(status, *(path.read_text() for path in said.values()))


def defined_flags(source: str) -> list[str]:
  """Names of the flags that source text defines."""
  return re.findall(
    r"(?:flags\.DEFINE_\w+|program\.required)\(\s*'(\w+)'", source
  )


def llava_flags_of(group: str) -> list[str]:
  """Flags that a function of `llava_flags` defines, itself or by another."""
  source = inspect.getsource(getattr(llava_flags, group))
  body = source.split('\n', 1)[1]
  found = set(defined_flags(body))
  for other in re.findall(r'^  (\w+_flags)\(', body, re.MULTILINE):
    found |= set(llava_flags_of(other))
  return sorted(found)


def free_port() -> int:
  """A port for the processes of one job to meet at."""
  with socket.socket() as s:
    s.bind(('127.0.0.1', 0))
    return s.getsockname()[1]


def run_alone(program: str, flags: Sequence[str]) -> Done:
  """Runs a program in a Python of its own: slow, and nothing is shared."""
  done = subprocess.run(
    [sys.executable, '-m', f'experiments.{program}', *flags],
    capture_output=True,
    env=ENVIRONMENT,
    cwd=server.ROOT,
    text=True,
  )
  return Done(done.returncode, done.stdout, done.stderr)


def launch(arguments: Sequence[str], python: str) -> Done:
  """Runs launch.sh with a Python that is there already."""
  path = os.pathsep.join([os.path.dirname(python), os.environ['PATH']])
  done = subprocess.run(
    [str(server.ROOT / 'launch.sh'), *arguments],
    capture_output=True,
    env=ENVIRONMENT | {'SAEJAX_ENV': 'active', 'PATH': path},
    text=True,
  )
  return Done(done.returncode, done.stdout, done.stderr)
