"""A store of tokens in which known concepts fire at known patches and words.

Images have 3 x 3 patches, seen twice: in the image as a whole and in its one
tile, whose rows end with a newline. Example i is of factor i % FACTORS, which
stands at the patches that `patches` says, and at one word of its caption.
"""

import os

import numpy as np
from PIL import Image

from saejax import store as store_lib
from saejax.models import tiles
from saejax.pipeline import analysing
from saejax.pipeline import caching
from tests.pipeline import planted_contexts

N, FACTORS, P = 120, 4, 3
LAYER, BIAS = planted_contexts.LAYER, 0.3
BACKGROUND, NEWLINE, FILLER = 20, 21, 22  # Concepts of the other tokens.
WORDS = ('red', 'green', 'blue', 'white')
ENDS = FACTORS - 1  # The factor that stands at ends of rows too.
TEXT = f'layer{LAYER:02d}.text'
IMAGE = f'layer{LAYER:02d}.image'
LAYOUT = tiles.Layout(48, P, ((48, 48),))


def example_of(picture: np.ndarray) -> int:
  """Which example a picture shows."""
  return int((picture[4, 6, 0] + 8) // 16 * 16 + (picture[4, 6, 1] + 8) // 16)


def caption(i: int) -> str:
  return f'a {WORDS[i % FACTORS]}  dot, <b>{i}</b>'


def spans(i: int) -> list[tuple[int, int]]:
  """Letters of the tokens: a, the word, the comma's, and the number's."""
  said, word = caption(i), WORDS[i % FACTORS]
  at = said.index(word)
  return [(0, 1), (at, at + len(word)), (at + len(word) + 2, said.index('<'))]


def patches(i: int) -> dict[int, tuple[float, float]]:
  """Where its factor is: strength in the whole image, and in the tile."""
  rng = np.random.default_rng(i)
  at = rng.choice(P * P, 2, replace=False).tolist()
  strong = round(float(rng.uniform(1, 2)), 3)
  return {at[0]: (0.0, strong), at[1]: (strong / 2 + 0.15, 0.0)}


def expected(i: int) -> np.ndarray:
  """Activations of an example's own factor: [P, P]."""
  found = np.zeros(P * P)
  for at, strengths in patches(i).items():
    found[at] = max(strengths) - BIAS
  return found.reshape(P, P)


def _image(i: int) -> tuple[list, list]:
  """Vectors and patches of an image's positions."""
  atoms, x = planted_contexts.ATOMS, []
  seen = tiles.seen((48, 48), LAYOUT)
  for t, at in enumerate(seen.tolist()):
    strength = patches(i).get(at, (0.0, 0.0))[int(t >= P * P)]
    if at < 0:
      ends = i % FACTORS == ENDS
      x.append(0.5 * atoms[ENDS] if ends else atoms[NEWLINE])
    else:
      x.append(strength * atoms[i % FACTORS] + 0.5 * atoms[BACKGROUND])
  return x, seen.tolist()


def _text(i: int) -> tuple[list, list]:
  """Vectors and letters of a caption's tokens."""
  atoms = planted_contexts.ATOMS
  x = [atoms[FILLER], (1 + 0.01 * i) * atoms[i % FACTORS], atoms[FILLER]]
  return x, spans(i)


def write_store(
  path: str,
  pictures: str,
  placed: bool = True,
  dropped: tuple[int, ...] = (),
  untiled: tuple[int, ...] = (),
) -> str:
  """Writes the store.

  In `dropped` examples patch 0 was not kept; in `untiled` ones that token of
  the tile was not in which the factor fires most.
  """
  os.makedirs(pictures, exist_ok=True)
  common = ('group', 'split', 'pair', 'position', 'token_id')
  own = {'image': ('patch',), 'text': ('start', 'end')}
  specs = {
    name: store_lib.StreamSpec(
      d=planted_contexts.D,
      modality=side,
      columns=common + (own[side] if placed else ()),
    )
    for name, side in ((IMAGE, 'image'), (TEXT, 'text'))
  }
  about = {'dataset': {'name': 'planted'}, 'model': 'stub', 'patches': P}
  writer = store_lib.StoreWriter(path, specs, about | {'licence': 'CC0-1.0'})
  split_N = store_lib.assign_splits(np.arange(N), (0.3, 0.2, 0.5))
  for name, side, make in (('image', IMAGE, _image), ('text', TEXT, _text)):
    x, table, words = [], [], []
    for i in range(N):
      file = os.path.join(pictures, f'{i:03d}.png')
      Image.new('RGB', (12, 8), (i // 16 * 16, i % 16 * 16, 40)).save(file)
      for t, (row, at) in enumerate(zip(*make(i), strict=True)):
        if i in dropped and at == 0:
          continue
        if i in untiled and t >= P * P and at == next(iter(patches(i))):
          continue
        place = at if isinstance(at, tuple) else (at,)
        x.append(row)
        table.append((i, split_N[i], i, t, 0, *(place if placed else ())))
        words.append(
          {'image': file} if name == 'image' else {'caption': caption(i)}
        )
    columns = np.array(table).T
    writer.write(
      side, 0, np.array(x, np.float32),
      dict(zip(specs[side].columns, columns, strict=True)), words,
    )  # fmt: skip
  writer.finish()
  return path


def write(folder: str, **changes) -> str:
  """Store, dictionary and analysis in a folder; the analysis."""
  at = lambda *path: os.path.join(folder, *path)
  assert caching.stream_name(LAYER, 'image') == IMAGE
  store = write_store(at('store'), at('seen'), **changes)
  planted_contexts.write_sae(at('sae'), streams=[IMAGE, TEXT])
  analysing.analyse(at('sae'), store, at('analysis'), 'test', with_twin=False)
  return at('analysis')
