"""Small models that saejax trained on its procedural world, and ships.

Each is a folder in Hugging Face layout. Its `provenance.json` says with which
command, seed, versions and time it was made, and how good it is.
"""

import os

from saejax import errors


def names() -> list[str]:
  """Models that ship."""
  here = os.path.dirname(__file__)
  found = sorted(os.listdir(here))
  return [n for n in found if os.path.exists(os.path.join(here, n, _CONFIG))]


_CONFIG = 'config.json'


def path(name: str) -> str:
  """The folder of a model that ships."""
  if name not in names():
    raise errors.UserError(
      f'saejax ships no model {name!r}; it ships {", ".join(names())}.'
    )
  return os.path.join(os.path.dirname(__file__), name)


def find(name: str) -> str:
  """The folder of a model that ships; any other name, and a folder, as is."""
  ships = name in names() and not os.path.isdir(name)
  return path(name) if ships else name
