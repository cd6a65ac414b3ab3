"""A dictionary of a LLaVA-NeXT's residual stream without keeping the stream.

A store of `caching` holds a sample of the rows: its means standardise, and on
its held-out rows thresholds are calibrated. The rows that are trained on are
computed as they are needed, in the order of `data.windows`.
"""

from collections.abc import Sequence
import dataclasses
import math
import os
from typing import Any

import jax
import numpy as np

from saejax import errors
from saejax import pretrained
from saejax import run
from saejax import sharding
from saejax import store as store_lib
from saejax.data import specs
from saejax.data import windows
from saejax.models import llava_folder
from saejax.pipeline import caching
from saejax.pipeline import embedding
from saejax.pipeline import embedding_records
from saejax.pipeline import embedding_scenes
from saejax.pipeline import examples as examples_lib
from saejax.pipeline import live_rows
from saejax.store import files
from saejax.train import config as config_lib
from saejax.train import loop
from saejax.train import plan as plan_lib

COUNTS = 'counts.safetensors'
_SAMPLED = ('prompt', 'per_example', 'pool')  # Asked of the sample alone.

_OFF = 0.2  # Distance, in units of the spread of rows: of types, but no more.


@dataclasses.dataclass(frozen=True, kw_only=True)
class LiveConfig:
  """Flags of `train_live` that `train_sae` does not have.

  Attributes:
    model: a model folder, an id on the hub, or the name of a model that ships.
    dataset: a spec, see `data.specs`.
    examples: so many of the data set at most, evenly spread; None for all.
    window: shards of `caching.PER_SHARD` examples whose rows are mixed.
    revision: branch, tag or commit on the hub; None for `main`.
    offline: never ask the network for the model.
    read_dtype: of the model's parameters and its computation.
    read_batch: examples that the model computes at a time.
  """

  model: str
  dataset: str = 'scenes'
  examples: int | None = None
  window: int = 8
  revision: str | None = None
  offline: bool = False
  read_dtype: str = 'float32'
  read_batch: int = 32


def _check(config: config_lib.TrainConfig, live: LiveConfig) -> None:
  """UserError for what can be told from flags alone."""
  config_lib.check(config)
  if jax.process_count() > 1:
    raise errors.UserError(
      f'Rows are computed by one process; there are {jax.process_count()}. '
      'One drives all devices of its host: see --mesh.'
    )
  if config.steps is None and config.epochs is None:
    raise errors.UserError(
      'Give --steps or --epochs: every epoch runs the model over the whole '
      'data set again.'
    )
  for name in ('examples', 'window', 'read_batch'):
    value = getattr(live, name)
    if value is not None and value < 1:
      raise errors.UserError(f'--{name}={value} must be at least 1.')
  if live.read_dtype not in embedding.DTYPES:
    raise errors.UserError(
      f'--read_dtype={live.read_dtype} is unknown: choose '
      f'{" or ".join(embedding.DTYPES)}.'
    )
  if config_lib.is_paired(config):
    raise errors.UserError(
      'Rows that are computed come one by one, not matched: leave --target, '
      '--crosscoder, --align, --group_sparse and --modality_dropout.'
    )
  for name, value in (('rows', None), ('mix', 'natural')):
    if getattr(config, name) != value:
      raise errors.UserError(
        f'--{name}={getattr(config, name)} is not for rows that are computed: '
        'every one is trained on once an epoch.'
      )
  n = sharding.make_mesh(config.mesh).shape[sharding.DATA]
  if live.read_batch % n:
    raise errors.UserError(
      f'--read_batch={live.read_batch} cannot be split over the {n} devices of '
      f"the mesh's first axis: choose a multiple of {n}, or another --mesh."
    )


