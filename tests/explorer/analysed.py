"""An analysis of planted rows with pictures, captions and known factors."""

import os

import numpy as np
from PIL import Image

from saejax import store
from saejax.pipeline import analysing
from tests import planted
from tests.explorer import hostile
from tests.pipeline import truth

N, SPLITS = 1400, (0.3, 0.2, 0.5)
FACTORS, IMAGE, S = planted.FACTORS, truth.IMAGE, truth.S


def caption(i: int) -> str:
  """Said of image i, and hostile."""
  return hostile.TEXTS[i % len(hostile.TEXTS)] + f' | text {i}'


def row_of(said: str) -> int:
  return int(said.rpartition(' ')[2])


def write_store(
  path: str, data: planted.Planted, pictures: str, licence: str | None
) -> str:
  """Planted rows; each image is a file in the folder `pictures`."""
  os.makedirs(pictures, exist_ok=True)
  n = len(data.image_ND)
  files = [os.path.join(pictures, f'{i:05d}.png') for i in range(n)]
  for i, file in enumerate(files):
    colour = (i % 256, i // 256 * 40, 90)
    Image.new('RGB', (12, 8), colour).save(file)
  pair_N = np.arange(n)
  columns = {
    'group': pair_N,
    'pair': pair_N,
    'split': store.assign_splits(pair_N, SPLITS),
  }
  names = tuple(f'f{i}' for i in range(FACTORS))
  specs = {
    m: store.StreamSpec(d=planted.D, modality=m, labels=names)
    for m in ('image', 'text')
  }
  about = {'dataset': {'name': 'planted'}, 'model': 'stub'}
  about |= {'licence': licence} if licence else {}
  writer = store.StoreWriter(path, specs, about)
  sensitive = lambda i: {'sensitive': True} if i % 50 == 0 else {}
  words = {
    'image': [{'image': f} | sensitive(i) for i, f in enumerate(files)],
    'text': [{'caption': caption(i)} for i in range(n)],
  }
  rows = {
    'image': (data.image_ND, data.shown_NF),
    'text': (data.text_ND, data.mentioned_NF),
  }
  for name, (x_ND, labels_NF) in rows.items():
    own = columns | {'labels': labels_NF.astype(np.uint8)}
    writer.write(name, 0, x_ND, own, words[name])
  writer.finish()
  return path


def write(
  folder: str, licence: str | None = 'CC0-1.0'
) -> tuple[str, planted.Planted]:
  """Store, dictionary and analysis in a folder; the analysis, and the data."""
  data = planted.sample(N)
  path = write_store(
    os.path.join(folder, 'store'), data, os.path.join(folder, 'seen'), licence
  )
  sae = truth.save(
    os.path.join(folder, 'run', 'sae'), path, data.atoms_SD, steps=20
  )
  out = os.path.join(folder, 'analysis')
  analysing.analyse(sae, path, out, 'test', with_twin=False)
  return out, data
