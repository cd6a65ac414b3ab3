"""What training on matched rows comes to: pairs, crosscoders, transcoders.

A crosscoder of sites of widths D_1 … D_n (Lindsey et al., *Sparse crosscoders
for cross-layer features and model diffing*, Transformer Circuits, 2024) is

  pre = Σ_j u_j W_enc[j] + b_enc,   û_j = z W_dec[j] + b_dec[j]

with W_enc[j] and W_dec[j] the part of site j. That is, term by term, an SAE on
the joined row u = (u_1, …, u_n): Σ_j u_j W_enc[j] = u W_enc, and the squared
errors of sites add up to that of the joined row. So any variant is made a
crosscoder by joining rows, each site standardised by itself. Only the penalty
differs: the paper's is Σ_i z_i Σ_j ‖d_i[j]‖, an L1 over sites, which keeps
concepts to few of them; here relu, gated and p_anneal pay Σ_i z_i ‖d_i‖, the L2
over sites (rows of the joined dictionary are unit), which does not ask for it.
Where the budget is k there is no penalty, and nothing differs.
"""

import math

import numpy as np

from saejax import errors
from saejax import io
from saejax import nn
from saejax import store as store_lib
from saejax.data import pairs as pairs_lib
from saejax.train import config as config_lib
from saejax.train import plan as plan_lib

_ALL = ('all',)


def _source(config: config_lib.TrainConfig) -> str:
  """The stream that a transcoder reads."""
  others = [name for name in config.streams if name != config.target]
  if len(others) != 1:
    raise errors.UserError(
      f'--target={config.target} needs one other stream to read; --stream '
      f'gives {", ".join(others) or "none"}.'
    )
  return others[0]


def _check_widths(streams: tuple[store_lib.Stream, ...]) -> None:
  widths = {s.name: s.d for s in streams}
  if len(set(widths.values())) != 1:
    raise errors.UserError(
      f'Streams must have one width; got {widths}. --crosscoder joins streams '
      'of any width.'
    )


def _joined_constants(config: config_lib.TrainConfig, streams):
  """Scale by site, centre [ΣD] of joined rows, and the RMS of an entry."""
  stats = [s.stats['train'] for s in streams]
  d_M = np.array([s.d for s in streams], np.float64)
  no_center = config.center == 'none'
  centers = [np.asarray(t.mean) * (not no_center) for t in stats]
  spread_M = np.array([t.mean_square_norm for t in stats])
  spread_M = spread_M - [(c**2).sum() for c in centers]
  spread_M = np.maximum(spread_M, 1e-30)
  scale_M = {
    'none': np.ones(len(streams)),
    'global': np.full(len(streams), np.sqrt(d_M.sum() / spread_M.sum())),
    'modality': np.sqrt(d_M / spread_M),
  }[config.scale]
  center_D = np.concatenate(
    [c * scale for c, scale in zip(centers, scale_M, strict=True)]
  )
  rms = float(np.sqrt((spread_M * scale_M**2).sum() / d_M.sum()))
  return tuple(map(float, scale_M)), center_D.astype(np.float32), rms


def _mixture(config: config_lib.TrainConfig, streams, shared):
  """The batches of a config, the SAE's fields, its constants, and its sites."""
  one = lambda stream: plan_lib.standardise(config, (stream,), (1,), _ALL, (0,))
  sites = lambda scales: tuple(
    io.Site(stream=s.name, d=s.d, scale=scale)
    for s, scale in zip(streams, scales, strict=True)
  )
  if config.target:
    source, target = streams
    (source_constants, _), (constants, rms) = one(source), one(target)
    constants |= {f'source_{n}': a for n, a in source_constants.items()}
    fields = {'d': target.d, 'd_in': source.d, 'modalities': _ALL}
    mixture = pairs_lib.Transcoded(**shared)
    return mixture, fields, constants, rms, sites((1.0, 1.0))
  if config.crosscoder:
    scales, center_D, rms = _joined_constants(config, streams)
    constants = {'center': center_D[None], 'scale': np.ones(1, np.float32)}
    fields = {'d': len(center_D), 'modalities': _ALL}
    mixture = pairs_lib.Joined(**shared, scales=scales, center_D=center_D)
    return mixture, fields, constants, rms, sites(scales)
  _check_widths(streams)
  modalities, modality_of = plan_lib.modalities_of(config, streams)
  constants, rms = plan_lib.standardise(
    config, streams, (1,) * len(streams), modalities, modality_of
  )
  fields = {'d': streams[0].d, 'modalities': modalities}
  mixture = pairs_lib.SideBySide(
    **shared,
    modality_of=modality_of,
    center_MD=constants['center'],
    scale_M=constants['scale'],
  )
  return mixture, fields, constants, rms, ()


def make_plan(config: config_lib.TrainConfig) -> plan_lib.Plan:
  """Resolves a config whose rows come in pairs; see `plan.make_plan`.

  Raises:
    UserError, StoreError: what cannot be done.
  """
  config_lib.check(config)
  store = store_lib.Store(config.store)
  names = config.streams
  if config.target:
    names = (_source(config), config.target)
  streams = tuple(store[name] for name in names)
  arch = nn.ARCHITECTURES[config.arch]
  if issubclass(arch, nn.BatchTopK):
    pairs_lib.match(streams, 'val')  # The threshold is calibrated on them.
  mixture, fields, constants, rms, sites = _mixture(
    config,
    streams,
    dict(
      streams=streams,
      pairs=pairs_lib.match(streams, 'train'),
      batch=config.batch,
      seed=config.data_seed,
      dropout=config.modality_dropout,
    ),
  )
  if config.batch % mixture.rows_a_pair:
    raise errors.UserError(
      f'--batch={config.batch} must be a multiple of {mixture.rows_a_pair}, '
      'the rows of a pair.'
    )
  latents = plan_lib.dictionary_size(config, fields['d'])
  fields |= plan_lib.shared_fields(config, latents)
  if 'rms' in nn.own_fields(config.arch):
    fields['rms'] = rms
  steps = config.steps or math.ceil(
    (config.epochs or 30) * mixture.total / config.batch
  )
  idle = max(min(mixture.total, steps * config.batch // 10), 1)
  if config.b_dec_start != 'zero':
    raise errors.UserError(
      f'--b_dec_start={config.b_dec_start} is not for matched rows: leave it '
      'out.'
    )
  return plan_lib.Plan(
    sae=arch(**fields),
    mixture=mixture,
    modality_of=getattr(mixture, 'modality_of', (0,) * len(streams)),
    constants=constants,
    b_dec_D=None,
    steps=steps,
    **plan_lib.learning_rate(config, latents),
    aux_k=min(config.aux_k or max(fields['d'] // 2, 1), latents),
    dead_after=config.dead_after or idle,
    store_hash=store.hash,
    sites=sites,
  )
