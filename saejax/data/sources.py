"""The files of a data set: found, named without machine paths, and read."""

from collections.abc import Iterator
from collections.abc import Sequence
import glob
import itertools
import json
import os
import re
from typing import Any

from saejax import errors
from saejax.data import records

IMAGE_ENDINGS = (
    '.jpg', '.jpeg', '.png', '.webp', '.gif', '.bmp', '.tif', '.tiff',
)  # fmt: skip
SPLITS = {
  'train': 'train',
  'training': 'train',
  'restval': 'train',  # What Karpathy's split adds to training.
  'val': 'val',
  'valid': 'val',
  'validation': 'val',
  'dev': 'val',
  'test': 'test',
  'testing': 'test',
}
_WORD = re.compile('[a-z]+')
_BRACES = re.compile(r'\{([^{}]*)\}')
_LOOKED_FOR = 16  # Images looked for before work starts.


def split_named(path: str) -> str | None:
  """The split that a file's name tells, or its folder's if that is all of it.

  `captions_train2017.json` and `validation/0000.parquet` tell; a name that
  tells two does not.
  """
  folder, name = os.path.split(path)
  found = {SPLITS[w] for w in _WORD.findall(name.lower()) if w in SPLITS}
  if not found:
    folder = os.path.basename(folder).lower()
    found = {SPLITS[folder]} if folder in SPLITS else set()
  return found.pop() if len(found) == 1 else None


def printable(name: str) -> str:
  """A file's name as text that UTF-8 can hold, whatever bytes it is."""
  return name.encode('utf-8', 'backslashreplace').decode('utf-8')


def names(paths: Sequence[str]) -> list[str]:
  """Names without machine paths."""
  return [printable(os.path.basename(os.path.normpath(p))) for p in paths]


def listed(value: str) -> list[str]:
  """Paths joined by `+`, which a path that exists may also hold."""
  whole = os.path.expanduser(value)
  if os.path.exists(whole):
    return [whole]
  return [os.path.expanduser(p) for p in value.split('+')]


def _expanded(pattern: str) -> Iterator[str]:
  """Writes out `{00..12}` and `{a,b}`, as a shell does."""
  found = _BRACES.search(pattern)
  if not found:
    yield pattern
    return
  body = found.group(1)
  first, dots, last = body.partition('..')
  if dots and first.isdecimal() and last.isdecimal():
    width = len(first) if first.startswith('0') else 0
    choices = [f'{i:0{width}d}' for i in range(int(first), int(last) + 1)]
  else:
    choices = body.split(',')
  for choice in choices:
    yield from _expanded(
      pattern[: found.start()] + choice + pattern[found.end() :]
    )


def matching(value: str, ending: str) -> list[str]:
  """Files that a path, folder, glob or brace pattern names, in order.

  Args:
    value: such as `data/{000..012}.tar`, `data/*.tar` or `data`, or several
      of these joined by `+`.
    ending: of the files wanted of a folder.

  Raises:
    errors.UserError: a part of the pattern names no file.
  """
  found = []
  for part in itertools.chain.from_iterable(map(_expanded, listed(value))):
    if os.path.isdir(part):
      part = os.path.join(glob.escape(part), f'*{ending}')
    exact = [part] if os.path.isfile(part) else []
    matched = exact or sorted(filter(os.path.isfile, glob.glob(part)))
    if not matched:
      raise errors.UserError(
        f'{part} names no file; expected {ending} files. Check the path.'
      )
    found.extend(matched)
  if len(set(found)) < len(found):
    twice = sorted(p for p in set(found) if found.count(p) > 1)
    raise errors.UserError(f'{value} names {twice[0]} more than once.')
  return found


def check_folder(path: str, what: str) -> str:
  """The folder's path; errors.UserError unless it is one."""
  path = os.path.expanduser(path)
  if not os.path.isdir(path):
    got = 'a file' if os.path.exists(path) else 'not there'
    raise errors.UserError(f'{path} is {got}; expected a folder of {what}.')
  return path


def read_json(path: str, what: str) -> Any:
  """The content of a JSON file; errors.UserError where it has none."""
  try:
    with open(path, encoding='utf-8') as f:
      return json.load(f)
  except OSError as e:
    raise errors.UserError(
      f'{path} cannot be opened ({e.strerror}); expected {what}.'
    ) from None
  except ValueError as e:
    raise errors.UserError(
      f'{path} is not JSON ({e}); expected {what}.'
    ) from None


def read_lines(path: str, what: str) -> list[str]:
  """Lines of a text file that are not empty; errors.UserError if none are."""
  try:
    with open(path, encoding='utf-8-sig') as f:
      lines = [line.strip() for line in f if line.strip()]
  except OSError as e:
    raise errors.UserError(
      f'{path} cannot be opened ({e.strerror}); expected {what}.'
    ) from None
  except UnicodeDecodeError as e:
    raise errors.UserError(f'{path} is not UTF-8 text: {e}.') from None
  if not lines:
    raise errors.UserError(f'{path} is empty; expected {what}.')
  return lines


class ImageFiles:
  """Image files by name, in the first of several folders that has each."""

  def __init__(self, folders: Sequence[str]):
    self._folders = list(folders)

  def find(self, name: str) -> str | None:
    # An absolute name would pass by every folder, and tell of one machine.
    if os.path.isabs(name):
      return None
    for folder in self._folders:
      path = os.path.join(folder, name)
      if os.path.isfile(path):
        return path
    return None

  def holds_some(self, wanted: Sequence[str]) -> bool:
    """Whether of a spread of the wanted files at least one is there."""
    spread = wanted[:: max(len(wanted) // _LOOKED_FOR, 1)]
    return any(self.find(name) for name in spread)

  def check(self, wanted: Sequence[str]) -> None:
    """errors.UserError unless `holds_some`."""
    if not self.holds_some(wanted):
      raise errors.UserError(
        f'{" and ".join(self._folders)} holds none of the images that were '
        f'looked for, such as {printable(wanted[0])}. Give the folder that '
        'their names start from.'
      )

  def read(self, name: str) -> bytes:
    """The bytes of an image file; RecordError where there are none."""
    path = self.find(name)
    if path is None:
      raise records.RecordError(f'There is no image {printable(name)}.')
    try:
      with open(path, 'rb') as f:
        return f.read()
    except OSError as e:
      raise records.RecordError(
        f'The image {printable(name)} cannot be read: {e.strerror}.'
      ) from None


class CaptionedFiles:
  """Records whose captions are in memory and whose images are files.

  A row has `file`, `captions`, `group`, `split`, and what else is told of the
  image in `words`.
  """

  def __init__(
    self, images: ImageFiles, rows: Sequence[dict[str, Any]], about: dict
  ):
    """Takes rows; errors.UserError if none of their images is there."""
    images.check([r['file'] for r in rows])
    self._images = images
    self._rows = rows
    splits = records.count_splits([r['split'] for r in rows])
    self.about = about | {'splits': splits}

  def __len__(self) -> int:
    return len(self._rows)

  def split(self, i: int) -> str | None:
    return self._rows[i]['split']

  def record(self, i: int) -> records.Record:
    row = self._rows[i]
    return records.Record(
      image=self._images.read(row['file']),
      captions=tuple(row['captions']),
      words={'image': printable(row['file']), **row.get('words', {})},
      group=row['group'],
      split=row['split'],
    )
