"""What a training run comes to on its store."""

from collections.abc import Mapping
import dataclasses
import math
from typing import Any

import jax
import numpy as np

from saejax import errors
from saejax import io
from saejax import nn
from saejax import ops
from saejax import store as store_lib
from saejax.data import batches
from saejax.data import pairs as pairs_lib
from saejax.data import whitening
from saejax.data import windows
from saejax.train import config as config_lib
from saejax.train import median
from saejax.train import optimisers

_WHITENED = 131_072  # Rows, at least, whose covariance is taken.
_SAMPLE = 8192  # Rows of which the mean or the median is taken.
_ROWS_SEED = 0  # Of the order in which --rows takes them, for every run.
_ROWS_A_POINT = 8  # Rows that k-means reads, at most, for each of its points.
_POINTS = 8  # Points of a cloud, at most, in units of the width.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
  """A config resolved against its store: nothing is left to derive."""

  sae: nn.LinearSAE
  mixture: batches.Mixture | pairs_lib.PairedMixture | windows.WindowedMixture
  modality_of: tuple[int, ...]  # By stream: its index in `sae.modalities`.
  constants: Mapping[str, np.ndarray]
  b_dec_D: np.ndarray | None  # Where the decoder's bias starts, if not at 0.
  steps: int
  lr: float
  lr_schedule: str
  aux_k: int
  dead_after: int
  store_hash: str
  sites: tuple[io.Site, ...] = ()


def parse_mix(mix: str, streams: tuple[store_lib.Stream, ...], rows):
  """Weights of streams from 'natural', 'equal' or 'image=1,text=5'."""
  if mix == 'natural':
    return tuple(float(len(r)) for r in rows)
  if mix == 'equal':
    return (1.0,) * len(streams)
  try:
    weights = {k: float(v) for k, v in (p.split('=') for p in mix.split(','))}
  except ValueError:
    raise errors.UserError(
      f"--mix={mix} is not understood: write 'natural', 'equal', or weights "
      "such as 'image=1,text=5'."
    ) from None
  names = [s.name for s in streams]
  positive = all(0 < w < math.inf for w in weights.values())
  if set(weights) != set(names) or not positive:
    raise errors.UserError(
      f'--mix={mix} must give a positive weight to each of {names}.'
    )
  return tuple(weights[n] for n in names)


def _chosen(given: str | None, streams) -> tuple[np.ndarray, ...]:
  """Rows of `train` of each stream to train on, from `--rows`."""
  rows = tuple(s.rows('train') for s in streams)
  if given is None:
    return rows
  try:
    asked = {k: int(v) for k, v in (p.split('=') for p in given.split(','))}
  except ValueError:
    asked = {}
  draw = asked.pop('draw', 0)
  names = [s.name for s in streams]
  if set(asked) != set(names) or min(asked.values()) < 1 or draw < 0:
    raise errors.UserError(
      f'--rows={given} must give a number of rows of each of {names}, such as '
      f'{",".join(f"{n}=1000" for n in names)}.'
    )
  chosen = []
  for stream, rows_N in zip(streams, rows, strict=True):
    n = asked[stream.name]
    if (draw + 1) * n > len(rows_N):
      raise errors.UserError(
        f'--rows={given} needs {(draw + 1) * n} rows of {stream.name}; the '
        f'store has {len(rows_N)} in train.'
      )
    places_n = np.arange(draw * n, (draw + 1) * n)
    picked_n = batches.permute(places_n, len(rows_N), seed=_ROWS_SEED)
    chosen.append(rows_N[np.sort(picked_n)])
  return tuple(chosen)


