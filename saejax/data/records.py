"""Records of images with captions: what every reader of a data set gives."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import io
from typing import Any
from typing import Protocol

import numpy as np
from PIL import Image

from saejax import errors

# Not all that Pillow knows: an EPS file would start Ghostscript.
_FORMATS = ('JPEG', 'PNG', 'WEBP', 'GIF', 'BMP', 'TIFF', 'PPM', 'JPEG2000')
_MAX_PIXELS = 80_000_000  # Below where Pillow starts to warn of a bomb.


class RecordError(ValueError):
  """A record that cannot be used; callers skip, count and list it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
  """An image and what is said of it; RecordError where nothing is.

  Attributes:
    image: the encoded file, as it lies in the data set.
    captions: at least one; `check_caption` says which can be used.
    words: JSON for the sidecar: what the image was, without machine paths.
    group: equal for records of the same image.
    split: 'train', 'val' or 'test' of the data set's own, or None.
    label: the class, an index into `about['classes']`, or None.
  """

  image: bytes
  captions: tuple[str, ...]
  words: Mapping[str, Any]
  group: int
  split: str | None = None
  label: int | None = None

  def __post_init__(self):
    if not self.captions:
      raise RecordError('The record has no caption.')
    if not self.image:
      raise RecordError('The image has no bytes.')


class Dataset(Protocol):
  """Records in the data set's own order, whoever asks and in whatever order.

  Attributes:
    about: JSON for the manifest: `name`, `sources` (names of files without
      machine paths), `splits` (records of each own split), `licence`,
      `citation`, and what else a reader knows, such as `classes`.
  """

  about: Mapping[str, Any]

  def __len__(self) -> int: ...

  def split(self, i: int) -> str | None:
    """The own split of record i, without reading it."""
    ...

  def record(self, i: int) -> Record:
    """Reads record i; RecordError where it cannot be used."""
    ...


def count_splits(splits: Sequence[str | None]) -> dict[str, int]:
  """Records of each split, for `about`; 'none' is those that have none."""
  names = [s or 'none' for s in splits]
  return {s: names.count(s) for s in sorted(set(names))}


class Selection:
  """Some records of a data set, in its order.

  Attributes:
    about: the data set's, with the selection's numbers and licence.
  """

  def __init__(
    self,
    dataset: Dataset,
    *,
    split: str | None = None,
    splits: str = 'own',
    limit: int | None = None,
    licence: str | None = None,
  ):
    """Selects records.

    Args:
      dataset: the records to choose from.
      split: keep only these of its own splits, such as 'train+val'.
      splits: 'own', or 'hash' to forget the own splits, so that whoever writes
        the records assigns them anew by a hash of the group.
      limit: keep only the first so many.
      licence: takes the place of what the reader found.

    Raises:
      errors.UserError: nothing is left, or an argument makes no sense.
    """
    if splits not in ('own', 'hash'):
      raise errors.UserError(
        f"splits={splits} is unknown: choose 'own', the data set's, or 'hash', "
        'a hash of each image.'
      )
    if limit is not None and limit < 1:
      raise errors.UserError(f'limit={limit} must be at least 1.')
    rows = range(len(dataset))
    if split is not None:
      rows = _of_splits(dataset, split.split('+'))
    self._dataset = dataset
    self._rows = rows[:limit]
    self._hashed = splits == 'hash'
    self.about = dict(dataset.about)
    self.about['records'] = len(self)
    self.about['splits'] = count_splits(
      [self.split(i) for i in range(len(self))]
    )
    if licence is not None:
      self.about['licence'] = licence

  def __len__(self) -> int:
    return len(self._rows)

  def split(self, i: int) -> str | None:
    return None if self._hashed else self._dataset.split(int(self._rows[i]))

  def record(self, i: int) -> Record:
    record = self._dataset.record(int(self._rows[i]))
    return dataclasses.replace(record, split=None) if self._hashed else record


def _of_splits(dataset: Dataset, wanted: Sequence[str]) -> np.ndarray:
  own = [dataset.split(i) for i in range(len(dataset))]
  absent = sorted(set(wanted) - set(own))
  if absent:
    raise errors.UserError(
      f'split={"+".join(wanted)}: the data set has no records of '
      f'{", ".join(absent)}; it has {count_splits(own)}.'
    )
  return np.flatnonzero(np.isin([s or '' for s in own], wanted))


def check_caption(caption: str) -> str:
  """The caption without outer white space; RecordError if it says nothing."""
  stripped = caption.strip()
  if not stripped:
    raise RecordError('The caption is empty.')
  try:
    stripped.encode('utf-8')
  except UnicodeEncodeError:
    raise RecordError(
      'The caption holds half a surrogate pair: it is not text.'
    ) from None
  return stripped


def decode(image: bytes) -> Image.Image:
  """Decodes an image file to RGB, its pixels as they lie in the file.

  As the image processors of Hugging Face do, the orientation that EXIF asks
  for is not applied and transparency is dropped, not blended. Sixteen bits are
  cut to their upper eight. Of an animation the first frame is taken.

  Args:
    image: the encoded file.

  Raises:
    RecordError: it is no image, is cut short, is too large, or holds pixels
      that have no RGB.
  """
  try:
    with Image.open(io.BytesIO(image), formats=_FORMATS) as opened:
      width, height = opened.size
      if width * height > _MAX_PIXELS:
        raise RecordError(
          f'The image is {width} x {height}: more than {_MAX_PIXELS} pixels.'
        )
      opened.load()
      return _rgb(opened)
  except RecordError:
    raise
  except Image.UnidentifiedImageError:
    raise RecordError(
      f'The image is of no known format: it begins with {image[:8]!r}.'
    ) from None
  # Decoders meet broken bytes with errors of every kind, and one image must
  # never end a run of hours.
  except Exception as e:
    raise RecordError(f'The image cannot be decoded: {e}') from e


def _rgb(image: Image.Image) -> Image.Image:
  if image.mode == 'F':
    raise RecordError('The image has floating-point pixels of unknown range.')
  if image.mode == 'I' or image.mode.startswith('I;16'):
    gray_HW = np.clip(np.asarray(image).astype(np.int64), 0, 2**16 - 1) >> 8
    return Image.fromarray(gray_HW.astype(np.uint8)).convert('RGB')
  if 'transparency' in image.info or image.mode in ('PA', 'La', 'RGBa'):
    image = image.convert('LA' if image.mode in ('L', 'La') else 'RGBA')
  return image.convert('RGB')
