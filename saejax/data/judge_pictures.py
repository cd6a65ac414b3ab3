"""Pictures that a judge is shown: small, and dark but where something is.

H, W are pixels, P patches row by row, a square of them over the whole image.
"""

import base64
import io

import numpy as np
from PIL import Image

from saejax.data import judge

SIDE = 224  # Pixels of the longer side, at most.
DARK = 0.25  # Of a pixel's value, where nothing is.
_QUALITY = 90


def small(image: Image.Image) -> np.ndarray:
  """RGB pixels uint8 [H, W, 3], no more than `SIDE` a side."""
  image = image.convert('RGB')
  image.thumbnail((SIDE, SIDE))
  return np.asarray(image)


def masked(image_HW3: np.ndarray, is_lit_P: np.ndarray) -> np.ndarray:
  """The image where patches are lit, and darkened elsewhere.

  A pixel is of the patch that its middle lies in.
  """
  p = round(len(is_lit_P) ** 0.5)
  h, w = image_HW3.shape[:2]
  of = lambda n: (2 * np.arange(n) + 1) * p // (2 * n)
  is_lit_HW = is_lit_P.reshape(p, p)[of(h)[:, None], of(w)[None]]
  dark_HW3 = (image_HW3 * DARK).astype(np.uint8)
  return np.where(is_lit_HW[..., None], image_HW3, dark_HW3)


def encode(image_HW3: np.ndarray, is_masked: bool = False) -> judge.Picture:
  """A JPEG as a data URL; colours keep to their patches."""
  file = io.BytesIO()
  Image.fromarray(image_HW3).save(file, 'JPEG', quality=_QUALITY, subsampling=0)
  data = base64.b64encode(file.getvalue()).decode()
  return judge.Picture(f'data:image/jpeg;base64,{data}', is_masked)