def standardise(
  config: config_lib.TrainConfig, streams, shares, modalities, modality_of
):
  """Centre [M, D], scale [M] and what they make the RMS of an entry."""
  m, d = len(modalities), streams[0].d
  mean_MD, square_M, weight_M = np.zeros((m, d)), np.zeros(m), np.zeros(m)
  for stream, share, i in zip(streams, shares, modality_of, strict=True):
    stats = stream.stats['train']
    mean_MD[i] += share * np.asarray(stats.mean)
    square_M[i] += share * stats.mean_square_norm
    weight_M[i] += share
  mean_MD, square_M = mean_MD / weight_M[:, None], square_M / weight_M
  every = weight_M / weight_M.sum()
  whole_D = every @ mean_MD
  center_MD = {
    'none': np.zeros((m, d)),
    'global': np.broadcast_to(whole_D, (m, d)),
    'modality': mean_MD,
  }[config.center]
  # Mean square distance from the centre, from the first two moments.
  spread_M = square_M - 2 * (mean_MD * center_MD).sum(1)
  spread_M = spread_M + (center_MD**2).sum(1)
  scale_M = {
    'none': np.ones(m),
    'global': np.full(m, np.sqrt(d / max(every @ spread_M, 1e-30))),
    'modality': np.sqrt(d / np.maximum(spread_M, 1e-30)),
  }[config.scale]
  constants = {
    'center': center_MD.astype(np.float32),
    'scale': scale_M.astype(np.float32),
  }
  return constants, float(np.sqrt(every @ (spread_M * scale_M**2) / d))


def modalities_of(
  config: config_lib.TrainConfig, streams: tuple[store_lib.Stream, ...]
) -> tuple[tuple[str, ...], tuple[int, ...]]:
  """Names of what is standardised, or encoded, by itself; and each stream's."""
  names = tuple(dict.fromkeys(s.modality for s in streams))
  is_apart = 'modality' in (config.center, config.scale)
  if is_apart or config.arch == 'modality_encoders':
    return names, tuple(names.index(s.modality) for s in streams)
  return ('all',), (0,) * len(streams)


def dictionary_size(config: config_lib.TrainConfig, d: int) -> int:
  """Concepts of the dictionary, at least k if there is a k to meet."""
  latents = config.latents or round(d * (config.expansion or 8))
  for name in ('k', 'k_start'):
    value = getattr(config, name) or 0
    if nn.ARCHITECTURES[config.arch].meets_k and value > latents:
      raise errors.UserError(
        f'--{name}={value} is larger than the dictionary: it has {latents} '
        'concepts.'
      )
  return latents


def shared_fields(
  config: config_lib.TrainConfig, latents: int
) -> dict[str, Any]:
  """The SAE's fields that follow from flags alone."""
  return dict(
    s=latents,
    k=min(config.k, latents),  # Where k is ignored it may be larger.
    use_b_dec=config.use_b_dec,
    dtype=config.dtype,
    **config_lib.own_settings(config),
  )


def learning_rate(
  config: config_lib.TrainConfig, latents: int
) -> dict[str, Any]:
  """The plan's peak learning rate and its schedule."""
  own = optimisers.OWN_SCHEDULE.get(config.optimiser, 'cosine')
  return dict(
    lr=optimisers.rate(config.lr, config.lr_law, latents),
    lr_schedule=config.lr_schedule or own,
  )


def first_rows(
  n: int, mixture: batches.Mixture, modality_of, constants
) -> np.ndarray:
  """Standardised rows [n, D], the first that training would see."""
  modality_N, x_ND = [], []
  for step in range(math.ceil(n / mixture.batch)):
    which_B, rows_B = mixture.rows_of(step)
    x_ND.append(mixture.take(which_B, rows_B))
    modality_N.append(np.asarray(modality_of)[which_B])
  modality_N = np.concatenate(modality_N)[:n]
  u_ND = np.concatenate(x_ND)[:n] - constants['center'][modality_N]
  return u_ND * constants['scale'][modality_N, None]


def b_dec_start(
  how: str, mixture: batches.Mixture, modality_of, constants
) -> np.ndarray | None:
  """The mean or median [D] of standardised rows, as training would see them."""
  if how == 'zero':
    return None
  u_ND = first_rows(_SAMPLE, mixture, modality_of, constants)
  find = {'mean': lambda x: x.mean(0), 'median': median.geometric_median}[how]
  return find(u_ND).astype(np.float32)


