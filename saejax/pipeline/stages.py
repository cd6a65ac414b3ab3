"""Stages of a long program, told as they come and go."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import tempfile
import time

import jax
from jax.experimental.compilation_cache import compilation_cache

Say = Callable[[str], None]
_EVERYTHING = {  # However fast it compiled, and however small it is.
  'jax_persistent_cache_min_compile_time_secs': 0.0,
  'jax_persistent_cache_min_entry_size_bytes': -1,
}


@contextlib.contextmanager
def stage(say: Say, what: str) -> Iterator[None]:
  """Tells what begins, and how long it took."""
  say(f'{what} …')
  start = time.perf_counter()
  yield
  say(f'  done in {time.perf_counter() - start:.0f} s')


@contextlib.contextmanager
def compiled_once() -> Iterator[None]:
  """Within it, what was compiled for one training serves the next like it.

  Trainings that are not traced alike jit a step each; of a small dictionary
  compiling that takes as long as a thousand steps. A cache that the user has
  set is kept.
  """
  if jax.config.jax_compilation_cache_dir:
    yield
    return
  before = {name: getattr(jax.config, name) for name in _EVERYTHING}
  with tempfile.TemporaryDirectory() as folder:
    for name, value in _EVERYTHING.items():
      jax.config.update(name, value)
    jax.config.update('jax_compilation_cache_dir', folder)
    compilation_cache.reset_cache()  # It is opened once, at its first use.
    try:
      yield
    finally:
      jax.config.update('jax_compilation_cache_dir', None)
      for name, value in before.items():
        jax.config.update(name, value)
      compilation_cache.reset_cache()
