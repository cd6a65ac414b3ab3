"""A folder of a few captioned pictures, with one of each thing that breaks."""

from collections.abc import Sequence
import json
import os

import numpy as np

from saejax.pipeline import embedders
from tests.data import pictures

N = 34
COPIES = (4, 25)  # One picture twice, in two shards and of other quality.
LONG = (3, 30)  # Records with a caption longer than the model reads.
# A cut image, no image, a file that is absent, and captions of nothing.
BROKEN = {7, 12, 18, 21}
USED = tuple(i for i in range(N) if i not in BROKEN)


def tower(apply, params, mesh, batch, d, precision) -> embedders.Tower:
  """In place of `embedders._tower`: unit rows by sums of sines, in no time.

  Padding of texts is 0 and adds nothing.
  """
  del apply, params, mesh, precision

  def start(inputs):
    x_BP = np.asarray(inputs, np.float64).reshape(len(inputs), -1)
    rows_BD = np.stack([np.sin(x_BP * (i + 1)).sum(1) for i in range(d)], 1)
    return (rows_BD / np.linalg.norm(rows_BD, axis=1, keepdims=True)).astype(
      np.float32
    )

  return embedders.Tower(start, batch, d)


def groups() -> list[int]:
  return [1000 + i for i in range(N)]


def _captions(i: int) -> list[str]:
  said = [f'a red circle over {i} blue stars', 'a green square']
  if i in LONG:
    said.append('a yellow ring and ' * 40)
  if i == 21:
    return ['', '  ']
  return [*said, ' '] if i == 6 else said[i % 2 :]


def write(root: str, splits: Sequence[str | None] | None = None) -> None:
  """Writes the pictures and `captions.jsonl`."""
  lines = []
  for i in range(N):
    name = f'{i:03d}.png'
    image = pictures.picture(COPIES[0] if i == COPIES[1] else i)
    data = pictures.encode(image, 'PNG')
    if i == COPIES[1]:
      data = pictures.encode(image.resize((192, 128)), 'JPEG', quality=80)
    if i == 7:
      data = data[: len(data) // 2]
    if i == 12:
      data = b'<html>not found</html>'
    if i != 18:
      pictures.write(os.path.join(root, name), data)
    line = {'image': name, 'captions': _captions(i), 'group': groups()[i]}
    if splits and splits[i]:
      line['split'] = splits[i]
    lines.append(json.dumps(line) + '\n')
  pictures.write(os.path.join(root, 'captions.jsonl'), ''.join(lines))
