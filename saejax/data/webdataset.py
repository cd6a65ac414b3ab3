"""WebDataset tars: samples are files of the same name but for their endings.

The headers are read once; images are then read from where they lie in the
tar, in any order, with nothing unpacked.
"""

from collections.abc import Mapping
import dataclasses
import json
import os
from typing import Any

from saejax import errors
from saejax.data import records
from saejax.data import sources
from saejax.data import tars

_IMAGES = ('jpg', 'jpeg', 'png', 'webp')
_TEXTS = ('txt', 'json')
_KEYS = ('caption', 'captions', 'text')


@dataclasses.dataclass(frozen=True, slots=True)
class _Sample:
  tar: int
  key: str
  image: tars.Span | None
  text: tars.Span | None
  is_json: bool


def _samples(tar: int, path: str) -> tuple[list[_Sample], str | None]:
  """Samples of a tar, in order of their first files, and what is wrong."""
  found: dict[str, dict[str, tars.Span]] = {}
  wrong = None
  try:
    for name, span in tars.members(path):
      folder, base = os.path.split(name)
      stem, _, ending = base.partition('.')
      if ending.lower() in (*_IMAGES, *_TEXTS):
        found.setdefault(os.path.join(folder, stem), {})[ending.lower()] = span
  except ValueError as e:
    wrong = str(e)
  samples = []
  for key, files in found.items():
    pick = lambda endings, files=files: next(
      (e for e in endings if e in files), None
    )
    image, text = pick(_IMAGES), pick(_TEXTS)
    samples.append(
      _Sample(tar, key, files.get(image), files.get(text), text == 'json')
    )
  return samples, wrong


def _said(text: bytes, is_json: bool, key: str | None) -> tuple[str, ...]:
  """The captions that a sample's text holds."""
  try:
    said = text.decode('utf-8')
    said = json.loads(said) if is_json else said
  except ValueError as e:
    raise records.RecordError(f'The caption cannot be read: {e}.') from None
  if is_json:
    keys = (key,) if key else _KEYS
    if not isinstance(said, Mapping):
      raise records.RecordError('The JSON of the caption is not an object.')
    said = next((said[k] for k in keys if k in said), None)
    if said is None:
      raise records.RecordError(f'The JSON has no {" or ".join(keys)}.')
  said = said if isinstance(said, list) else [said]
  if not all(isinstance(s, str) for s in said):
    raise records.RecordError('The JSON holds a caption that is not a text.')
  return tuple(said)


class WebDataset:
  """Samples of tars, in their order.

  A sample is an image (`.jpg`, `.jpeg`, `.png` or `.webp`) with a `.txt`, or
  else a `.json` that holds its caption. A tar that is cut short or damaged
  gives what can be read; `about['damaged']` names it.
  """

  def __init__(self, path: str, caption: str | None = None):
    """Reads the headers of all tars.

    Args:
      path: tars as `sources.matching` takes them: `data/{00000..00012}.tar`.
      caption: the key of captions in `.json` files, when it is no usual one.

    Raises:
      errors.UserError: there is no tar, one is compressed, or no tar holds an
        image.
    """
    self._paths = sources.matching(path, '.tar')
    self._caption = caption
    self._samples: list[_Sample] = []
    self._names = sources.names(self._paths)
    self._splits = [sources.split_named(p) for p in self._paths]
    damaged = {}
    for tar, file in enumerate(self._paths):
      tars.check_plain(file)
      samples, wrong = _samples(tar, file)
      self._samples.extend(samples)
      if wrong:
        damaged[self._names[tar]] = f'{len(samples)} samples, then {wrong}'
    if not any(s.image for s in self._samples):
      raise errors.UserError(
        f'{path}: no image in {len(self._paths)} tars; expected files that '
        f'end in .{", .".join(_IMAGES)}.'
        + ''.join(f' {name}: {wrong}.' for name, wrong in damaged.items())
      )
    self.about: Mapping[str, Any] = {
      'name': 'webdataset',
      'sources': self._names,
      'splits': records.count_splits([self.split(i) for i in range(len(self))]),
      'licence': 'unknown',
      'citation': 'unknown',
      'damaged': damaged,
    }

  def __len__(self) -> int:
    return len(self._samples)

  def split(self, i: int) -> str | None:
    return self._splits[self._samples[i].tar]

  def _bytes(self, sample: _Sample, span: tars.Span | None, what: str) -> bytes:
    where = f'{self._names[sample.tar]}: {sources.printable(sample.key)}'
    if span is None:
      raise records.RecordError(f'{where} has no {what}.')
    try:
      with open(self._paths[sample.tar], 'rb') as f:
        f.seek(span.start)
        found = f.read(span.size)
    except OSError as e:
      raise records.RecordError(
        f'{where} cannot be read: {e.strerror}.'
      ) from None
    if len(found) < span.size:
      raise records.RecordError(f'{where}: the tar ends within its {what}.')
    return found

  def record(self, i: int) -> records.Record:
    sample = self._samples[i]
    text = self._bytes(sample, sample.text, 'caption')
    return records.Record(
      image=self._bytes(sample, sample.image, 'image'),
      captions=_said(text, sample.is_json, self._caption),
      words={
        'tar': self._names[sample.tar],
        'key': sources.printable(sample.key),
      },
      group=i,
      split=self.split(i),
    )
