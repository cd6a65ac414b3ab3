"""Activations of a LLaVA-NeXT's residual stream, layer by layer, into a store.

Every example is read twice: its image with the caption as the answer, and the
caption alone. Of each layer there are three streams: `layerNN.image`, what
stands at the image; `layerNN.caption`, the caption's tokens after the image,
which know of it; `layerNN.text`, those of the bare caption, which do not. Layer
L is what enters block L. `tower.image`, if it is asked for, is what the vision
tower gives at the image, before it is projected to what enters block 0.
Of images alone (`contexts`) no caption is looked at. What stands at an image
never knows of the caption after it, nor so of a class that the caption names.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import tqdm

from saejax import errors
from saejax import pretrained
from saejax import processes
from saejax import sharding
from saejax import store as store_lib
from saejax.data import loading
from saejax.data import specs
from saejax.models import llama
from saejax.models import llava_folder
from saejax.pipeline import caching_places as places_lib
from saejax.pipeline import caching_rows as rows_lib
from saejax.pipeline import embedding
from saejax.pipeline import embedding_records
from saejax.pipeline import embedding_scenes
from saejax.pipeline import examples as examples_lib
from saejax.pipeline import llava_reading
from saejax.store import shards
from saejax.store import writer as writer_lib

CONTEXTS = {'image': 'image', 'caption': 'text', 'text': 'text'}
PER_SHARD = 256  # Examples of a shard: what a kill can cost.
_LISTED = 1000  # Skipped things that the manifest itself lists.


@dataclasses.dataclass(frozen=True, kw_only=True)
class CacheConfig:
  """Flags of `cache_llava`.

  Attributes:
    model: a model folder, an id on the hub, or the name of a model that ships.
    dataset: a spec, see `data.specs`.
    layers: of which the residual stream is kept; empty for all.
    prompt: what is asked of an image; {image} and {caption} are filled in.
    contexts: whose streams are kept, of CONTEXTS; of `image` alone images need
      no captions.
    examples: so many of the data set at most, evenly spread; None for all.
    per_example: positions of each stream that are kept of an example, drawn by
      a hash; None for all.
    pool: keep the mean over an example's positions instead.
    tower: whether to keep what the vision tower gives, before the projector,
      wherever a patch stands.
    revision: branch, tag or commit on the hub; None for `main`.
    offline: never ask the network for the model.
    dtype: of the parameters and the computation, one of `embedding.DTYPES`.
    store_dtype: of the rows on disk, one of `store.DTYPES`.
    batch: examples that are computed at a time.
    mesh: devices that split the batch and the model, (data, model).
  """

  model: str
  dataset: str = 'scenes'
  layers: tuple[int, ...] = ()
  prompt: str = 'USER: {image} describe the image . ASSISTANT: {caption}'
  contexts: tuple[str, ...] = tuple(CONTEXTS)
  examples: int | None = None
  per_example: int | None = None
  pool: bool = False
  tower: bool = False
  revision: str | None = None
  offline: bool = False
  dtype: str = 'float32'
  store_dtype: str = 'bfloat16'
  batch: int = 32
  mesh: tuple[int, int] | None = None

  @property
  def has_texts(self) -> bool:
    """Whether captions are read."""
    return any(CONTEXTS[context] == 'text' for context in self.contexts)


# From prompts, the images of each (None without any) and layers to what stands
# at every position, and what enters those blocks there: [B, T, D] by layer, of
# which `llava_reading.TOWER` may be one where there are images.
Read = Callable[
  [Sequence[str], Sequence[Sequence[Image.Image]] | None, tuple[int, ...]],
  tuple[llama.Tokens, Mapping[int, np.ndarray]],
]


@dataclasses.dataclass(frozen=True)
class Source:
  """A model whose residual stream can be read, whatever runs it.

  Attributes:
    model: its tokenizer and config are used here, never its parameters.
    read: runs it.
    about: what the manifest says of that.
  """

  model: llava_folder.LLaVA
  read: Read
  about: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def stream_name(layer: int, context: str) -> str:
  at = 'tower' if layer == llava_reading.TOWER else f'layer{layer:02d}'
  return f'{at}.{context}'


def _with_tower(
  config: CacheConfig, layers: Sequence[int], contexts: Sequence[str]
) -> tuple[int, ...]:
  """Layers that some contexts are kept of, the tower among those of images."""
  has_tower = config.tower and 'image' in contexts
  return (*layers, *([llava_reading.TOWER] if has_tower else []))


def _streams(config: CacheConfig, layers, model, labels, has_classes):
  c = model.module.config
  spec = lambda d, context: store_lib.StreamSpec(
    d=d,
    dtype=config.store_dtype,
    modality=CONTEXTS[context],
    columns=rows_lib.columns(context, config.pool, has_classes),
    labels=labels if config.pool else (),
  )
  found = {
    stream_name(layer, context): spec(c.text.hidden_size, context)
    for layer in layers
    for context in config.contexts
  }
  if config.tower:
    name = stream_name(llava_reading.TOWER, 'image')
    found[name] = spec(c.vision.hidden_size, 'image')
  return found


def check(config: CacheConfig) -> None:
  """UserError for what can be told before the model is loaded."""
  if config.dtype not in embedding.DTYPES:
    raise errors.UserError(
      f'--dtype={config.dtype} is unknown: choose '
      f'{" or ".join(embedding.DTYPES)}.'
    )
  for name in ('batch', 'examples', 'per_example'):
    value = getattr(config, name)
    if value is not None and value < 1:
      raise errors.UserError(f'--{name}={value} must be at least 1.')
  _check_contexts(config)
  if config.pool and config.per_example is not None:
    raise errors.UserError('--pool keeps a mean, so leave --per_example.')


def _check_contexts(config: CacheConfig) -> None:
  given = ','.join(config.contexts)
  if not config.contexts or not set(config.contexts) <= CONTEXTS.keys():
    raise errors.UserError(
      f'--contexts={given} must name some of {", ".join(CONTEXTS)}.'
    )
  if config.tower and 'image' not in config.contexts:
    raise errors.UserError(
      f'--tower is of images: add image to --contexts={given}.'
    )
  marks = [config.prompt.count(mark) for mark in ('{image}', '{caption}')]
  is_bare = marks == [1, 0] and 'caption' not in config.contexts
  is_whole = marks == [1, 1] and config.prompt.endswith('{caption}')
  if not is_bare and not is_whole:
    raise errors.UserError(
      f'--prompt={config.prompt!r} must hold {{image}} once, and {{caption}} '
      'once, at its end; of --contexts=image it needs no {caption}.'
    )


def _check_classes(config: CacheConfig, data: examples_lib.Data) -> None:
  """UserError of a data set that is a single class, told by prompts."""
  told = {} if isinstance(data, specs.SceneSet) else data.about
  names = told.get('classes', ())
  if 'templates' in told and len(names) < 2:
    raise errors.UserError(
      f'--dataset={config.dataset} has one class, {", ".join(names)}, and none '
      'to tell it from; expected two at least, as in CLASS/IMAGE or '
      'train/CLASS/IMAGE.'
    )


def _layers(config: CacheConfig, count: int) -> tuple[int, ...]:
  layers = config.layers or tuple(range(count + 1))
  for layer in layers:
    if not 0 <= layer <= count:
      raise errors.UserError(
        f'--layers: there is no layer {layer}; the model has {count}, and '
        f'{count} stands for what leaves the last.'
      )
  return layers


def gather(
  config: CacheConfig,
  source: Source,
  found: Sequence[examples_lib.Example],
  layers: Sequence[int],
  contexts: Sequence[str] = tuple(CONTEXTS),
) -> dict[str, rows_lib.Rows]:
  """Rows of every stream of a shard's examples, or of some contexts'.

  What a context that is left out alone would need is not computed.
  """
  rows = {
    stream_name(layer, context): rows_lib.Rows()
    for context in contexts
    for layer in _with_tower(config, layers, [context])
  }
  encode = source.model.tokenizer
  layout = source.model.module.config.layout
  for start in range(0, len(found), config.batch):
    batch = found[start : start + config.batch]
    padded = [*batch, *[batch[-1]] * (config.batch - len(batch))]
    shown = [
      config.prompt.format(image=llava_folder.IMAGE, caption=e.caption)
      for e in padded
    ]
    said = [places_lib.letters(encode, e.caption) for e in padded]
    seen = shown, [[e.image] for e in padded]
    bare = [e.caption for e in padded], None
    for inputs, held in ((seen, ('image', 'caption')), (bare, ('text',))):
      asked = [context for context in held if context in contexts]
      if not asked:
        continue
      tokens, x_LBTD = source.read(*inputs, _with_tower(config, layers, asked))
      for context in asked:
        for b, example in enumerate(batch):
          mask_T = places_lib.mask(tokens, b, context, said[b])
          size = example.image.height, example.image.width
          place_mK = places_lib.places(mask_T, context, size, layout, said[b])
          for layer in _with_tower(config, layers, [context]):
            at_n = places_lib.kept(
              mask_T, context, example.index, config.per_example,
              place_mK[:, 0] >= 0 if layer == llava_reading.TOWER else None,
            )  # fmt: skip
            place_nK = place_mK[np.cumsum(mask_T)[at_n] - 1]
            rows_lib.add(
              rows[stream_name(layer, context)],
              example,
              context,
              np.asarray(x_LBTD[layer][b][at_n], np.float32),
              np.column_stack([at_n, tokens.ids_BT[b][at_n], place_nK]),
              config.pool,
            )
  return rows


def from_jax(config: CacheConfig) -> Source:
  """The model in JAX, on the mesh that the config asks for."""
  mesh = sharding.make_mesh(config.mesh, jax.local_devices())
  if config.batch % mesh.shape[sharding.DATA]:
    n = mesh.shape[sharding.DATA]
    raise errors.UserError(
      f'--batch={config.batch} cannot be split over the {n} devices of the '
      f"mesh's first axis: choose a multiple of {n}, or another --mesh."
    )
  model = llava_folder.load(
    pretrained.find(config.model),
    revision=config.revision,
    offline=config.offline,
    mesh=mesh,
    dtype=jnp.dtype(config.dtype),
  )
  reader = functools.cache(
    lambda layers: llava_reading.reader(model.module, layers)
  )

  def read(prompts, images, layers):
    inputs = model.prepare(prompts, images)
    with jax.set_mesh(mesh):
      x_LBTD = reader(layers)(model.params, llava_reading.place(inputs, mesh))
    return jax.device_get(inputs.tokens), jax.device_get(x_LBTD)

  return Source(dataclasses.replace(model, params=None), read)


def _begin(config, data, source, layers, out: str) -> store_lib.StoreWriter:
  is_world = isinstance(data, specs.SceneSet)
  kind = embedding_scenes if is_world else embedding_records
  labels = kind.streams(data, 1, 'float32')['image'].labels
  about = {
    'model': source.model.name,
    'revision': source.model.revision,
    **source.about,
    'prompt': config.prompt,
    'patches': source.model.module.config.layout.patches,
    'examples': config.examples,
    'per_example': config.per_example,
    'pool': config.pool,
    'dtype': config.dtype,
  }
  has_classes = not is_world and 'classes' in data.about
  streams = _streams(config, layers, source.model, labels, has_classes)
  return embedding.open_writer(out, streams, about | kind.about(data))


def chosen(config: CacheConfig, data: examples_lib.Data) -> np.ndarray:
  """Numbers of the examples that are read, rising."""
  return examples_lib.spread(examples_lib.count(data), config.examples)


def _fill(config, data, source, layers, writer) -> None:
  """Writes this process's shards that are not there."""
  chosen_G = chosen(config, data)
  bounds = shards.shard_bounds(len(chosen_G), PER_SHARD)
  todo = [
    index
    for index in range(len(bounds))
    if processes.is_mine(index)
    and not all(writer.is_done(name, index) for name in writer.streams)
  ]
  side = source.model.module.config.vision.image_size
  total = sum(bounds[i][1] - bounds[i][0] for i in todo)
  with tqdm.tqdm(total=total, unit='example', disable=None) as bar:
    for index in todo:
      start, stop = bounds[index]
      found, skipped = examples_lib.read_at(
        data, chosen_G[start:stop], side, config.has_texts
      )
      rows = gather(config, source, found, layers, config.contexts)
      notes = [dataclasses.asdict(s) for s in skipped]
      rows_lib.write(writer, index, rows, notes)
      bar.update(stop - start)


