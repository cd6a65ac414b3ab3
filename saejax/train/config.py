"""What a training run is asked to do."""

from collections.abc import Mapping
import dataclasses
import math
from typing import Any

from saejax import errors
from saejax import nn
from saejax.train import optimisers

STANDARDISATIONS = ('none', 'global', 'modality')
B_DEC_STARTS = ('zero', 'mean', 'median')
DECODER_NORMS = ('unit', 'free')
# Variants that select the k largest codes, and those whose decoder's norms can
# be folded into their codes: no concept is compared with another.
SELECTING = ('topk', 'batch_topk', 'matryoshka', 'archetypal')
FOLDABLE = ('relu', 'jumprelu', 'gated', 'p_anneal')
# Those with one encoder, `w_enc`, of the decoder's width.
ONE_ENCODER = tuple(
  arch
  for arch, module in nn.ARCHITECTURES.items()
  if arch not in ('modality_encoders', 'transcoder') and not module.tied
)
# Those whose concepts can begin anew at any row.
RESAMPLED = tuple(arch for arch in ONE_ENCODER if arch != 'archetypal')
# Flags of variants' own fields, by variant.
OWN_FLAGS = {
  arch: tuple(n for n in nn.own_fields(arch) if n not in module.derived)
  for arch, module in nn.ARCHITECTURES.items()
}
_BOUNDS = {  # Above the first, or at least it; at most the second.
  'l1': (0, math.inf),
  'l0': (0, math.inf),
  'bandwidth': (0, math.inf),
  'p': (0, 1),
  'groups': (0, 1),
  'budgets': (0, 1),
  'cloud': (0, math.inf),
  'relax': (0, math.inf),
  'sparsity_warmup': (0, 0.99),
}
_MAY_BE_LEAST = ('relax', 'sparsity_warmup')
_CHOICES = {'weighting': nn.NestedTopK.WEIGHTINGS}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
  """Flags of `train_sae`; `None` means "derive it".

  The defaults are those that work after arXiv 2504.11695 reports: AdamW 5e-4,
  weight decay 1e-5, batch 1024, 30 epochs, no centring, no decoder bias.
  `settings` are fields that only the module of `arch` has, such as `l1`.
  `live` says what computes the rows where a store does not hold them, see
  `pipeline.live`; `store` is then a sample.
  """

  # Rows, and what is done to them first.
  store: str
  streams: tuple[str, ...] = ('image', 'text')
  rows: str | None = None
  mix: str = 'natural'
  center: str = 'none'
  scale: str = 'none'
  whiten: bool = False
  data_seed: int = 0
  live: Mapping[str, Any] | None = None

  # The dictionary.
  arch: str = 'batch_topk'
  settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  latents: int | None = None
  expansion: float | None = None
  k: int = 32
  use_b_dec: bool = False
  b_dec_start: str = 'zero'
  decoder_norm: str = 'unit'
  dtype: str = 'float32'
  seed: int = 0

  # Its optimiser.
  steps: int | None = None
  epochs: float | None = None
  batch: int = 1024
  optimiser: str = 'adamw'
  lr: float = 5e-4
  lr_law: str = 'none'
  lr_schedule: str | None = None
  warmup: float = 0.05
  weight_decay: float = 1e-5
  clip: float = 1.0
  ema: float = 0.0

  # Matched rows.
  target: str | None = None
  crosscoder: bool = False
  align: float = 0.0
  group_sparse: float = 0.0
  modality_dropout: float = 0.0

  # What keeps concepts alive.
  k_start: int | None = None
  k_anneal: float = 0.1
  multi_topk: float = 0.0
  aux_weight: float = 1 / 32
  aux_k: int | None = None
  dead_after: int | None = None
  resample_every: int | None = None

  # The run.
  mesh: tuple[int, int] | None = None
  log_every: int = 50
  checkpoint_every: int = 1000
  keep: int = 2


def is_paired(config: TrainConfig) -> bool:
  """Whether rows come as pairs rather than stream by stream."""
  return bool(
    config.target is not None
    or config.crosscoder
    or config.align
    or config.group_sparse
    or config.modality_dropout
  )


def _check_pairing(config: TrainConfig) -> None:
  def refuse(names, why):
    for name in names:
      if getattr(config, name):
        raise errors.UserError(f'--{name} is not for {why}.')

  if config.arch == 'archetypal' and is_paired(config):
    raise errors.UserError(
      '--arch=archetypal is not for matched rows: its points stand for single '
      'rows. Use --arch=topk.'
    )
  is_transcoder = config.arch == 'transcoder'
  if is_transcoder != bool(config.target):
    raise errors.UserError(
      '--arch=transcoder needs --target, the stream to reconstruct.'
      if is_transcoder
      else '--target is for --arch=transcoder, which reconstructs that stream.'
    )
  one_row = ('align', 'group_sparse')
  if is_transcoder:
    refuse(
      ('crosscoder', *one_row, 'modality_dropout'),
      '--arch=transcoder: it reads one stream alone',
    )
  if config.crosscoder:
    refuse(one_row, '--crosscoder: its streams share their codes as it is')
    if config.arch == 'modality_encoders':
      raise errors.UserError(
        '--arch=modality_encoders is not for --crosscoder, whose streams have '
        'encoders of their own as it is.'
      )
  if not 0 <= config.modality_dropout < 1:
    raise errors.UserError(
      f'--modality_dropout={config.modality_dropout} must be at least 0 and '
      'below 1.'
    )
  if is_paired(config) and config.rows:
    raise errors.UserError(
      f'--rows={config.rows} is not for matched rows, which come as pairs.'
    )
  if is_paired(config) and config.mix != 'natural':
    raise errors.UserError(
      f'--mix={config.mix} is not for matched rows: a pair gives one row of '
      'each stream.'
    )


