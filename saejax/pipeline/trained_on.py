"""Which layer of a language model a dictionary was trained on, as it says."""

import re

from saejax import errors
from saejax import io

STREAM = re.compile(r'layer(\d+)\.(image|caption|text)')
_EXAMPLE = 'such as layer08.image and layer08.text'


def _streams(path: str) -> tuple[str, ...]:
  config = io.read_config(path).get('provenance', {}).get('config', {})
  return tuple(config.get('streams') or ())


def layer(path: str) -> tuple[int, set[str]]:
  """The layer, and which contexts of it: image, caption, text.

  Raises:
    UserError: the dictionary was trained on other streams, or does not tell.
  """
  streams = _streams(path)
  matches = [STREAM.fullmatch(name) for name in streams]
  found = {int(m[1]) for m in matches if m}
  if None in matches or len(found) != 1:
    said = ', '.join(streams) or 'streams that its config does not tell'
    raise errors.UserError(
      f'{path} was trained on {said}; expected streams of one layer, '
      f'{_EXAMPLE}.'
    )
  return found.pop(), {m[2] for m in matches}


def check(path: str, wanted: int) -> None:
  """UserError where a dictionary says that it is of something else."""
  if not _streams(path):
    return  # Made by other means: nothing is told.
  found, _ = layer(path)
  if found != wanted:
    raise errors.UserError(
      f'--sae={path} was trained on layer {found}, and --layer={wanted}: give '
      'the layer that it reconstructs.'
    )