def _finish(config, data, writer) -> store_lib.Manifest:
  # Every stream has the notes; any will do.
  noted = writer.notes(next(iter(writer.streams))).values()
  listed = [skipped for notes in noted for skipped in notes or ()]
  lost = {s['record'] for s in listed if s['what'] != loading.CAPTION}
  n = len(chosen(config, data))
  if len(lost) == n and not writer.is_finished:
    raise errors.UserError(
      f'None of {n} records can be used. The first: {listed[0]["why"]}'
    )
  return writer.finish(
    {'skipped': {'total': len(listed), 'first': listed[:_LISTED]}}
  )


def cache(
  config: CacheConfig,
  out: str,
  open_source: Callable[[Any], Source] = from_jax,
) -> dict[str, int]:
  """Writes the store; the rows of each stream.

  A killed run, started again, goes on at the shard it was in. Several processes
  share the shards.

  Args:
    config: what to run, and what to keep.
    out: the store's folder.
    open_source: loads the model of a config.

  Raises:
    UserError, StoreError: something cannot be read, or `out` holds something
      else.
  """
  check(config)
  in_order = tuple(c for c in CONTEXTS if c in config.contexts)
  config = dataclasses.replace(config, contexts=in_order)
  data = specs.parse(config.dataset)
  _check_classes(config, data)
  writer_lib.check_vacant(out)
  source = open_source(config)
  layers = _layers(config, source.model.module.config.text.num_hidden_layers)
  writer = _begin(config, data, source, layers, out)
  _fill(config, data, source, layers, writer)
  n = len(shards.shard_bounds(len(chosen(config, data)), PER_SHARD))
  if processes.is_first():
    counts = dict.fromkeys(writer.streams, n)
    processes.wait_for(lambda: embedding.all_done(writer, counts))
    manifest = _finish(config, data, writer)
  else:
    processes.wait_for(lambda: writer.is_finished)
    manifest = store_lib.Store(out).manifest
  return {name: manifest.rows(name) for name in manifest.streams}
