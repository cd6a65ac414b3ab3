"""Records: what decodes to which pixels, what is refused, what is selected."""

import struct
import warnings
import zlib

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from PIL import Image

from saejax import errors
from saejax.data import records
from tests.data import pictures

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def png_header(width: int, height: int) -> bytes:
  """A PNG that claims a size and holds no pixels."""

  def chunk(name: bytes, body: bytes) -> bytes:
    check = struct.pack('>I', zlib.crc32(name + body))
    return struct.pack('>I', len(body)) + name + body + check

  header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
  return (
    b'\x89PNG\r\n\x1a\n'
    + chunk(b'IHDR', header)
    + chunk(b'IDAT', zlib.compress(b'\0' * 100))
    + chunk(b'IEND', b'')
  )


class DecodeTest(parameterized.TestCase):
  def decoded(self, image, form='PNG', **options) -> np.ndarray:
    found = records.decode(pictures.encode(image, form, **options))
    self.assertEqual(found.mode, 'RGB')
    return np.asarray(found)

  def test_rgb_is_as_it_was(self):
    picture = pictures.picture(0)
    for form in ('PNG', 'BMP', 'TIFF', 'PPM'):
      np.testing.assert_array_equal(
        self.decoded(picture, form), np.asarray(picture), form
      )
    for form in ('JPEG', 'WEBP'):
      apart = self.decoded(picture, form, quality=95) - np.asarray(
        picture, np.float32
      )
      self.assertLess(abs(apart).mean(), 4, form)

  def test_gray_and_bilevel(self):
    np.testing.assert_array_equal(
      self.decoded(Image.fromarray(RAMP)), np.stack([RAMP] * 3, -1)
    )
    bits = Image.fromarray(RAMP).point(lambda v: 255 * (v > 99), '1')
    expected = np.where(RAMP > 99, 255, 0)
    np.testing.assert_array_equal(self.decoded(bits)[..., 1], expected)

  def test_sixteen_bits_keep_the_upper_eight(self):
    deep = RAMP.astype(np.uint16) * 256 + 77
    for form in ('PNG', 'TIFF'):
      np.testing.assert_array_equal(
        self.decoded(Image.fromarray(deep), form),
        np.stack([RAMP] * 3, -1),
        form,
      )

  def test_transparency_is_dropped_and_not_blended(self):
    rgb = np.asarray(pictures.picture(1))
    alpha = np.full(rgb.shape[:2], 3, np.uint8)
    clear = Image.fromarray(np.dstack([rgb, alpha]))
    np.testing.assert_array_equal(self.decoded(clear), rgb)
    gray = Image.fromarray(np.dstack([RAMP, RAMP[::-1]]), 'LA')
    np.testing.assert_array_equal(self.decoded(gray)[..., 0], RAMP)

  @parameterized.parameters(5, bytes(range(0, 250, 25)))
  def test_palette_with_transparency(self, transparency):
    few = pictures.picture(2).quantize(10)
    with warnings.catch_warnings(action='error'):
      found = self.decoded(few, transparency=transparency)
    np.testing.assert_array_equal(found, np.asarray(few.convert('RGB')))

  def test_cmyk(self):
    picture = pictures.picture(3)
    found = self.decoded(picture.convert('CMYK'), 'JPEG', quality=95)
    apart = found - np.asarray(picture, np.float32)
    self.assertLess(abs(apart).mean(), 4)

  def test_orientation_is_not_applied(self):
    exif = Image.Exif()
    exif[274] = 6  # Turned by a quarter.
    picture = pictures.picture(4, (40, 20))
    found = self.decoded(picture, 'JPEG', exif=exif)
    self.assertEqual(found.shape, (20, 40, 3))

  def test_first_frame_of_an_animation(self):
    first, second = (
      Image.new('RGB', (8, 8), colour) for colour in ('red', 'blue')
    )
    found = self.decoded(
      first, 'GIF', save_all=True, append_images=[second], duration=9
    )
    np.testing.assert_array_equal(found[0, 0], (255, 0, 0))

  @parameterized.parameters('JPEG', 'PNG', 'WEBP', 'GIF')
  def test_cut_short(self, form):
    whole = pictures.encode(pictures.picture(5), form)
    for n in (len(whole) // 2, len(whole) * 9 // 10, 20, 1):
      with self.assertRaises(records.RecordError):
        records.decode(whole[:n])

  @parameterized.parameters((b'',), (b'<svg></svg>',), (b'\xff\xd8\xff',))
  def test_no_image(self, data):
    with self.assertRaisesRegex(records.RecordError, 'no known format|decoded'):
      records.decode(data)

  def test_postscript_is_never_run(self):
    with self.assertRaisesRegex(records.RecordError, 'no known format'):
      records.decode(pictures.encode(pictures.picture(0), 'EPS'))

  @parameterized.parameters((20_000, 5_000), (60_000, 60_000))
  def test_bomb(self, width, height):
    # Pillow itself would warn of the first and refuse the second.
    with (
      warnings.catch_warnings(action='ignore'),
      self.assertRaisesRegex(records.RecordError, 'pixels'),
    ):
      records.decode(png_header(width, height))

  def test_float_pixels(self):
    deep = Image.fromarray(RAMP.astype(np.float32) / 255)
    with self.assertRaisesRegex(records.RecordError, 'floating-point'):
      records.decode(pictures.encode(deep, 'TIFF'))

  def test_noise_never_does_worse_than_a_record_error(self):
    rng = np.random.default_rng(0)
    refused = 0
    for form in ('JPEG', 'PNG', 'WEBP', 'GIF', 'TIFF', 'BMP'):
      whole = np.frombuffer(
        pictures.encode(pictures.picture(6, (24, 16)), form), np.uint8
      )
      for _ in range(40):
        damaged = whole.copy()
        at = rng.integers(0, len(whole), 8)
        damaged[at] = rng.integers(0, 256, 8)
        try:
          with warnings.catch_warnings(action='ignore'):
            self.assertEqual(records.decode(damaged.tobytes()).mode, 'RGB')
        except records.RecordError:
          refused += 1
    self.assertGreater(refused, 40)


class CaptionTest(parameterized.TestCase):
  def test_outer_space_goes(self):
    self.assertEqual(records.check_caption(' a  cat.\n'), 'a  cat.')
    self.assertEqual(records.check_caption('é 猫 🐈'), 'é 猫 🐈')

  @parameterized.parameters('', ' \t\n', '\u3000')
  def test_empty(self, caption):
    with self.assertRaisesRegex(records.RecordError, 'empty'):
      records.check_caption(caption)

  def test_what_no_sidecar_could_hold(self):
    with self.assertRaisesRegex(records.RecordError, 'surrogate'):
      records.check_caption('a \ud83d cat')


class Twelve:
  """Records 0 to 11, of which every third is of another split."""

  def __init__(self):
    self.about = {'name': 'twelve', 'licence': 'unknown', 'splits': {}}

  def __len__(self):
    return 12

  def split(self, i):
    return ('train', 'val', None)[i % 3]

  def record(self, i):
    return records.Record(
      image=b'i', captions=('c',), words={}, group=i, split=self.split(i)
    )


class RecordTest(absltest.TestCase):
  def test_needs_an_image_and_a_caption(self):
    whole = dict(image=b'i', captions=('c',), words={}, group=0)
    records.Record(**whole)
    with self.assertRaisesRegex(records.RecordError, 'no caption'):
      records.Record(**whole | {'captions': ()})
    with self.assertRaisesRegex(records.RecordError, 'no bytes'):
      records.Record(**whole | {'image': b''})


class SelectionTest(parameterized.TestCase):
  @parameterized.parameters(
    (dict(), list(range(12)), {'train': 4, 'val': 4, 'none': 4}),
    (dict(limit=4), [0, 1, 2, 3], {'train': 2, 'val': 1, 'none': 1}),
    (dict(limit=99), list(range(12)), {'train': 4, 'val': 4, 'none': 4}),
    (dict(split='val'), [1, 4, 7, 10], {'val': 4}),
    (dict(split='val+train', limit=3), [0, 1, 3], {'train': 2, 'val': 1}),
    (dict(split='val', splits='hash'), [1, 4, 7, 10], {'none': 4}),
  )
  def test_selects(self, arguments, groups, counts):
    found = records.Selection(Twelve(), **arguments)
    self.assertEqual([r.group for r in pictures.read_all(found)], groups)
    self.assertEqual(found.about['splits'], counts)
    self.assertEqual(found.about['records'], len(groups))
    for i in range(len(found)):
      self.assertEqual(found.record(i).split, found.split(i))

  def test_licence(self):
    whole = Twelve()
    found = records.Selection(whole, licence='CC0')
    self.assertEqual(found.about['licence'], 'CC0')
    self.assertEqual(whole.about['licence'], 'unknown')

  @parameterized.parameters(
    (dict(limit=0), 'limit=0 must be at least 1'),
    (dict(splits='ours'), "splits=ours is unknown: choose 'own'"),
    (dict(split='val+test'), "no records of test; it has {'none': 4"),
  )
  def test_mistakes(self, arguments, message):
    with self.assertRaisesRegex(errors.UserError, message):
      records.Selection(Twelve(), **arguments)


if __name__ == '__main__':
  absltest.main()
