"""Class names as captions, for data sets that have labels only."""

from collections.abc import Sequence
import os

from saejax import errors
from saejax.data import sources

_SLOT = '{}'
# Worded so that no name needs 'a' or 'an'.
TEMPLATES = (
  'a picture that shows one {}.',
  'here is the {}, seen up close.',
  'a snapshot with some {} in it.',
  'a drawing of the {}.',
)


def read(value: str | None) -> tuple[str, ...]:
  """Templates with one `{}` for the name.

  Args:
    value: a file with a template a line, templates joined by `|`, or None for
      TEMPLATES.

  Raises:
    errors.UserError: a template has no place for the name.
  """
  if value is None:
    return TEMPLATES
  path = os.path.expanduser(value)
  if os.path.isfile(path):
    found = sources.read_lines(path, 'a template a line')
  elif _SLOT in value:
    found = [t.strip() for t in value.split('|')]
  else:
    raise errors.UserError(
      f'templates={value} is neither a file nor templates such as '
      f"'{TEMPLATES[0]}'."
    )
  for template in found:
    if template.count(_SLOT) != 1:
      raise errors.UserError(
        f'The template {template!r} must hold {_SLOT} once, for the name.'
      )
  return tuple(found)


def fill(templates: Sequence[str], name: str) -> tuple[str, ...]:
  """A class's captions, one for each template."""
  return tuple(t.replace(_SLOT, name) for t in templates)
