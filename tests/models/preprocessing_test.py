"""Pixels are those of the image processors of transformers, bit by bit."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import transformers

from saejax.data import records
from saejax.models import families
from saejax.models import preprocessing
from saejax.models import siglip2
from tests.models import clip_test
from tests.models import hub_folders
from tests.models import siglip2_test
from tests.models import siglip_test

SQUARE = {'height': 32, 'width': 32}
PROCESSORS = {
  'shortest edge, cropped': (
    'clip',
    transformers.CLIPImageProcessorPil,
    {'size': {'shortest_edge': 36}, 'crop_size': SQUARE},
  ),
  'cropped beyond the edge': (
    'clip',
    transformers.CLIPImageProcessorPil,
    {'size': {'shortest_edge': 25}, 'crop_size': SQUARE},
  ),
  'between two edges': (
    'clip',
    transformers.CLIPImageProcessorPil,
    {'size': {'shortest_edge': 32, 'longest_edge': 64}, 'crop_size': SQUARE},
  ),
  'cropped alone': (
    'clip',
    transformers.CLIPImageProcessorPil,
    {'do_resize': False, 'crop_size': SQUARE},
  ),
  'another filter': (
    'clip',
    transformers.CLIPImageProcessorPil,
    {'size': {'shortest_edge': 32}, 'crop_size': SQUARE, 'resample': 0},
  ),
  'square': (
    'siglip',
    transformers.SiglipImageProcessorPil,
    {'size': SQUARE},
  ),
  'unscaled': (
    'siglip',
    transformers.SiglipImageProcessorPil,
    {'size': SQUARE, 'do_rescale': False},
  ),
  'as it is': (
    'siglip',
    transformers.SiglipImageProcessorPil,
    {'size': SQUARE, 'do_normalize': False},
  ),
  'patches': (
    'siglip2',
    transformers.Siglip2ImageProcessorPil,
    {'patch_size': 4, 'max_num_patches': 25, 'do_convert_rgb': True},
  ),
}
CONFIGS = {
  'clip': clip_test.CONFIG,
  'siglip': siglip_test.CONFIG,
  'siglip2': siglip2_test.CONFIG,
}


class PixelsTest(parameterized.TestCase):
  @parameterized.parameters(*PROCESSORS)
  def test_are_those_of_the_processor(self, name):
    family, kind, options = PROCESSORS[name]
    path = self.create_tempdir().full_path
    processor = kind(**options)
    processor.save_pretrained(path)
    pixels = preprocessing.load(path, families.build(CONFIGS[family]))
    images = [records.decode(file) for file in hub_folders.pictures()]
    raw = processor(
      images, do_rescale=False, do_normalize=False, return_tensors='np'
    )
    white = processor(images, return_tensors='np')['pixel_values']
    batch = preprocessing.stack([pixels.prepare(image) for image in images])
    found = pixels(batch)
    if family == 'siglip2':
      np.testing.assert_array_equal(batch.patch_BTP, raw['pixel_values'])
      np.testing.assert_array_equal(batch.mask_BT, raw['pixel_attention_mask'])
      np.testing.assert_array_equal(batch.grid_B2, raw['spatial_shapes'])
      self.assertEqual(batch.patch_BTP.dtype, np.uint8)
      found = found.patch_BTP
    else:
      expected = raw['pixel_values'].transpose(0, 2, 3, 1)
      np.testing.assert_array_equal(batch, expected)
      self.assertEqual(batch.dtype, np.uint8)
      white = white.transpose(0, 2, 3, 1)
    np.testing.assert_allclose(found, white, rtol=1e-5, atol=1e-6)

  def test_square_images_are_patches_row_by_row(self):
    pixels = preprocessing.Pixels(
      side=8, mean_3=(0.5,) * 3, std_3=(0.5,) * 3, patch=4
    )
    image_NHW3 = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(1, 8, 8, 3)
    found = pixels.shape(image_NHW3)
    self.assertIsInstance(found, siglip2.Patches)
    np.testing.assert_array_equal(found.grid_B2, [[2, 2]])
    self.assertTrue(found.mask_BT.all())
    np.testing.assert_array_equal(
      found.patch_BTP[0, 1], image_NHW3[0, :4, 4:].reshape(-1)
    )

  def test_padding_is_zero_when_white(self):
    pixels = preprocessing.Pixels(
      side=8, mean_3=(0.5,) * 3, std_3=(0.5,) * 3, patch=4
    )
    mask_BT = np.array([[True, False]])
    patches = siglip2.Patches(
      np.zeros((1, 2, 48), np.uint8), mask_BT, np.array([[1, 1]])
    )
    found = pixels(patches).patch_BTP
    np.testing.assert_array_equal(found[0, 0], -1)
    np.testing.assert_array_equal(found[0, 1], 0)


if __name__ == '__main__':
  absltest.main()
