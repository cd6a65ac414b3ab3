"""Data set specs, as `--dataset` takes them: `name:key=value,key=value`.

  scenes:n=16384,seed=1,captions=partial,texts=3,splits=0.9/0.05/0.05
  coco:annotations=captions_train2017.json+captions_val2017.json,
       images=train2017+val2017
  karpathy:annotations=dataset_coco.json,images=coco
  folder:path=DIR                        captions.jsonl or .csv beside images
  classes:path=DIR[,names=FILE][,templates=FILE]         CLASS/*.jpg
  webdataset:path=DIR/{00000..00012}.tar[,caption=KEY]
  parquet:path=DIR/*.parquet[,image=COLUMN][,caption=COLUMN]
  tfds:name=NAME_OR_DIR[,split=train+validation][,data_dir=DIR]

All but scenes take `limit=` (the first so many records), `licence=`, `split=`
(only these of the data set's own) and `splits=hash` (forget those). Values may
hold commas, unless what follows one reads as a key.
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import re
from typing import Any

from saejax import errors
from saejax.data import class_folders
from saejax.data import coco
from saejax.data import folders
from saejax.data import parquet_images
from saejax.data import records
from saejax.data import scenes
from saejax.data import sources
from saejax.data import tfds_images
from saejax.data import webdataset
from saejax.store import splits


@dataclasses.dataclass(frozen=True, kw_only=True)
class SceneSet:
  """A finite piece of the procedural world: `scenes:n=16384,seed=1`.

  Training of the shipped model uses seed 0, so that other seeds are scenes it
  never saw.
  """

  n: int = 16_384
  seed: int = 1
  captions: str = 'partial'
  texts: int = 3  # Captions of each image.
  splits: tuple[float, ...] = splits.DEFAULT_FRACTIONS

  def __post_init__(self):
    if self.n < 1 or self.texts < 1:
      raise ValueError('n and texts must be at least 1.')
    _ = self.world
    splits.assign_splits([0], self.splits)

  @property
  def world(self) -> scenes.World:
    return scenes.World(seed=self.seed, captions=self.captions)

  def spec(self) -> str:
    """The spec that reads as this."""
    fields = dataclasses.asdict(self)
    fields['splits'] = '/'.join(map(str, self.splits))
    return 'scenes:' + ','.join(f'{k}={v}' for k, v in fields.items())


def _yes(value: str) -> bool:
  if value not in ('yes', 'no'):
    raise ValueError(value)
  return value == 'yes'


@dataclasses.dataclass(frozen=True)
class _Kind:
  """A kind of data set: its constructor, and casts of its keys' values."""

  make: Callable[..., Any]
  casts: Mapping[str, Callable[[str], Any]]
  required: tuple[str, ...] = ()


_ANNOTATED = {'annotations': sources.listed, 'images': sources.listed}
_KINDS = {
  'scenes': _Kind(
    SceneSet,
    {
      'n': int,
      'seed': int,
      'captions': str,
      'texts': int,
      'splits': lambda v: tuple(float(f) for f in v.split('/')),
    },
  ),
  'coco': _Kind(coco.Coco, _ANNOTATED, tuple(_ANNOTATED)),
  'karpathy': _Kind(coco.Karpathy, _ANNOTATED, tuple(_ANNOTATED)),
  'folder': _Kind(folders.CaptionFolder, {'path': str}, ('path',)),
  'classes': _Kind(
    class_folders.ClassFolders,
    {'path': str, 'names': str, 'templates': str},
    ('path',),
  ),
  'webdataset': _Kind(
    webdataset.WebDataset, {'path': str, 'caption': str}, ('path',)
  ),
  'parquet': _Kind(
    parquet_images.ParquetImages,
    {'path': str, 'image': str, 'caption': str},
    ('path',),
  ),
  'tfds': _Kind(
    tfds_images.TfdsImages,
    {
      'name': str,
      'split': str,
      'data_dir': str,
      'image': str,
      'caption': str,
      'templates': str,
      'download': _yes,
    },
    ('name',),
  ),
}
_COMMON = {'limit': int, 'licence': str, 'split': str, 'splits': str}


def _pairs(text: str) -> Mapping[str, str]:
  pairs = {}
  # A comma is part of a value unless a key follows it.
  for part in re.split(r',(?=[a-z_]+=|$)', text):
    key, equals, value = part.partition('=')
    if not equals and part:
      raise errors.UserError(
        f'{text!r} is not a list of key=value pairs joined by commas.'
      )
    if key in pairs:
      raise errors.UserError(f'{text!r} gives {key} twice.')
    if equals:
      pairs[key] = value
  return pairs


def _cast(spec: str, kind: _Kind, common: Mapping) -> dict[str, Any]:
  """Values of a spec's keys, of the types that they should have."""
  casts = {**common, **kind.casts}
  fields = {}
  for key, value in _pairs(spec.partition(':')[2]).items():
    if key not in casts:
      raise errors.UserError(
        f'--dataset={spec}: {key!r} is unknown; known are {", ".join(casts)}.'
      )
    try:
      fields[key] = casts[key](value)
    except ValueError:
      raise errors.UserError(
        f'--dataset={spec}: {key}={value} is not of the right type.'
      ) from None
  absent = [k for k in kind.required if not fields.get(k)]
  if absent:
    raise errors.UserError(
      f'--dataset={spec} lacks {" and ".join(f"{k}=" for k in absent)}.'
    )
  return fields


def parse(spec: str) -> SceneSet | records.Dataset:
  """Reads a spec, and opens the data set that it names.

  Args:
    spec: such as `scenes:n=4096,captions=full,splits=0.8/0.1/0.1`; the module
      lists the kinds.

  Raises:
    errors.UserError: the spec or what it names is not as it should be.
  """
  name = spec.partition(':')[0]
  if name not in _KINDS:
    raise errors.UserError(
      f'--dataset={spec} names no kind of data set that is known: '
      f'{", ".join(_KINDS)} are.'
    )
  kind = _KINDS[name]
  fields = _cast(spec, kind, {} if name == 'scenes' else _COMMON)
  own = {k: v for k, v in fields.items() if k in kind.casts}
  rest = {k: v for k, v in fields.items() if k not in kind.casts}
  try:
    found = kind.make(**own)
    if name == 'scenes':
      return found
    return records.Selection(found, **rest)
  except ValueError as e:
    raise errors.UserError(f'--dataset={spec}: {e}') from None
