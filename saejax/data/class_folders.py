"""A folder a class, as ImageNet lies on a disk."""

from collections.abc import Sequence
import itertools
import os

from saejax import errors
from saejax.data import prompts
from saejax.data import records
from saejax.data import runs
from saejax.data import sources

_WHAT = 'a class name for each class folder'


def _folders(path: str) -> list[str]:
  with os.scandir(path) as entries:
    return sorted(
      e.name for e in entries if e.is_dir() and not e.name.startswith('.')
    )


def _images(path: str) -> list[str]:
  with os.scandir(path) as entries:
    return sorted(
      e.name
      for e in entries
      if e.name.lower().endswith(sources.IMAGE_ENDINGS)
      and not e.name.startswith('.')
      and e.is_file()
    )


def _parts(root: str) -> list[tuple[str | None, str]]:
  """(split, folder of class folders), training first."""
  inside = _folders(root)
  if not inside or not all(name in sources.SPLITS for name in inside):
    return [(None, root)]
  order = list(sources.SPLITS)
  return [
    (sources.SPLITS[name], os.path.join(root, name))
    for name in sorted(inside, key=order.index)
  ]


def _tidy(name: str) -> str:
  """The first of a list of synonyms, in words."""
  return ' '.join(name.split(',')[0].replace('_', ' ').split())


def _from_file(path: str, classes: Sequence[str]) -> dict[str, str]:
  """Names by class: JSON, `class name` lines, or a name a line in order."""
  if path.endswith('.json'):
    found = sources.read_json(path, _WHAT)
    pairs = found if isinstance(found, dict) else None
    lines = found if isinstance(found, list) else []
  else:
    lines = sources.read_lines(path, _WHAT)
    pairs = dict(line.split(maxsplit=1) for line in lines if ' ' in line.strip()
                 or '\t' in line.strip())  # fmt: skip
    if not set(classes) & set(pairs):
      pairs = None
  if pairs is None:
    if len(lines) != len(classes):
      raise errors.UserError(
        f'{path} has {len(lines)} names for {len(classes)} class folders; '
        f'expected {_WHAT}.'
      )
    pairs = dict(zip(classes, lines, strict=True))
  bare = [c for c in classes if not isinstance(pairs.get(c), str)]
  if bare:
    raise errors.UserError(
      f'{path} names no class {bare[0]} ({len(bare)} of {len(classes)} are '
      'without a name).'
    )
  return pairs


class ClassFolders:
  """Images at `root/CLASS/*` or `root/SPLIT/CLASS/*`; captions are prompts.

  Every image has all prompts of its class for captions, so whoever embeds them
  meets few different texts. Classes are numbered in the order of their names.
  """

  def __init__(
    self, path: str, names: str | None = None, templates: str | None = None
  ):
    """Lists the images.

    Args:
      path: the root.
      names: a file of class names: a JSON object by class folder, a JSON list
        or lines in the order of class folders, or lines `class name`. Without
        it the folders' names are taken, with spaces for underscores.
      templates: see `prompts.read`.

    Raises:
      errors.UserError: no class or image is found, or a name is missing.
    """
    root = sources.check_folder(path, 'class folders')
    self._templates = prompts.read(templates)
    self._parts = _parts(root)
    by_part = [_folders(folder) for _, folder in self._parts]
    self._classes = sorted(set(itertools.chain.from_iterable(by_part)))
    self._names = {c: c for c in self._classes}
    if names is not None:
      self._names = _from_file(os.path.expanduser(names), self._classes)
    # Lists of names by folder: millions of images fit in memory.
    self._folders = [
      (part, c) for part, inside in enumerate(by_part) for c in inside
    ]
    self._files = [
      _images(os.path.join(self._parts[part][1], c))
      for part, c in self._folders
    ]
    self._runs = runs.Runs(
      list(map(len, self._files)), [self._parts[p][0] for p, _ in self._folders]
    )
    if not len(self):
      raise errors.UserError(
        f'{root} has {len(self._classes)} class folders and no image in them; '
        'expected CLASS/IMAGE or train/CLASS/IMAGE, with images that end in '
        f'{", ".join(sources.IMAGE_ENDINGS)}.'
      )
    self.about = {
      'name': 'classes',
      'sources': sources.names([root]),
      'splits': self._runs.counts(),
      'licence': 'unknown',
      'citation': 'unknown',
      'classes': [_tidy(self._names[c]) for c in self._classes],
      'class_folders': [sources.printable(c) for c in self._classes],
      'templates': list(self._templates),
    }

  def __len__(self) -> int:
    return len(self._runs)

  def split(self, i: int) -> str | None:
    return self._runs.split(i)

  def record(self, i: int) -> records.Record:
    folder, place = self._runs.at(i)
    part, c = self._folders[folder]
    split, root = self._parts[part]
    file = os.path.join(c, self._files[folder][place])
    return records.Record(
      image=sources.ImageFiles([root]).read(file),
      captions=prompts.fill(self._templates, _tidy(self._names[c])),
      words={'image': sources.printable(file), 'class': _tidy(self._names[c])},
      group=i,
      split=split,
      label=self._classes.index(c),
    )
