"""Where a result comes from: versions, commit, hardware."""

import functools
import importlib.metadata
import os
import platform
import subprocess
from typing import Any

import jax

_PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy')


@functools.cache
def _commit() -> str | None:
  """The commit of the checkout that saejax runs from, if it is one."""
  here = os.path.dirname(os.path.abspath(__file__))
  try:
    done = subprocess.run(
      ['git', '-C', here, 'rev-parse', 'HEAD'],
      capture_output=True,
      text=True,
      timeout=10,
      check=True,
    )
  except (OSError, subprocess.SubprocessError):
    return None
  return done.stdout.strip()


def collect() -> dict[str, Any]:
  """Versions and hardware, as JSON."""
  return {
    'python': platform.python_version(),
    **{name: importlib.metadata.version(name) for name in _PACKAGES},
    'commit': _commit(),
    'platform': jax.default_backend(),
    'device': jax.devices()[0].device_kind,
    'devices': jax.device_count(),
    'processes': jax.process_count(),
    'cpus': os.cpu_count(),
  }