def _layers(store: store_lib.Store, names: Sequence[str]) -> tuple[int, ...]:
  """The layers of streams that `caching` names."""
  layers = []
  for name in names:
    layer, _, context = name.partition('.')
    number = layer.removeprefix('layer')
    is_such = number.isdigit() and context in caching.CONTEXTS
    if not is_such or name != caching.stream_name(int(number), context):
      raise errors.UserError(
        f'--stream: {name} is no layer of a LLaVA-NeXT, such as layer16.image.'
      )
    if name not in store.streams:
      raise errors.UserError(
        f'{store.path} has no stream {name}; it has {list(store.streams)}.'
      )
    layers.append(int(number))
  return tuple(sorted(set(layers)))


def _check_sample(
  store: store_lib.Store, model: llava_folder.LLaVA, data: examples_lib.Data
) -> None:
  """UserError unless a store holds rows of this model on this data set."""
  missing = [name for name in _SAMPLED if name not in store.about]
  if missing:
    raise errors.UserError(
      f'{store.path} does not say its {missing[0]}: --store takes a sample '
      'that cache_llava wrote.'
    )
  kind = embedding_records
  if isinstance(data, specs.SceneSet):
    kind = embedding_scenes
  asked = run.as_json({
    'model': model.name,
    'revision': model.revision,
    'dataset': kind.about(data)['dataset'],
  })  # fmt: skip
  for name, value in asked.items():
    if store.about.get(name) != value:
      raise errors.UserError(
        f'{store.path} is no sample of these rows: its {name} is '
        f'{store.about.get(name)}, not {value}. Write one with cache_llava '
        '--examples=2000 and the same --model and --dataset.'
      )


def _check_rows(
  config: caching.CacheConfig,
  data: examples_lib.Data,
  source: caching.Source,
  stream: store_lib.Stream,
) -> None:
  """UserError unless the model computes what a sample holds of an example."""
  pair_N = stream.column('pair')
  at_n = np.flatnonzero(pair_N == pair_N[0])
  side = source.model.module.config.vision.image_size
  found, _ = examples_lib.read_at(data, pair_N[:1], side, config.has_texts)
  context = stream.name.partition('.')[2]
  rows = caching.gather(config, source, found, config.layers, [context])
  x_nD = np.concatenate([np.zeros((0, stream.d)), *rows[stream.name].x])
  kept_nD = stream.take(at_n).astype(np.float64)
  off = np.inf
  if x_nD.shape == kept_nD.shape:
    spread_nD = kept_nD - np.asarray(stream.stats['train'].mean)
    off = np.linalg.norm(x_nD - kept_nD) / np.linalg.norm(spread_nD)
  if not off < _OFF:
    raise errors.UserError(
      f'{stream.name} of example {pair_N[0]} is not what --store holds: '
      f'{len(x_nD)} rows for {len(at_n)}, {off:.0%} apart. Give the --model '
      'and the --dataset of the store, or write it again.'
    )


def _counted(
  out: str,
  config: caching.CacheConfig,
  data: examples_lib.Data,
  model: llava_folder.LLaVA,
  contexts: Sequence[str],
) -> windows.Layout:
  """Where rows lie, from the run's folder if it was counted before."""
  path = os.path.join(out, COUNTS)
  if not os.path.exists(path):
    return live_rows.count(config, data, model, contexts)
  found = files.map_arrays(path)
  return windows.Layout(
    count_GM=np.array(found['count']),
    split_G=np.array(found['split']),
    per_shard=caching.PER_SHARD,
  )


def _record(
  live: LiveConfig, config: caching.CacheConfig, model: llava_folder.LLaVA
) -> dict[str, Any]:
  """What the run and its dictionary say of where rows are from."""
  kept = dataclasses.asdict(live)
  del kept['offline']  # No matter how the model came.
  named = {'model': model.name, 'revision': model.revision}
  return kept | named | {name: getattr(config, name) for name in _SAMPLED}