def own_settings(config: TrainConfig) -> dict[str, Any]:
  """What the flags say of the variant's own fields."""
  for name, value in config.settings.items():
    owners = [a for a, names in OWN_FLAGS.items() if name in names]
    if config.arch not in owners:
      raise errors.UserError(
        f'--{name} is not for --arch={config.arch}: it belongs to '
        f'{", ".join(owners) or "none"}.'
      )
    if name in _CHOICES:
      if value not in _CHOICES[name]:
        raise errors.UserError(
          f'--{name}={value} is unknown: choose one of '
          f'{", ".join(_CHOICES[name])}.'
        )
      continue
    least, most = _BOUNDS[name]
    for number in value if isinstance(value, (tuple, list)) else (value,):
      is_least = number == least and name in _MAY_BE_LEAST
      if not (least < number <= most or is_least):
        word = 'at least' if name in _MAY_BE_LEAST else 'above'
        raise errors.UserError(
          f'--{name}={number} must be {word} {least:g}'
          + (f' and at most {most:g}.' if most < math.inf else '.')
        )
  as_tuple = lambda v: tuple(v) if isinstance(v, list) else v
  return {name: as_tuple(v) for name, v in config.settings.items()}


def _check_choices(config: TrainConfig) -> None:
  for name, allowed in (
    ('arch', nn.ARCHITECTURES),
    ('center', STANDARDISATIONS),
    ('scale', STANDARDISATIONS),
    ('dtype', ('float32', 'bfloat16')),
    ('b_dec_start', B_DEC_STARTS),
    ('decoder_norm', DECODER_NORMS),
    ('optimiser', optimisers.OPTIMISERS),
    ('lr_law', optimisers.LAWS),
    ('lr_schedule', (None, *optimisers.SCHEDULES)),
  ):
    value = getattr(config, name)
    if value not in allowed:
      raise errors.UserError(
        f'--{name}={value} is unknown: choose one of '
        f'{", ".join(filter(None, allowed))}.'
      )


def _check_numbers(config: TrainConfig) -> None:
  for name in (
    'k', 'batch', 'log_every', 'checkpoint_every', 'keep', 'aux_k',
    'dead_after', 'k_start', 'resample_every',
  ):  # fmt: skip
    value = getattr(config, name)
    if value is not None and value < 1:
      raise errors.UserError(f'--{name}={value} must be at least 1.')
  for name in (
    'weight_decay', 'aux_weight', 'clip', 'multi_topk', 'align', 'group_sparse',
  ):  # fmt: skip
    if getattr(config, name) < 0:
      raise errors.UserError(f'--{name} must not be negative.')
  if config.lr <= 0:
    raise errors.UserError('--lr must be positive.')
  for name in ('warmup', 'ema'):
    if not 0 <= getattr(config, name) < 1:
      raise errors.UserError(
        f'--{name}={getattr(config, name)} must be at least 0 and below 1.'
      )
  if not 0 < config.k_anneal <= 1:
    raise errors.UserError(
      f'--k_anneal={config.k_anneal} must be above 0 and at most 1, a share of '
      'the steps.'
    )
  for a, b in (('steps', 'epochs'), ('latents', 'expansion')):
    both = getattr(config, a), getattr(config, b)
    if None not in both:
      raise errors.UserError(f'Give --{a} or --{b}, not both.')
    if any(v is not None and v <= 0 for v in both):
      raise errors.UserError(f'--{a} and --{b} must be positive.')


def _check_fit(config: TrainConfig) -> None:
  """What single flags ask of others."""
  for flag, is_used, archs in (
    ('k_start', config.k_start is not None, SELECTING),
    ('multi_topk', config.multi_topk, SELECTING),
    ('decoder_norm=free', config.decoder_norm == 'free', FOLDABLE),
    # Others compare concepts, whose norms change on the way back.
    ('whiten', config.whiten, FOLDABLE),
    ('resample_every', config.resample_every, RESAMPLED),
    ('b_dec_start', config.b_dec_start != 'zero', ONE_ENCODER),
  ):
    if is_used and config.arch not in archs:
      raise errors.UserError(
        f'--{flag} is not for --arch={config.arch}: it is for '
        f'{", ".join(archs)}.'
      )
  if config.b_dec_start != 'zero' and not config.use_b_dec:
    raise errors.UserError(
      f'--b_dec_start={config.b_dec_start} is of the decoder bias: add '
      '--use_b_dec.'
    )
  if config.whiten and (config.scale != 'none' or is_paired(config)):
    raise errors.UserError(
      f'--whiten is not for --scale={config.scale}: it scales every direction.'
      if config.scale != 'none'
      else '--whiten is not for matched rows.'
    )
  if config.optimiser == 'schedule_free':
    for name, is_fit in (
      ('lr_schedule', config.lr_schedule in (None, 'constant')),
      ('ema', not config.ema),
    ):
      if not is_fit:
        raise errors.UserError(
          f'--{name}={getattr(config, name)} is not for '
          '--optimiser=schedule_free, whose own average is in its place.'
        )


def check(config: TrainConfig) -> None:
  """UserError for what cannot be run, whatever the store."""
  _check_choices(config)
  _check_numbers(config)
  if not config.streams:
    raise errors.UserError('--stream names no stream.')
  _check_fit(config)
  _check_pairing(config)
