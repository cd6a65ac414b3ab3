"""Stages of a long program, told as they come and go."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import time

Say = Callable[[str], None]


@contextlib.contextmanager
def stage(say: Say, what: str) -> Iterator[None]:
  """Tells what begins, and how long it took."""
  say(f'{what} …')
  start = time.perf_counter()
  yield
  say(f'  done in {time.perf_counter() - start:.0f} s')
