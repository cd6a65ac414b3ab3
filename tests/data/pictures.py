"""Pictures and checks that the tests of readers share."""

import io
import json
import os

import numpy as np
from PIL import Image

from saejax.data import records


def picture(seed: int, size: tuple[int, int] = (96, 64)) -> Image.Image:
  """A random picture: soft blobs of colour, as a photograph out of focus."""
  rng = np.random.default_rng(seed)
  small = rng.integers(0, 256, (12, 12, 3)).astype(np.uint8)
  return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def encode(image: Image.Image, form: str = 'JPEG', **options) -> bytes:
  out = io.BytesIO()
  image.save(out, form, **options)
  return out.getvalue()


def write(path: str, data: bytes | str) -> str:
  """Writes a file, and the folders it needs."""
  os.makedirs(os.path.dirname(path), exist_ok=True)
  with open(path, 'wb') as f:
    f.write(data.encode() if isinstance(data, str) else data)
  return path


def write_json(path: str, content) -> str:
  return write(path, json.dumps(content))


def read_all(dataset: records.Dataset) -> list:
  """Every record in order, and RecordErrors in place of those that fail."""
  found = []
  for i in range(len(dataset)):
    try:
      found.append(dataset.record(i))
    except records.RecordError as e:
      found.append(e)
  return found


def check_reader(test, dataset: records.Dataset, root: str) -> list:
  """Holds a reader to what every reader promises; gives all its records.

  Any order gives the same, splits are known beforehand, and what goes into a
  store is JSON that tells nothing of the machine.
  """
  found = read_all(dataset)
  for i in np.random.default_rng(0).permutation(2 * len(dataset)) % len(
    dataset
  ):
    if isinstance(found[i], records.RecordError):
      with test.assertRaises(records.RecordError) as caught:
        dataset.record(int(i))
      test.assertEqual(str(caught.exception), str(found[i]))
    else:
      test.assertEqual(dataset.record(int(i)), found[i])
  for i, record in enumerate(found):
    told = json.dumps(str(record))
    if not isinstance(record, records.RecordError):
      test.assertEqual(record.split, dataset.split(i))
      test.assertIsInstance(record.image, bytes)
      told = json.dumps(record.words)
    test.assertNotIn(root, told)
  test.assertNotIn(root, json.dumps(dataset.about))
  test.assertContainsSubset(
    {'name', 'sources', 'splits', 'licence', 'citation'}, dataset.about
  )
  test.assertEqual(sum(dataset.about['splits'].values()), len(dataset))
  splits = [dataset.split(i) for i in range(len(dataset))]
  test.assertEqual(dataset.about['splits'], records.count_splits(splits))
  for beyond in (len(dataset), len(dataset) + 7):
    with test.assertRaises(IndexError):
      dataset.record(beyond)
  return found
