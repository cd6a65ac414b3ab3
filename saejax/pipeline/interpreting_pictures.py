"""The pictures of what a store is of, as a judge is shown them."""

import functools

import numpy as np

from saejax import errors
from saejax import store as store_lib
from saejax.data import judge
from saejax.data import judge_pictures
from saejax.data import records
from saejax.data import render
from saejax.data import scenes
from saejax.data import specs
from saejax.pipeline import interpreting_reading as reading

_KEPT = 512  # Decoded images; an example is shown for many concepts.


class Pictures:
  """Images by their number in a data set: whole, or where a concept fires."""

  def __init__(self, data: reading.Data):
    self._data = data
    self._pixels = functools.lru_cache(_KEPT)(self._read)
    self._whole: dict[int, judge.Picture] = {}

  def _read(self, pair: int) -> np.ndarray:
    if isinstance(self._data, specs.SceneSet):
      sampled = scenes.sample(self._data.world, np.array([pair]))
      return render.render(sampled, judge_pictures.SIDE)[0]
    try:
      record = reading.record(self._data, pair)
      return judge_pictures.small(records.decode(record.image))
    except (records.RecordError, OSError) as e:
      raise errors.UserError(
        f'--pictures: the image of record {pair} cannot be read ({e}): give '
        '--dataset, what the store was made of.'
      ) from e

  def whole(self, pair: int) -> judge.Picture:
    """An image as it is."""
    if pair not in self._whole:
      self._whole[pair] = judge_pictures.encode(self._pixels(pair))
    return self._whole[pair]

  def lit(self, pair: int, is_lit_P: np.ndarray) -> judge.Picture:
    """An image, dark but where patches are lit."""
    masked = judge_pictures.masked(self._pixels(pair), is_lit_P)
    return judge_pictures.encode(masked, is_masked=True)


def open_pictures(
  store: store_lib.Store, stream: store_lib.Stream, data: reading.Data | None
) -> Pictures:
  """The images of a store.

  Raises:
    UserError: the stream is of no images, or what it was made of is not known.
  """
  if stream.modality != 'image':
    raise errors.UserError(
      f'--pictures: stream {stream.name} is of texts. Leave it, or give '
      '--stream, one of images.'
    )
  if data is None:
    raise errors.UserError(
      f'--pictures: {store.path} keeps no images: give --dataset, what it was '
      'made of.'
    )
  return Pictures(data)
