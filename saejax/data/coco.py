"""COCO captions, and what else comes in its format or in Karpathy's."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import os
from typing import Any

from saejax import errors
from saejax.data import sources

_OFFICIAL = "COCO caption annotations: 'images' and 'annotations'"
_KARPATHY = "Karpathy's annotations: 'images' with 'sentences'"
_INFO = ('description', 'contributor', 'year', 'url')
_LIN = 'Lin et al., Microsoft COCO: Common Objects in Context, 2014; '
_SPLITTERS = (
  'Karpathy and Fei-Fei, Deep Visual-Semantic Alignments for Generating Image '
  'Descriptions, 2015 (splits)'
)


def _dicts(found: Any, key: str, path: str, expected: str) -> list[dict]:
  """A list of objects of an annotation file, or errors.UserError."""
  rows = found.get(key) if isinstance(found, dict) else None
  if not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows):
    got = f'{type(found).__name__} of {len(found)}'
    if isinstance(found, dict):
      got = f'keys {", ".join(map(str, list(found)[:8])) or "none"}'
    raise errors.UserError(
      f'{path} has no list {key!r} ({got}); expected {expected}.'
    )
  return rows


def _field(row: Mapping[str, Any], key: str, kind, where: str):
  value = row.get(key)
  # JSON's true is an int to Python.
  if not isinstance(value, kind) or isinstance(value, bool):
    raise errors.UserError(
      f'{where} has {key}={value!r}; expected {kind.__name__}.'
    )
  return value


def _official_rows(path: str, found: dict) -> Iterator[dict]:
  """Images of one annotation file, in its order, with their captions."""
  captions: dict[int, list[str]] = {}
  for i, image in enumerate(_dicts(found, 'images', path, _OFFICIAL)):
    key = _field(image, 'id', int, f'{path}: image {i}')
    if key in captions:
      raise errors.UserError(f'{path} lists the image {key} twice.')
    captions[key] = []
  for i, said in enumerate(_dicts(found, 'annotations', path, _OFFICIAL)):
    where = f'{path}: annotation {i}'
    key = _field(said, 'image_id', int, where)
    if key not in captions:
      raise errors.UserError(f'{where} is of image {key}, which is not listed.')
    captions[key].append(_field(said, 'caption', str, where))
  # Optional, so whatever else it may be is let pass.
  licences = found.get('licenses')
  licences = {
    str(v.get('id')): str(v.get('name'))
    for v in (licences if isinstance(licences, list) else ())
    if isinstance(v, dict)
  }
  for image in found['images']:
    words = {'id': image['id']}
    if (licence := str(image.get('license'))) in licences:
      words['licence'] = licences[licence]
    yield {
      'file': _field(image, 'file_name', str, f'{path}: image {image["id"]}'),
      'captions': captions[image['id']],
      'words': words,
      'group': image['id'],
      'split': sources.split_named(path),
    }


def _check_some(rows: Sequence[dict]) -> None:
  if not rows:
    raise errors.UserError('The annotations list no image.')


class Coco(sources.CaptionedFiles):
  """Files such as `captions_train2017.json`, whose names tell the split."""

  def __init__(self, annotations: Sequence[str], images: Sequence[str]):
    """Reads annotations of one release.

    Args:
      annotations: JSON files.
      images: folders that file names start from.

    Raises:
      errors.UserError: a file or folder is absent or wrong, no image is found,
        or one is listed twice.
    """
    folders = [sources.check_folder(p, 'images') for p in images]
    rows, cited, seen = [], [], {}
    for path in annotations:
      found = sources.read_json(path, _OFFICIAL)
      for row in _official_rows(path, found):
        if row['group'] in seen:
          raise errors.UserError(
            f'The image {row["group"]} is in both {seen[row["group"]]} and '
            f'{path}: give annotations of one release.'
          )
        rows.append(row)
      seen |= {r['group']: path for r in rows[len(seen) :]}
      if isinstance(info := found.get('info'), dict):
        cited.append(', '.join(str(info[k]) for k in _INFO if info.get(k)))
    licences = [r['words'].get('licence', 'unknown') for r in rows]
    counts = {name: licences.count(name) for name in sorted(set(licences))}
    about = {
      'name': 'coco',
      'sources': sources.names([*annotations, *images]),
      'licence': '; '.join(counts),
      'image_licences': counts,
      'citation': '; '.join(dict.fromkeys(c for c in cited if c)) or 'unknown',
    }
    _check_some(rows)
    super().__init__(sources.ImageFiles(folders), rows, about)


def _karpathy_rows(path: str, found: dict) -> Iterator[dict]:
  for i, image in enumerate(_dicts(found, 'images', path, _KARPATHY)):
    where = f'{path}: image {i}'
    split = _field(image, 'split', str, where)
    if split not in sources.SPLITS:
      raise errors.UserError(
        f'{where} has split={split!r}; expected one of '
        f'{", ".join(sources.SPLITS)}.'
      )
    key = image.get('cocoid', image.get('imgid', i))
    if not isinstance(key, int):
      raise errors.UserError(f'{where} has id {key!r}; expected int.')
    name = _field(image, 'filename', str, where)
    sentences = _dicts(image, 'sentences', where, _KARPATHY)
    yield {
      # Flickr's data sets, split by the same hand, have no `filepath`.
      'file': os.path.join(image.get('filepath') or '', name),
      'captions': [_field(s, 'raw', str, where) for s in sentences],
      'words': {'id': key},
      'group': key,
      'split': sources.SPLITS[split],
    }


class Karpathy(sources.CaptionedFiles):
  """Karpathy's `dataset_coco.json`; `restval` counts as training.

  Images lie at `filepath/filename` in one of the folders, or at `filename`.
  """

  def __init__(self, annotations: Sequence[str], images: Sequence[str]):
    """As `Coco`."""
    folders = [sources.check_folder(p, 'images') for p in images]
    rows, cited = [], _SPLITTERS
    for path in annotations:
      found = sources.read_json(path, _KARPATHY)
      rows.extend(_karpathy_rows(path, found))
      if found.get('dataset') == 'coco':
        cited = _LIN + _SPLITTERS
    _check_some(rows)
    files = sources.ImageFiles(folders)
    if not files.holds_some([r['file'] for r in rows]):
      for row in rows:
        row['file'] = os.path.basename(row['file'])
    about = {
      'name': 'karpathy',
      'sources': sources.names([*annotations, *images]),
      'licence': 'unknown',
      'citation': cited,
    }
    super().__init__(files, rows, about)