def make_cloud(
  config: config_lib.TrainConfig, mixture: batches.Mixture, *standard
) -> np.ndarray:
  """Points [M, D] of standardised rows, of mean square norm 1."""
  total = sum(map(len, mixture.rows))
  m = config.settings.get('cloud') or min(_POINTS * mixture.streams[0].d, total)
  if m > total:
    raise errors.UserError(
      f'--cloud={m} is more than the {total} rows it is to stand for.'
    )
  u_ND = first_rows(min(_ROWS_A_POINT * m, total), mixture, *standard)
  key = jax.random.key(config.data_seed)
  cloud_MD = np.asarray(ops.kmeans(key, u_ND, m))
  square = np.mean(np.sum(cloud_MD**2, axis=1))
  return cloud_MD / np.sqrt(np.maximum(square, 1e-30))


def whiten(mixture: batches.Mixture, modality_of, constants):
  """The mixture whitened about the centres, and constants that leave it so."""
  which, rows = zip(
    *map(mixture.rows_of, range(math.ceil(_WHITENED / mixture.batch))),
    strict=True,
  )
  which_N, rows_N = np.concatenate(which), np.concatenate(rows)
  center_MD = constants['center'][np.asarray(modality_of)]
  found = whitening.fit(mixture.take(which_N, rows_N), which_N, center_MD)
  constants = constants | {'center': np.zeros_like(constants['center'])}
  return dataclasses.replace(mixture, whitening=found), constants, 1.0


def make_plan(config: config_lib.TrainConfig) -> Plan:
  """Resolves a config; UserError or StoreError says what cannot be done."""
  config_lib.check(config)
  store = store_lib.Store(config.store)
  streams = tuple(store[name] for name in config.streams)
  if len({s.d for s in streams}) != 1:
    widths = {s.name: s.d for s in streams}
    raise errors.UserError(f'Streams must have one width; got {widths}.')
  rows = _chosen(config.rows, streams)
  for stream, rows_n in zip(streams, rows, strict=True):
    if not len(rows_n):
      raise errors.UserError(
        f'Stream {stream.name} of {config.store} has no rows in train.'
      )
    is_calibrated = issubclass(nn.ARCHITECTURES[config.arch], nn.BatchTopK)
    if is_calibrated and not stream.stats['val'].rows:
      raise errors.UserError(
        f'Stream {stream.name} of {config.store} has no rows in val, on '
        f'which the threshold of {config.arch} is calibrated: give its store '
        'a val split, or use --arch=topk.'
      )
  shares = parse_mix(config.mix, streams, rows)
  d, total = streams[0].d, sum(map(len, rows))
  latents = dictionary_size(config, d)
  modalities, modality_of = modalities_of(config, streams)
  fields = dict(d=d, modalities=modalities, **shared_fields(config, latents))
  constants, rms = standardise(config, streams, shares, modalities, modality_of)
  if 'rms' in nn.own_fields(config.arch):
    fields['rms'] = rms
  steps = config.steps
  if steps is None:
    steps = math.ceil((config.epochs or 30) * total / config.batch)
  mixture = batches.Mixture(
    streams=streams,
    rows=rows,
    batch=config.batch,
    shares=shares,
    seed=config.data_seed,
  )
  if config.whiten:
    mixture, constants, rms = whiten(mixture, modality_of, constants)
    fields |= {'rms': rms} if 'rms' in fields else {}
  if config.arch == 'archetypal':
    constants['cloud'] = make_cloud(config, mixture, modality_of, constants)
    fields['cloud'] = len(constants['cloud'])
  return Plan(
    sae=nn.ARCHITECTURES[config.arch](**fields),
    mixture=mixture,
    modality_of=modality_of,
    constants=constants,
    b_dec_D=b_dec_start(config.b_dec_start, mixture, modality_of, constants),
    steps=steps,
    **learning_rate(config, latents),
    # Half the width, as in arXiv 2406.04093, but never more than there are.
    aux_k=min(config.aux_k or max(d // 2, 1), latents),
    # A concept is dead once it missed an epoch, or a tenth of a short run.
    dead_after=config.dead_after
    or max(min(total, steps * config.batch // 10), 1),
    store_hash=store.hash,
  )
