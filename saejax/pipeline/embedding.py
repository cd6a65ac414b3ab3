"""Embeds a data set with a model, sharded over the mesh, into a store."""

from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import os
from typing import Any

import jax
import numpy as np
import tqdm

from saejax import errors
from saejax import pretrained
from saejax import sharding
from saejax import store as store_lib
from saejax.data import captions
from saejax.data import render
from saejax.data import scenes
from saejax.data import specs
from saejax.models import folder
from saejax.models import preprocessing
from saejax.store import shards

P = jax.P
_PER_SHARD = 4096  # Scenes of a shard: what a kill can cost.
_BATCH = 256

_SCENE_COLUMNS = ('group', 'split', 'pair')
_TEXT_COLUMNS = (*_SCENE_COLUMNS, 'meaning')


def _batched(
  apply: Callable[..., jax.Array], params, mesh: jax.sharding.Mesh, d: int
) -> Callable[[Any], np.ndarray]:
  """A function of any number of rows, run in fixed batches over the mesh."""
  # The towers leave their layout to the compiler: an embedding lookup is
  # ambiguous under Explicit axes.
  run = jax.jit(
    jax.sharding.auto_axes(apply, out_sharding=P(sharding.DATA, None))
  )
  params = jax.device_put(params, jax.NamedSharding(mesh, P()))
  batch = max(_BATCH - _BATCH % mesh.size, mesh.size)

  def place(a, start):
    a = a[start : start + batch]
    # Filled up with copies of the last row: zeros are no image of any size.
    short = [(0, batch - len(a))] + [(0, 0)] * (a.ndim - 1)
    return jax.device_put(np.pad(a, short, 'edge'), P(sharding.DATA))

  def embed(rows) -> np.ndarray:
    n = len(jax.tree.leaves(rows)[0])
    out_ND = np.empty((n, d), np.float32)
    with jax.set_mesh(mesh):
      for start in range(0, n, batch):
        placed = jax.tree.map(lambda a, s=start: place(a, s), rows)
        # Cut on the host: a slice of rows split over devices has no layout.
        found = np.asarray(run(params, placed))
        out_ND[start : start + batch] = found[: n - start]
    return out_ND

  return embed


@dataclasses.dataclass(frozen=True)
class Embedder:
  """Both towers of a model, as functions of host arrays."""

  image: Callable[[preprocessing.Images], np.ndarray]
  text: Callable[[np.ndarray], np.ndarray]


def embedder(vlm: folder.VLM, mesh: jax.sharding.Mesh) -> Embedder:
  d = vlm.module.config.projection_dim

  def image(params, images):
    pixels = vlm.pixels(images)
    return vlm.module.apply({'params': params}, pixels, method='image')[0]

  def text(params, ids_BT):
    return vlm.module.apply({'params': params}, ids_BT, method='text')[0]

  return Embedder(
    image=_batched(image, vlm.params, mesh, d),
    text=_batched(text, vlm.params, mesh, d),
  )


def _scene_rows(data: specs.SceneSet, start: int, stop: int):
  """A run of scenes with the columns that both streams share."""
  sampled = scenes.sample(data.world, np.arange(start, stop))
  index_N = sampled.index_N
  split_N = store_lib.assign_splits(index_N, data.splits, seed=data.seed)
  return sampled, {'group': index_N, 'pair': index_N, 'split': split_N}


def _images(vlm, embed: Embedder, data: specs.SceneSet, start, stop):
  sampled, columns = _scene_rows(data, start, stop)
  labels_NF = scenes.present(sampled).astype(np.uint8)
  drawn = render.render(sampled, vlm.pixels.side)
  x_ND = embed.image(vlm.pixels.shape(drawn))
  sidecar = [{'scene': int(i)} for i in sampled.index_N]
  return x_ND, columns | {'labels': labels_NF}, sidecar


def _texts(vlm, embed: Embedder, data: specs.SceneSet, start, stop):
  sampled, columns = _scene_rows(data, start, stop)
  said = [captions.caption(data.world, sampled, j) for j in range(data.texts)]
  # The captions of an image lie together.
  weave = lambda parts: np.stack(parts, 1).reshape(-1, *parts[0].shape[1:])
  text = [
    t for group in zip(*(s.text for s in said), strict=True) for t in group
  ]
  columns = {k: np.repeat(v, data.texts) for k, v in columns.items()}
  columns['meaning'] = weave([s.meaning_N for s in said])
  columns['labels'] = weave([s.mentioned_NF for s in said]).astype(np.uint8)
  x_ND = embed.text(vlm.tokenize(text))
  return x_ND, columns, [{'caption': t} for t in text]


def about(vlm: folder.VLM, data: specs.SceneSet) -> dict[str, Any]:
  """What the manifest says of the rows' origin."""
  return {
    'model': vlm.name,
    'revision': None,
    'dataset': {'name': 'scenes', **dataclasses.asdict(data)},
    'licence': 'Apache-2.0',
    'citation': 'The procedural world of saejax.',
  }


def embed_scenes(model: str, dataset: str, out: str) -> None:
  """Embeds images and captions of the procedural world into a store.

  Streams `image` and `text`, with the factors present and mentioned as labels.
  A killed run, started again, goes on at the shard it was in.

  Args:
    model: a model folder, or the name of a model that ships.
    dataset: a spec, see `data.specs`.
    out: the store's folder.
  """
  data = specs.parse(dataset)
  if not isinstance(data, specs.SceneSet):
    raise errors.UserError(
      f'--dataset={dataset} can be read, but only the procedural world can be '
      'embedded so far: use scenes, or import_embeddings for vectors that you '
      'have.'
    )
  ships = model in pretrained.names() and not os.path.isdir(model)
  vlm = folder.load(pretrained.path(model) if ships else model)
  d = vlm.module.config.projection_dim
  streams = {
    'image': store_lib.StreamSpec(
      d=d, columns=_SCENE_COLUMNS, labels=scenes.FACTORS
    ),
    'text': store_lib.StreamSpec(
      d=d, modality='text', columns=_TEXT_COLUMNS, labels=scenes.FACTORS
    ),
  }
  writer = store_lib.StoreWriter(out, streams, about(vlm, data))
  embed = embedder(vlm, sharding.make_mesh())
  for stream, index, bounds in _todo(writer, data):
    make = _images if stream == 'image' else _texts
    writer.write(stream, index, *make(vlm, embed, data, *bounds))
  writer.finish()


def _todo(
  writer: store_lib.StoreWriter, data: specs.SceneSet
) -> Iterator[tuple[str, int, tuple[int, int]]]:
  """Shards not on disk yet, with a progress bar over images and texts."""
  bounds = shards.shard_bounds(data.n, _PER_SHARD)
  rows = {'image': 1, 'text': data.texts}
  with tqdm.tqdm(
    total=data.n * (1 + data.texts), unit='row', unit_scale=True, disable=None
  ) as bar:
    for stream, each in rows.items():
      for index, (start, stop) in enumerate(bounds):
        if not writer.is_done(stream, index):
          yield stream, index, (start, stop)
        bar.update((stop - start) * each)
