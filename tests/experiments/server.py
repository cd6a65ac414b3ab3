"""Runs programs in forks of one process, which has imported what they need.

Starting Python and importing JAX takes seconds; a fork takes none, and has
flags and devices of its own. Reads a request a line, answers with its status.
"""

import contextlib
import gc
import importlib
import json
import os
import pathlib
import runpy
import sys

from tests.experiments import full_disk

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def import_stages() -> None:
  importlib.import_module('saejax.program')
  for file in sorted((ROOT / 'saejax' / 'pipeline').glob('[!_]*.py')):
    # What cannot be imported fails in its own program, and is told there.
    with contextlib.suppress(ImportError):
      importlib.import_module(f'saejax.pipeline.{file.stem}')


def become(request) -> None:
  """Turns this process into a program's: never to return to the loop."""
  for descriptor, name, mode in (
    (0, os.devnull, os.O_RDONLY),
    (1, request['stdout'], os.O_WRONLY),
    (2, request['stderr'], os.O_WRONLY),
  ):
    os.dup2(os.open(name, mode), descriptor)
  if request['full']:
    kind, n = request['full']
    full_disk.KINDS[kind](n)
  sys.argv[1:] = request['flags']
  runpy.run_module(
    f'experiments.{request["program"]}', run_name='__main__', alter_sys=True
  )


def serve() -> None:
  import_stages()
  gc.freeze()  # Else every fork copies the heap as it ends.
  for line in sys.stdin:
    child = os.fork()
    if not child:
      become(json.loads(line))
      return
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == '__main__':
  serve()