def _read_config(
  config: config_lib.TrainConfig,
  live: LiveConfig,
  store: store_lib.Store,
  layers: Sequence[int],
) -> caching.CacheConfig:
  """What `caching` would be asked for, to have all the rows in a store."""
  kept = {name.partition('.')[2] for name in store.streams}
  return caching.CacheConfig(
    model=live.model,
    dataset=live.dataset,
    layers=tuple(layers),
    examples=live.examples,
    revision=live.revision,
    offline=live.offline,
    dtype=live.read_dtype,
    batch=live.read_batch,
    mesh=config.mesh,
    contexts=tuple(c for c in caching.CONTEXTS if c in kept),
    **{name: store.about[name] for name in _SAMPLED},
  )


def make_plan(
  config: config_lib.TrainConfig,
  layout: windows.Layout,
  live: LiveConfig,
  streams: Sequence[live_rows.LiveStream],
  plan: plan_lib.Plan,
) -> plan_lib.Plan:
  """The plan of a run on a sample, with all rows in place of the sample's.

  Raises:
    UserError: there are no rows, or a window has not as many as a batch.
  """
  for stream, n in zip(streams, layout.totals_M, strict=True):
    if not n:
      raise errors.UserError(f'{stream.name} has no rows in train.')
  mixture = windows.WindowedMixture(
    streams=tuple(streams),
    layout=layout,
    window=live.window,
    batch=config.batch,
    seed=config.data_seed,
    held=plan.mixture.streams,
    whitening=plan.mixture.whitening,
  )
  mean = mixture.total // mixture.windows
  if config.batch > mean:
    raise errors.UserError(
      f'--batch={config.batch} is more than a window has, about {mean} of '
      f'{mixture.total} rows: take more shards to a --window, or more '
      '--examples.'
    )
  steps = config.steps
  if steps is None:
    steps = math.ceil(config.epochs * mixture.total / config.batch)
  rows = min(mixture.total, steps * config.batch // 10)
  return dataclasses.replace(
    plan,
    mixture=mixture,
    steps=steps,
    dead_after=config.dead_after or max(rows, 1),
  )


def train(
  config: config_lib.TrainConfig,
  live: LiveConfig,
  out: str,
  resume: bool = False,
) -> str:
  """Trains an SAE; returns the folder of its dictionary, as `loop.train`.

  The rows of each example are counted first, and the counts kept in the run's
  folder. In memory are the rows of two windows at most.

  Args:
    config: `store` is a sample of the rows, with all of `streams`; `steps` or
      `epochs` is given.
    live: what computes them.
    out: the run's folder.
    resume: go on with the run in it.

  Raises:
    UserError, StoreError: it cannot be run; nothing was written.
    Stopped: SIGTERM or SIGUSR1 came; a checkpoint is written.
  """
  _check(config, live)
  store = store_lib.Store(config.store)
  layers = _layers(store, config.streams)
  data = specs.parse(live.dataset)
  described, _ = llava_folder.describe(
    pretrained.find(live.model), revision=live.revision, offline=live.offline
  )
  _check_sample(store, described, data)
  read = _read_config(config, live, store, layers)
  config = dataclasses.replace(config, live=_record(live, read, described))
  asked = out, dataclasses.asdict(config)
  run.check_folder(*asked, resume, loop.MAY_DIFFER)
  sampled = plan_lib.make_plan(config)
  loop.check_mesh(sampled, sharding.make_mesh(config.mesh))

  source = caching.from_jax(read)
  kept = [store[name] for name in config.streams]
  _check_rows(read, data, source, kept[0])
  contexts = [name.partition('.')[2] for name in config.streams]
  layout = _counted(out, read, data, described, contexts)
  streams = live_rows.streams(read, data, source, kept, layout, 2 * live.window)
  plan = make_plan(config, layout, live, streams, sampled)
  run.open_folder(*asked, resume, loop.MAY_DIFFER)
  if not os.path.exists(os.path.join(out, COUNTS)):
    counts = {'count': layout.count_GM, 'split': layout.split_G}
    files.write_arrays(os.path.join(out, COUNTS), counts)
  return loop.train(config, out, resume=True, plan=plan)
