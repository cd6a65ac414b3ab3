"""A folder of images with a table of captions beside them."""

from collections.abc import Iterator
from collections.abc import Mapping
import csv
import json
import os
from typing import Any

from saejax import errors
from saejax.data import sources

_TABLES = ('captions.jsonl', 'captions.csv', 'metadata.jsonl', 'metadata.csv')
_IMAGE = ('image', 'file_name')
_CAPTION = ('caption', 'captions', 'text')


def _table(folder: str) -> str:
  found = [t for t in _TABLES if os.path.isfile(os.path.join(folder, t))]
  if len(found) != 1:
    raise errors.UserError(
      f'{folder} holds {" and ".join(found) or "no table of captions"}; '
      f'expected one of {", ".join(_TABLES)}.'
    )
  return os.path.join(folder, found[0])


def _lines(path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
  """Rows of a table, each with the words that say where it is."""
  try:
    with open(path, encoding='utf-8-sig', newline='') as f:
      if path.endswith('.csv'):
        reader = csv.DictReader(f, strict=True)
        for row in reader:
          yield f'{path}, line {reader.line_num}', row
        return
      for number, line in enumerate(f, 1):
        if line.strip():
          row = json.loads(line)
          where = f'{path}, line {number}'
          if not isinstance(row, dict):
            raise errors.UserError(f'{where} is {row!r}; expected an object.')
          yield where, row
  except errors.UserError:
    raise
  except json.JSONDecodeError as e:
    raise errors.UserError(f'{path}, line {number} is not JSON: {e}.') from None
  except (csv.Error, OSError, UnicodeDecodeError) as e:
    raise errors.UserError(f'{path} cannot be read: {e}.') from None


def _pick(row: Mapping[str, Any], columns: tuple[str, ...], where: str) -> Any:
  for column in columns:
    if column in row:
      return row[column]
  raise errors.UserError(
    f'{where} has no {" or ".join(columns)}; it has '
    f'{", ".join(str(c) for c in row) or "nothing"}.'
  )


def _captions(value: Any, where: str) -> list[str]:
  found = value if isinstance(value, list) else [value]
  found = ['' if c is None else c for c in found]  # Counted as empty later.
  if not all(isinstance(c, str) for c in found):
    raise errors.UserError(
      f'{where} has captions {value!r}; expected a text or a list of texts.'
    )
  return found


def _split(row: Mapping[str, Any], where: str) -> str | None:
  told = row.get('split')
  if told in (None, ''):
    return None
  if not isinstance(told, str) or told not in sources.SPLITS:
    raise errors.UserError(
      f'{where} has split={told!r}; expected one of '
      f'{", ".join(sources.SPLITS)}.'
    )
  return sources.SPLITS[told]


def _rows(path: str) -> list[dict[str, Any]]:
  """One row an image, in the order in which they first come."""
  rows: dict[str, dict[str, Any]] = {}
  for where, row in _lines(path):
    image = _pick(row, _IMAGE, where)
    if not isinstance(image, str) or not image.strip():
      raise errors.UserError(f'{where} has image={image!r}; expected a name.')
    said = {'split': _split(row, where), 'group': row.get('group')}
    first = rows.setdefault(image, {'file': image, 'captions': [], **said})
    for key, value in said.items():
      if first[key] != value:
        raise errors.UserError(
          f'{where} has {key}={value!r} for {sources.printable(image)}, which '
          f'had {first[key]!r} before.'
        )
    first['captions'] += _captions(_pick(row, _CAPTION, where), where)
  if not rows:
    raise errors.UserError(f'{path} has no rows.')
  return list(rows.values())


def _whole(value: Any) -> int | None:
  """The integer that a JSON number or a CSV cell is, if it is one."""
  try:
    return int(value) if isinstance(value, (int, str)) else None
  except ValueError:
    return None


def _number_groups(path: str, rows: list[dict[str, Any]]) -> None:
  """Makes groups integers, in place; a row without one has its own.

  Integers stay as they are when all rows have one; else groups are numbered as
  they come.
  """
  wholes = [_whole(r['group']) for r in rows]
  if any(w is None or abs(w) >= 2**63 for w in wholes):
    numbers: dict[Any, int] = {}
    wholes = [
      numbers.setdefault(
        (i, None) if r['group'] in (None, '') else str(r['group']), len(numbers)
      )
      for i, r in enumerate(rows)
    ]
  split_of: dict[int, str | None] = {}
  for row, group in zip(rows, wholes, strict=True):
    if split_of.setdefault(group, row['split']) != row['split']:
      raise errors.UserError(
        f'{path}: the group {row["group"]!r} is in two splits, '
        f'{split_of[group]} and {row["split"]}.'
      )
    row['group'] = group


class CaptionFolder(sources.CaptionedFiles):
  """Images listed by `captions.jsonl` or `captions.csv` in their folder.

  Columns: `image` (or `file_name`), a path that starts from the folder;
  `caption`, `captions` or `text`, a text, or in JSON a list of them; and, when
  wanted, `split` and `group`. Lines of the same image are taken together.
  """

  def __init__(self, path: str):
    """Reads the table.

    Args:
      path: the folder.

    Raises:
      errors.UserError: the folder or table is absent, a line is not as it
        should be, or no image is found.
    """
    folder = sources.check_folder(path, 'images and a table of captions')
    table = _table(folder)
    rows = _rows(table)
    _number_groups(table, rows)
    about = {
      'name': 'folder',
      'sources': sources.names([folder, table]),
      'licence': 'unknown',
      'citation': 'unknown',
    }
    super().__init__(sources.ImageFiles([folder]), rows, about)
