"""Thumbnails are the rows they stand for."""

import base64
import io
import os

from absl.testing import absltest
import numpy as np
from PIL import Image

from saejax.data import render
from saejax.data import scenes
from saejax.report import pictures


def decode(uri: str) -> np.ndarray:
  head, _, coded = uri.partition(',')
  assert head == 'data:image/webp;base64', head
  with Image.open(io.BytesIO(base64.b64decode(coded))) as image:
    return np.asarray(image.convert('RGB')).astype(float)


class PicturesTest(absltest.TestCase):
  def test_scenes_are_drawn_from_their_own_world(self):
    about = {'dataset': {'name': 'scenes', 'n': 9, 'seed': 5, 'texts': 3}}
    thumbnail = pictures.of_store(about)
    drawn = render.render(scenes.sample(scenes.World(seed=5), np.arange(4)))
    for index in range(4):
      error = [
        np.abs(decode(thumbnail({'scene': index})) - other).mean()
        for other in drawn
      ]
      self.assertEqual(np.argmin(error), index)
      self.assertLess(error[index], 12)  # What WebP loses.
    self.assertIsNone(thumbnail({'caption': 'no scene'}))

  def test_files_are_made_small_and_others_left_out(self):
    folder = self.create_tempdir().full_path
    path = os.path.join(folder, 'photo.jpg')
    red = np.full((300, 600, 3), (200, 10, 10), np.uint8)
    Image.fromarray(red).save(path)
    thumbnail = pictures.of_store({'dataset': {'name': 'mine'}})
    seen = decode(thumbnail({'image': path}))
    self.assertEqual(seen.shape, (48, 96, 3))
    np.testing.assert_allclose(seen.mean((0, 1)), (200, 10, 10), atol=6)
    broken = os.path.join(folder, 'broken.jpg')
    with open(broken, 'wb') as f:
      f.write(b'not a picture')
    self.assertIsNone(thumbnail({'image': broken}))
    self.assertIsNone(thumbnail({'image': os.path.join(folder, 'gone.png')}))
    self.assertIsNone(thumbnail({}))


if __name__ == '__main__':
  absltest.main()
