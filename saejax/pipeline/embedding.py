"""Embeds a data set with a model, over all devices, into a store."""

import dataclasses
import os
import time

import jax
import jax.numpy as jnp

from saejax import errors
from saejax import pretrained
from saejax import processes
from saejax import sharding
from saejax import store as store_lib
from saejax.data import duplicates
from saejax.data import specs
from saejax.models import folder
from saejax.pipeline import embedders
from saejax.pipeline import embedding_records
from saejax.pipeline import embedding_scenes
from saejax.store import writer as writer_lib

DTYPES = ('float32', 'bfloat16')


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbedConfig:
  """Flags of `embed`.

  Attributes:
    model: a model folder, an id on the hub, or the name of a model that ships.
    dataset: a spec, see `data.specs`.
    revision: branch, tag or commit on the hub; None for `main`.
    offline: never ask the network for the model.
    dtype: of the computation, one of DTYPES.
    store_dtype: of the rows on disk, one of `store.DTYPES`.
    batch: rows that all devices of a process compute at a time.
    workers: threads that decode images; None for one a CPU.
    near_duplicates: bits in which the hashes of two images may differ for
      their groups to merge, 0 to 16; -1 never merges.
    mesh: devices of a process that split the batch and the model, (data,
      model); None has all split the batch.
  """

  model: str
  dataset: str = 'scenes'
  revision: str | None = None
  offline: bool = False
  dtype: str = 'float32'
  store_dtype: str = 'float32'
  batch: int = embedders.BATCH
  workers: int | None = None
  near_duplicates: int = 3
  mesh: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True)
class Summary:
  """What a finished store holds, and how fast this process was.

  Attributes:
    rows: of each stream.
    skipped: records and captions that were left out.
    written: rows that this process wrote in this run.
    seconds: how long that took, compilation included.
  """

  rows: dict[str, int]
  skipped: int
  written: dict[str, int]
  seconds: float

  def line(self) -> str:
    rows = ', '.join(f'{n:,} {name}' for name, n in self.rows.items())
    rates = (
      f'{n / self.seconds:,.0f} {"images" if name == "image" else "texts"}/s'
      for name, n in self.written.items()
      if n
    )
    return ', '.join([f'rows: {rows}; skipped: {self.skipped:,}', *rates])


def _check(config: EmbedConfig) -> None:
  if config.dtype not in DTYPES:
    raise errors.UserError(
      f'--dtype={config.dtype} is unknown: choose {" or ".join(DTYPES)}.'
    )
  for name in ('batch', 'workers'):
    value = getattr(config, name)
    if value is not None and value < 1:
      raise errors.UserError(f'--{name}={value} must be at least 1.')
  if not -1 <= config.near_duplicates <= duplicates.MAX_DISTANCE:
    raise errors.UserError(
      f'--near_duplicates={config.near_duplicates} is outside '
      f'0…{duplicates.MAX_DISTANCE}; -1 merges nothing.'
    )


def open_writer(out: str, streams, about) -> store_lib.StoreWriter:
  """The store in the making; the first process begins it."""
  make = lambda: store_lib.StoreWriter(
    out, streams, about, process=jax.process_index()
  )
  if processes.is_first():
    writer = make()
  processes.meet('the first process has begun the store')
  if not processes.is_first():
    writer = make()
  processes.meet('every process has joined the store')
  return writer


def embed(config: EmbedConfig, out: str) -> Summary:
  """Embeds a data set into a store; an image tower alone, its images.

  A killed run, started again, goes on at the shard it was in, and gives the
  same bytes. Several processes share the shards, each with its own devices,
  and the first one finishes the store; `out` is a folder that all of them see.

  Args:
    config: what to embed, and how.
    out: the store's folder.

  Raises:
    UserError, StoreError: something cannot be read, or `out` holds something
      else.
  """
  _check(config)
  data = specs.parse(config.dataset)
  writer_lib.check_vacant(out)  # Before the model is loaded.
  is_world = isinstance(data, specs.SceneSet)
  kind = embedding_scenes if is_world else embedding_records
  mesh = sharding.make_mesh(config.mesh, jax.local_devices())
  vlm = folder.load(
    pretrained.find(config.model),
    revision=config.revision,
    offline=config.offline,
    mesh=mesh,
    dtype=jnp.dtype(config.dtype),
  )
  about = {'model': vlm.name, 'revision': vlm.revision, 'dtype': config.dtype}
  if not is_world:
    about['near_duplicates'] = config.near_duplicates
  d = vlm.module.config.projection_dim
  streams = kind.streams(data, d, config.store_dtype)
  if vlm.tokenizer is None:  # An image tower alone.
    streams = {'image': streams['image']}
  writer = open_writer(out, streams, about | kind.about(data))
  start = time.perf_counter()
  written = kind.write(
    writer,
    embedders.embedder(vlm, mesh, config.batch),
    data,
    config.workers or os.cpu_count() or 1,
  )
  seconds = time.perf_counter() - start
  if processes.is_first():
    processes.wait_for(lambda: all_done(writer, kind.n_shards(data)))
    manifest = kind.finish(writer, data, config.near_duplicates)
  else:
    processes.wait_for(lambda: writer.is_finished)
    manifest = store_lib.Store(out).manifest
  return Summary(
    rows={name: manifest.rows(name) for name in manifest.streams},
    skipped=manifest.about.get('skipped', {}).get('total', 0),
    written=written,
    seconds=seconds,
  )


def all_done(writer: store_lib.StoreWriter, n_shards: dict[str, int]) -> bool:
  """Whether every process has written every shard."""
  is_done = lambda: all(
    writer.is_done(name, index)
    for name in writer.streams
    for index in range(n_shards[name])
  )
  if not is_done():
    writer.reload()
  return is_done()
