"""What a device can do at most: operations and bytes a second, as measured."""

import os
import platform
import re

import jax
import jax.numpy as jnp
import numpy as np

from saejax.pipeline import timing


def matmul_peak(dtype: jnp.dtype, width: int, rounds: int) -> float:
  """Operations a second of a square matmul: what the device can do at most."""
  a = jax.random.normal(jax.random.key(0), (width, width), dtype)
  product = jax.jit(lambda a: a @ a)
  seconds = timing.in_turns({'matmul': lambda: product(a)}, rounds, 'matmul')
  return 2 * width**3 / float(np.median(seconds['matmul']))


def bandwidth(mib: int, rounds: int) -> float:
  """Bytes a second of reading an array and writing it back in place."""
  held = {'x': jnp.zeros(mib * 2**18, jnp.float32)}
  add = jax.jit(lambda x: x + 1, donate_argnums=0)

  def call():
    held['x'] = add(held['x'])
    return held['x']

  seconds = timing.in_turns({'memory': call}, rounds, 'memory')
  return 2 * mib * 2**20 / float(np.median(seconds['memory']))


def cores() -> int:
  """Cores that this process may use."""
  if hasattr(os, 'sched_getaffinity'):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def cpu_model() -> str:
  """The processor's name, as the system tells it."""
  try:
    with open('/proc/cpuinfo', encoding='utf-8') as f:
      found = re.search(r'^model name\s*:\s*(.+)$', f.read(), re.MULTILINE)
  except OSError:
    found = None
  return found[1] if found else platform.processor() or platform.machine()
