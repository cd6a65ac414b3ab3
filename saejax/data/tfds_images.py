"""Data sets prepared by TensorFlow Datasets, read without TensorFlow.

Only random-access formats can be read so, `array_record` above all.
"""

from collections.abc import Mapping
import re
from typing import Any

import numpy as np

from saejax import errors
from saejax.data import prompts
from saejax.data import records
from saejax.data import runs
from saejax.data import sources
from saejax.data import tfds_folders

_CAPTIONS = ('captions', 'caption', 'text', 'texts', 'sentences')
_NAMED = re.compile(r'(^|[/_])(id|filename|file_name)$')


def _is_text(feature) -> bool:
  inner = getattr(feature, 'feature', feature)  # Of a sequence.
  return isinstance(inner, tfds_folders.tfds().features.Text)


def _find(leaves: Mapping, fits, asked: str | None, usual=None):
  """The path of the feature asked for, else of the first usual one that fits.

  `usual` names the feature, or what holds it; without it any that fits will do.
  """
  found = [path for path, feature in leaves.items() if fits(feature)]
  if asked is not None:
    found = [path for path in found if asked in ('/'.join(path), path[0])]
  elif usual is not None:
    found = [path for name in usual for path in found if path[0] == name]
  return found[0] if found else None


def _texts(value: Any) -> tuple[str, ...]:
  texts = value if isinstance(value, (list, tuple, np.ndarray)) else [value]
  try:
    return tuple(t.decode() if isinstance(t, bytes) else str(t) for t in texts)
  except UnicodeDecodeError as e:
    raise records.RecordError(f'The caption is not UTF-8: {e}.') from None


class TfdsImages:
  """Examples of a prepared data set: an image, with captions or a label.

  Labels are told by prompts, as in `ClassFolders`. TFDS shuffles examples when
  it prepares them: their order is that of its files.
  """

  def __init__(
    self,
    name: str,
    split: str | None = None,
    data_dir: str | None = None,
    image: str | None = None,
    caption: str | None = None,
    templates: str | None = None,
    download: bool = False,
  ):
    """Opens the files.

    Args:
      name: a prepared folder, or a name such as `coco_captions/2014:1.1.0`.
      split: TFDS's own, joined by `+`: `train[:50%]+validation`; all of them
        whose role is known by default.
      data_dir: where prepared data sets lie; TFDS's default without it.
      image: the feature of images, when there are several.
      caption: the feature of captions, when it has no usual name.
      templates: see `prompts.read`.
      download: whether TFDS may download and prepare what is not there.

    Raises:
      errors.UserError: nothing is prepared, it cannot be read without
        TensorFlow, or a split or feature is absent.
    """
    folder = tfds_folders.find(name, data_dir)
    if folder is None and not download:
      raise errors.UserError(
        f'{name} is neither a prepared TFDS folder nor one in '
        f'{data_dir or "TFDS_DATA_DIR or ~/tensorflow_datasets"}. Give the '
        f'folder that holds {tfds_folders.INFO}, or add download=yes.'
      )
    builder = tfds_folders.open_builder(
      folder or tfds_folders.prepare(name, data_dir)
    )
    self._info = builder.info
    self._templates = prompts.read(templates)
    self._choose(image, caption)
    self._parts = self._split_names(split)
    skip = tfds_folders.tfds().decode.SkipDecoding()
    self._sources = [
      tfds_folders.open_source(builder, part, dict.fromkeys(self._images, skip))
      for part in self._parts
    ]
    self._runs = runs.Runs(
      list(map(len, self._sources)), [_own(p) for p in self._parts]
    )
    if not len(self):
      raise errors.UserError(f'{name} has no examples in {self._parts}.')
    self.about = self._about()

  def _choose(self, image: str | None, caption: str | None) -> None:
    """Finds the features that records are made of."""
    features = tfds_folders.tfds().features
    leaves = dict(tfds_folders.leaves(self._info.features))
    self._ids = [p for p in leaves if len(p) == 1 and _NAMED.search(p[0])]
    tops = {p: f for p, f in leaves.items() if len(p) == 1}
    is_image = lambda f: isinstance(f, features.Image)
    self._images = [p[0] for p, f in tops.items() if is_image(f)]
    self._image = _find(tops, is_image, image)
    self._caption = _find(leaves, _is_text, caption, _CAPTIONS)
    is_label = lambda f: isinstance(f, features.ClassLabel)
    self._label = _find(tops, is_label, None)
    self._classes = leaves[self._label].names if self._label else []
    missing = None
    if not self._image:
      missing = f'image {image or ""}'.strip()
    elif not self._caption and (caption or not self._label):
      missing = f'text {caption or " or ".join(_CAPTIONS)}'
    if missing:
      raise errors.UserError(
        f'{self._info.full_name} has no feature of {missing}; it has '
        f'{", ".join("/".join(p) for p in leaves)}.'
      )

  def _split_names(self, split: str | None) -> list[str]:
    if split is not None:
      return split.split('+')
    order = list(sources.SPLITS)
    own = list(self._info.splits)
    known = sorted((s for s in own if s in order), key=order.index)
    return known or own

  def _about(self) -> dict[str, Any]:
    told = self._info.redistribution_info
    about = {
      'name': f'tfds/{self._info.full_name}',
      'sources': self._parts,
      'splits': self._runs.counts(),
      'licence': (told and told.license) or 'unknown',
      'citation': self._info.citation or 'unknown',
    }
    if self._classes:
      about['classes'] = list(self._classes)
    if not self._caption:
      about['templates'] = list(self._templates)
    return about

  def __len__(self) -> int:
    return len(self._runs)

  def split(self, i: int) -> str | None:
    return self._runs.split(i)

  def record(self, i: int) -> records.Record:
    part, row = self._runs.at(i)
    try:
      example = self._sources[part][row]
    # A damaged file fails in a decoder's own way.
    except Exception as e:
      raise records.RecordError(
        f'{self._parts[part]}: example {row} cannot be read: {e}'
      ) from e
    label = int(example[self._label[0]]) if self._label else -1
    label = label if label >= 0 else None  # TFDS's own mark of no label.
    if self._caption:
      captions = _texts(tfds_folders.walk(example, self._caption))
    elif label is not None:
      name = self._classes[label].replace('_', ' ')
      captions = prompts.fill(self._templates, name)
    else:
      raise records.RecordError('The example has no label.')
    ids = {p[0]: _json(example[p[0]]) for p in self._ids}
    return records.Record(
      image=example[self._image[0]],
      captions=captions,
      words={'tfds_split': self._parts[part], 'row': row, **ids},
      group=i,
      split=self.split(i),
      label=label,
    )


def _own(part: str) -> str | None:
  """Our name for the role of a split such as `validation[:50%]`."""
  return sources.SPLITS.get(part.partition('[')[0])


def _json(value: Any) -> Any:
  if isinstance(value, bytes):
    return value.decode('utf-8', 'backslashreplace')
  if isinstance(value, np.generic):
    return value.item()
  return value if isinstance(value, (str, int)) else str(value)
