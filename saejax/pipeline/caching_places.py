"""Where a token is: in its picture, or in its caption.

A row of an image has a column `patch`, the patch of the whole image that its
position sees, counted row by row over the model's patches a side; −1 ends a
row of tiles. A row of a text has `start` and `end`, its letters in the caption.
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import numpy as np

from saejax.models import llama
from saejax.models import tiles
from saejax.store import hashing

_STREAM = 4_000  # Of the hashes that choose positions.
COLUMNS = {
  'image': ('patch',),
  'caption': ('start', 'end'),
  'text': ('start', 'end'),
}
Letters = Sequence[tuple[int, int]]


def letters(encode: Callable[..., Any], caption: str) -> list[tuple[int, int]]:
  """Where each token of a caption is in it; −1 where a tokenizer cannot say."""
  alone = {'add_special_tokens': False}
  try:
    found = encode(caption, return_offsets_mapping=True, **alone)
  except NotImplementedError:
    return [(-1, -1)] * len(encode(caption, **alone)['input_ids'])
  return [(int(a), int(b)) for a, b in found['offset_mapping']]


def mask(
  tokens: llama.Tokens, b: int, context: str, said: Letters
) -> np.ndarray:
  """Which positions of a row are of a context."""
  if context == 'image':
    return tokens.is_image_BT[b]
  real_T = tokens.is_real_BT[b]
  # A caption is the last of its row; a bare one is all but the start.
  return real_T & (np.arange(len(real_T)) >= real_T.sum() - len(said))


def kept(
  mask_T: np.ndarray,
  context: str,
  example: int,
  most: int | None,
  allowed_m: np.ndarray | None = None,
) -> np.ndarray:
  """Positions of an example that are kept, in order.

  Args:
    mask_T: the context's positions in a row.
    context: which it is.
    example: its number, on which the draw depends.
    most: so many at most; None for all.
    allowed_m: of the context's positions, those that may be kept; None for all.
      Others leave their place to what would come next.
  """
  at_m = np.flatnonzero(mask_T)
  kept_n = np.arange(len(at_m))
  if allowed_m is not None:
    kept_n = np.flatnonzero(allowed_m)
  if most is not None and len(kept_n) > most:
    stream = _STREAM + list(COLUMNS).index(context)
    u_m = hashing.uniform(np.array([example]), len(at_m), stream=stream)[0]
    kept_n = np.sort(kept_n[np.argsort(u_m[kept_n])[:most]])
  return at_m[kept_n]


def places(
  mask_T: np.ndarray,
  context: str,
  size: tiles.Size,
  layout: tiles.Layout,
  said: Letters,
) -> np.ndarray:
  """Values of the columns of a context at all of its positions.

  Args:
    mask_T: the context's positions in a row.
    context: which it is.
    size: of the image as it came.
    layout: of the model.
    said: letters of the caption's tokens.
  """
  if context == 'image':
    return tiles.seen(size, layout)[:, None]
  # A row that begins with the caption may be shorter than its tokens.
  return np.array(said, np.int64).reshape(-1, 2)[-int(mask_T.sum()) :]
