"""Which form of an op computes it: by platform, or one that is forced.

  loop    column by column, for CPUs (`entries`)
  block   in few large steps, for GPUs and TPUs (`entries_block`)
  pallas  own kernels, for TPUs (`entries_pallas`)

All give the same sums, in another order. 'auto' leaves the choice to the
platform that a function is compiled for: loop on a CPU, block elsewhere.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import contextvars
import functools
import importlib
from typing import Any

import jax
from jax import lax

from saejax import errors
from saejax.ops import entries
from saejax.ops import entries_block

FORMS = ('auto', 'loop', 'block', 'pallas')
_CURRENT = contextvars.ContextVar('kernels', default='auto')


def _pallas() -> Any:
  """The kernels; UserError where this JAX or its devices cannot have them."""
  instead = "use 'auto', which needs no kernels of its own."
  backend = jax.default_backend()
  if backend not in ('cpu', 'tpu'):
    raise errors.UserError(
      f"Kernels 'pallas' are for TPUs; the default device is {backend}: "
      f'{instead}'
    )
  try:
    return importlib.import_module('saejax.ops.entries_pallas')
  except (ImportError, AttributeError) as e:
    raise errors.UserError(
      f"Kernels 'pallas' need jax.experimental.pallas, which JAX "
      f'{jax.__version__} does not have as expected here ({e}): {instead}'
    ) from e


@contextlib.contextmanager
def kernels(form: str) -> Iterator[None]:
  """Forces the form of the ops that are traced inside, in this thread.

  Read when `sparse_decode` and `sparse_encode` are traced, like
  `jax.default_matmul_precision`, and their gradients follow. Unlike that, it
  is not part of what `jax.jit` caches by: a function that was compiled under
  one choice keeps it.

  Args:
    form: one of `FORMS`. 'pallas' on a CPU is interpreted, and slow.

  Raises:
    UserError: there is no such form, or it cannot run here.
  """
  if form not in FORMS:
    raise errors.UserError(
      f'Kernels {form!r} are not known: choose of {", ".join(FORMS)}.'
    )
  if form == 'pallas':
    _pallas()
  token = _CURRENT.set(form)
  try:
    yield
  finally:
    _CURRENT.reset(token)


def current() -> str:
  """The form that was asked for."""
  return _CURRENT.get()


def _by_platform(**branches: Callable[..., jax.Array]):
  """Of branches by platform, the one that the caller is compiled for."""

  def call(*args, **static):
    bound = {p: functools.partial(f, **static) for p, f in branches.items()}
    return lax.platform_dependent(*args, **bound)

  return call


def of(form: str, name: str) -> Callable[..., jax.Array]:
  """A function of `entries` in the form that was asked for.

  It takes arrays by position and what is static by name.
  """
  if form == 'loop':
    return getattr(entries, name)
  if form == 'block':
    return getattr(entries_block, name)
  if form == 'pallas':
    kernel = getattr(_pallas(), name)
    return _by_platform(
      cpu=functools.partial(kernel, interpret=True),
      tpu=functools.partial(kernel, interpret=False),
    )
  return _by_platform(
    cpu=getattr(entries, name), default=getattr(entries_block, name)
  )
