"""Records read, checked and decoded ahead, in threads, in their order.

Nothing that is wrong with one record ends the work: it is skipped, and what
was wrong is told. Pillow decodes and resizes without Python's lock, so that
threads use all cores.
"""

import collections
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import concurrent.futures
import dataclasses
import itertools
from typing import Any

from PIL import Image

from saejax.data import duplicates
from saejax.data import records
from saejax.data import sources

# Why something was skipped.
RECORD = 'unreadable record'
IMAGE = 'broken image'
CAPTION = 'unusable caption'
CAPTIONS = 'no usable caption'
# A model that crops would blow up a longer one to gigabytes first.
_MOST_TIMES_AS_LONG = 100

Prepare = Callable[[Image.Image], Any]


@dataclasses.dataclass(frozen=True)
class Skipped:
  """Something left out.

  Attributes:
    record: its number in the data set.
    what: the kind of reason, to count by.
    why: what exactly was wrong.
  """

  record: int
  what: str
  why: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loaded:
  """A record, ready for a model.

  Attributes:
    index: its number in the data set.
    image: what `prepare` made of the image; None if the record is skipped.
    hash: `duplicates.dhash` of the image.
    captions: those that can be used, without outer white space.
    words: for the sidecar.
    group: as `records.Record` has it, and so `split` and `label`.
    skipped: what was left out, the record itself or captions of it.
  """

  index: int
  image: Any = None
  hash: int = 0
  captions: tuple[str, ...] = ()
  words: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  group: int = 0
  split: str | None = None
  label: int | None = None
  skipped: tuple[Skipped, ...] = ()


def _usable(
  i: int, captions: Iterable[str]
) -> tuple[tuple[str, ...], tuple[Skipped, ...]]:
  kept, skipped = [], []
  for caption in captions:
    try:
      kept.append(records.check_caption(caption))
    except records.RecordError as e:
      skipped.append(Skipped(i, CAPTION, str(e)))
  if not kept:
    skipped.append(Skipped(i, CAPTIONS, 'No caption of the image can be used.'))
  return tuple(kept), tuple(skipped)


def _checked(image: Image.Image) -> Image.Image:
  short, long = sorted(image.size)
  if long > _MOST_TIMES_AS_LONG * short:
    raise records.RecordError(
      f'The image is {image.width} x {image.height}: more than '
      f'{_MOST_TIMES_AS_LONG} times as long as wide.'
    )
  return image


def _why(e: Exception) -> str:
  # The name of a file that an OSError adds would tell of one machine.
  told = e.strerror if isinstance(e, OSError) and e.strerror else str(e)
  return sources.printable(told or type(e).__name__)


def load(
  dataset: records.Dataset, i: int, prepare: Prepare, has_texts: bool = True
) -> Loaded:
  """Reads, checks, decodes and prepares record i; never fails for it.

  Args:
    dataset: where it is.
    i: its number.
    prepare: makes of an RGB image what the model takes.
    has_texts: whether captions are wanted; without, none is looked at.
  """
  try:
    record = dataset.record(i)
  except (records.RecordError, OSError) as e:
    return Loaded(index=i, skipped=(Skipped(i, RECORD, _why(e)),))
  captions, skipped = _usable(i, record.captions) if has_texts else ((), ())
  if has_texts and not captions:
    return Loaded(index=i, skipped=skipped)
  try:
    image = _checked(records.decode(record.image))
    hashed, prepared = int(duplicates.dhash(image)), prepare(image)
  # An image processor meets odd sizes in its own ways.
  except Exception as e:
    return Loaded(index=i, skipped=(*skipped, Skipped(i, IMAGE, _why(e))))
  printable = lambda v: sources.printable(v) if isinstance(v, str) else v
  return Loaded(
    index=i,
    image=prepared,
    hash=hashed,
    captions=captions,
    words={k: printable(v) for k, v in record.words.items()},
    group=record.group,
    split=record.split,
    label=record.label,
    skipped=skipped,
  )


def in_order(
  make: Callable[[int], Loaded], order: Iterable[int], workers: int, ahead: int
) -> Iterator[Loaded]:
  """Yields make(i) for each i of an order, made by threads.

  Args:
    make: such as `load` of a data set.
    order: what to make.
    workers: threads.
    ahead: how many are made or waiting at most.
  """
  order = iter(order)
  with concurrent.futures.ThreadPoolExecutor(workers) as pool:
    waiting = collections.deque(
      pool.submit(make, i) for i in itertools.islice(order, ahead)
    )
    try:
      while waiting:
        yield waiting.popleft().result()
        for i in itertools.islice(order, 1):
          waiting.append(pool.submit(make, i))
    finally:
      for future in waiting:
        future.cancel()
