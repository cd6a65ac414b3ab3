"""From images to what a model reads: shaped on the host, scaled on the mesh.

The host resizes and crops to uint8, as the model's own image processor does;
whitening follows on the device, so that a quarter of the bytes travels.
"""

from collections.abc import Sequence
import dataclasses
import math
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import transformers
from transformers import image_transforms

from saejax import errors
from saejax.models import families
from saejax.models import siglip2
from saejax.models import texts

CONFIG = 'preprocessor_config.json'

# Pixels [..., 3] of images of one size, or the patches of images of any.
Images = np.ndarray | jax.Array | siglip2.Patches


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pixels:
  """How pixels become what the model reads: (x·rescale − mean) / std.

  Attributes:
    side: of the square image that the model reads, or for a model that reads
      any size, of the largest square one.
    mean_3: of the scaled channels, as `std_3`.
    rescale: by which uint8 is scaled.
    patch: side of a patch, of a model that reads patches of any image; None
      for those that read images [H, W, 3] of one size.
    processor: the model's own, of `transformers`, which works with Pillow.
  """

  side: int
  mean_3: tuple[float, ...]
  std_3: tuple[float, ...]
  rescale: float = 1 / 255
  patch: int | None = None
  processor: Any = dataclasses.field(default=None, compare=False, repr=False)

  def prepare(self, image: Image.Image) -> Images:
    """One RGB image as the model takes it, uint8: resized, cropped or cut."""
    resized = _resized(image, self.processor)
    found = self.processor(
      resized or image,
      do_resize=resized is None and self.processor.do_resize,
      do_rescale=False,
      do_normalize=False,
      return_tensors='np',
    )
    values = found['pixel_values'][0]
    if self.patch is None:
      return values.transpose(1, 2, 0)
    return siglip2.Patches(
      patch_BTP=values,
      mask_BT=found['pixel_attention_mask'][0].astype(bool),
      grid_B2=found['spatial_shapes'][0].astype(np.int32),
    )

  def shape(self, image_NHW3: np.ndarray) -> Images:
    """Square images of the right size as the model takes them, unscaled."""
    if self.patch is None:
      return image_NHW3
    patch_NTP = patchify(image_NHW3, self.patch)
    n, t, _ = patch_NTP.shape
    grid_N2 = np.full((n, 2), math.isqrt(t), np.int32)
    return siglip2.Patches(patch_NTP, np.ones((n, t), bool), grid_N2)

  def __call__(self, images: Images) -> Images:
    """Whitens uint8 images, float32; padding of patches is zero after it."""
    if not isinstance(images, siglip2.Patches):
      return self._whiten(images)
    patch_BTP = self._whiten(images.patch_BTP)
    return images.replace(patch_BTP=patch_BTP * images.mask_BT[..., None])

  def _whiten(self, x: jax.Array) -> jax.Array:
    """Of [..., 3] or, row by row of a patch, [..., 3·n]."""
    tile = lambda t_3: jnp.tile(jnp.asarray(t_3, jnp.float32), x.shape[-1] // 3)
    wide = lambda t: jnp.expand_dims(t, range(x.ndim - 1))
    scaled = x.astype(jnp.float32) * self.rescale
    return (scaled - wide(tile(self.mean_3))) / wide(tile(self.std_3))


def _resized(image: Image.Image, processor: Any) -> Image.Image | None:
  """The image resized as the processor does; None: leave that to it.

  The processor too has Pillow resize, after copying all of a large image there
  and back; what is left to it is small.
  """
  size, resample = processor.size, processor.resample
  if not (processor.do_resize and size) or resample is None:
    return None
  if size.height and size.width:
    height, width = size.height, size.width
  elif size.shortest_edge and not size.longest_edge:
    height, width = image_transforms.get_resize_output_image_size(
      np.broadcast_to(np.uint8(0), (3, image.height, image.width)),
      size.shortest_edge,
      default_to_square=False,
      input_data_format='channels_first',
    )
  else:
    return None
  return image.resize((width, height), resample)


def stack(images: Sequence[Images]) -> Images:
  """A batch of what `prepare` gives."""
  return jax.tree.map(lambda *a: np.stack(a), *images)


def load(path: str, module: Any) -> Pixels:
  """Reads a folder's image processor.

  Raises:
    UserError: there is none, it is damaged, or it makes what the module does
      not read.
  """
  try:
    processor = transformers.AutoImageProcessor.from_pretrained(
      path, backend='pil', local_files_only=True, trust_remote_code=False
    )
    pixels = _of_processor(processor, module.config.vision, module)
    found = pixels.prepare(Image.new('RGB', (8, 12)))
  except OSError:
    raise errors.UserError(
      f'{path} has no image processor: it has no {CONFIG} that is JSON.'
    ) from None
  except Exception as e:  # The file may hold anything.
    raise errors.UserError(
      f'{os.path.join(path, CONFIG)} describes no image processor that can be '
      f'used ({texts.first_line(e)}).'
    ) from e
  _check(found, pixels, path)
  return pixels


def _of_processor(processor: Any, vision: Any, module: Any) -> Pixels:
  side, patch = vision.image_size, None
  if families.reads_patches(module):
    patch = vision.patch_size
    side = patch * math.isqrt(processor.max_num_patches)
  normal = processor.do_normalize
  channels = lambda x: tuple(np.broadcast_to(np.asarray(x, float), 3).tolist())
  return Pixels(
    side=side,
    mean_3=channels(processor.image_mean if normal else 0.0),
    std_3=channels(processor.image_std if normal else 1.0),
    rescale=processor.rescale_factor if processor.do_rescale else 1.0,
    patch=patch,
    processor=processor,
  )


def _check(image: Images, pixels: Pixels, path: str) -> None:
  """Raises UserError for what the model does not read."""
  if pixels.patch is None:
    found, expected = image.shape, (pixels.side, pixels.side, 3)
  else:
    found, expected = image.patch_BTP.shape[1:], (3 * pixels.patch**2,)
  if found != expected:
    raise errors.UserError(
      f'{os.path.join(path, CONFIG)} does not fit the model: it makes '
      f'{" x ".join(map(str, found))} numbers of an image, or of a patch; the '
      f'model reads {" x ".join(map(str, expected))}.'
    )


def patchify(image_NHWC: np.ndarray, patch: int) -> np.ndarray:
  """Patches row by row, each flat as (row, column, channel): [N, T, P]."""
  n, h, w, c = image_NHWC.shape
  split = image_NHWC.reshape(n, h // patch, patch, w // patch, patch, c)
  return split.transpose(0, 1, 3, 2, 4, 5).reshape(n, -1, patch * patch * c)
