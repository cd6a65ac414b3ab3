"""Flags of the programs that train: importing this module defines them."""

from collections.abc import Mapping
from typing import Any

from absl import flags

from saejax import errors
from saejax import nn
from saejax import ops
from saejax import program
from saejax.train import config as config_lib
from saejax.train import optimisers

C = config_lib.TrainConfig
STANDARD = config_lib.STANDARDISATIONS

STREAM = flags.DEFINE_list('stream', list(C.streams), 'Streams to train on.')
program.required('store', 'Folder of the store.')
flags.DEFINE_enum(
  'arch', C.arch, list(nn.ARCHITECTURES), 'Variant: k concepts a row (topk; '
  'abs_topk, of either sign; hierarchical_topk and nested_topk, whose largest '
  'codes reconstruct by themselves; mp and omp, chosen one after another; '
  'archetypal, whose concepts are near mixtures of points of the rows), or '
  'on average (batch_topk; matryoshka, whose first concepts reconstruct by '
  'themselves; jumprelu, whose thresholds are learned); or as many as an L1 '
  'penalty leaves (relu, gated, p_anneal). topk with an encoder for each '
  'modality (modality_encoders), or to read one stream and reconstruct another '
  '(transcoder).'
)  # fmt: skip
flags.DEFINE_float(
  'p', None, 'For p_anneal: exponent that the penalty ends with '
  f'[{nn.PAnneal.p}].'
)  # fmt: skip
flags.DEFINE_float(
  'sparsity_warmup', None, 'For relu, gated and p_anneal: share of the steps '
  f'over which the L1 penalty rises [{nn.ReLU.sparsity_warmup}].'
)  # fmt: skip
flags.DEFINE_float(
  'l0', None, 'For jumprelu: weight of L0 as a penalty, in place of --k.'
)
flags.DEFINE_float(
  'bandwidth', None, 'For jumprelu: width around a threshold in which its '
  f'gradient is seen, in units of an entry of a row [{nn.JumpReLU.bandwidth}].'
)  # fmt: skip
GROUPS = flags.DEFINE_list(
  'groups', None, 'For matryoshka: shares of the dictionary that reconstruct '
  f'by themselves [{",".join(map(str, nn.Matryoshka.groups))}].'
)  # fmt: skip
BUDGETS = flags.DEFINE_list(
  'budgets', None, 'For nested_topk: shares of k that reconstruct by '
  f'themselves [{",".join(map(str, nn.NestedTopK.budgets))}].'
)  # fmt: skip
flags.DEFINE_enum(
  'weighting', None, list(nn.NestedTopK.WEIGHTINGS), 'For nested_topk: of '
  'budgets in the loss; reverse favours the smallest '
  f'[{nn.NestedTopK.weighting}].'
)  # fmt: skip
flags.DEFINE_integer(
  'cloud', None, 'For archetypal: points, centroids of rows, of which concepts '
  'are mixtures [8 times the width, at most the rows].'
)  # fmt: skip
flags.DEFINE_float(
  'relax', None, 'For archetypal: how far a concept may lie from a mixture, in '
  f'units of the points\' norm [{nn.Archetypal.relax:g}].'
)  # fmt: skip
flags.DEFINE_integer('data_seed', C.data_seed, 'Of the order of rows.')
flags.DEFINE_integer('steps', C.steps, 'Training steps.')
flags.DEFINE_float('epochs', C.epochs, 'Or: passes over the rows [30].')
flags.DEFINE_integer('batch', C.batch, 'Rows a step, over all devices.')
flags.DEFINE_enum(
  'optimiser', C.optimiser, list(optimisers.OPTIMISERS), 'Lion and signum want '
  'a smaller --lr than AdamW, muon (of matrices; vectors are left to AdamW) a '
  'larger; schedule_free saves the average that it keeps.'
)  # fmt: skip
flags.DEFINE_enum(
  'lr_law', C.lr_law, optimisers.LAWS, 'Learning rate by dictionary size: '
  'width divides it by √(size / 16384).'
)  # fmt: skip
flags.DEFINE_enum(
  'lr_schedule', C.lr_schedule, optimisers.SCHEDULES, 'After the warm-up: wsd '
  'stays, and falls over the last fifth [cosine; for schedule_free constant].'
)  # fmt: skip
flags.DEFINE_float(
  'warmup', C.warmup, 'Share of the steps over which the learning rate rises.'
)
flags.DEFINE_float(
  'weight_decay', C.weight_decay, 'Of adamw, lion, muon and schedule_free.'
)
flags.DEFINE_float(
  'clip', C.clip, 'Norm to which gradients are clipped; 0 leaves them.'
)
flags.DEFINE_float(
  'ema', C.ema, 'Share that a step keeps of a moving average of the weights, '
  'which is saved in their place; 0 keeps none.'
)  # fmt: skip
flags.DEFINE_integer(
  'k_start', C.k_start, 'For topk, batch_topk, matryoshka and archetypal: k at '
  'the first step, from where it moves to --k [--k].'
)  # fmt: skip
flags.DEFINE_float(
  'k_anneal', C.k_anneal, 'Share of the steps over which k moves.'
)
flags.DEFINE_float(
  'multi_topk', C.multi_topk, 'For topk, batch_topk, matryoshka and '
  'archetypal: weight of a second reconstruction, by 4k codes; 0.125 in its '
  'paper, 0 for none.'
)  # fmt: skip
flags.DEFINE_string(
  'rows', C.rows, 'Train on so many distinct rows of each stream, such as '
  'image=1000,text=5000; with draw=1 on the next as many, which share none '
  'with those of draw=0 [all].'
)  # fmt: skip
flags.DEFINE_string(
  'mix', C.mix, 'Rows of each stream in a batch: natural (as there are rows), '
  'equal, or weights such as image=1,text=5.'
)  # fmt: skip
flags.DEFINE_string(
  'target', C.target, 'For transcoder: the stream it reconstructs, from the '
  'other one of --stream.'
)  # fmt: skip
flags.DEFINE_bool(
  'crosscoder', C.crosscoder, 'Join the matched rows of all streams to one, '
  'with one code for all.'
)  # fmt: skip
flags.DEFINE_float(
  'align', C.align, 'Weight of 1 − the cosine of the codes of matched rows; '
  'this and the next two train on pairs.'
)  # fmt: skip
flags.DEFINE_float(
  'group_sparse', C.group_sparse, 'Weight of the L2,1 norm of the codes of '
  'matched rows, less where they share concepts.'
)  # fmt: skip
flags.DEFINE_float(
  'modality_dropout', C.modality_dropout, 'Share of pairs of which one side is '
  'reconstructed from the other.'
)  # fmt: skip
flags.DEFINE_enum('center', C.center, STANDARD, 'Mean taken away first.')
flags.DEFINE_enum('scale', C.scale, STANDARD, 'Spread scaled to 1 first.')
flags.DEFINE_bool(
  'whiten', C.whiten, 'For relu, gated, p_anneal and jumprelu: train on rows '
  'whitened about --center, whose R² metrics.jsonl then tells; what is saved '
  'reads rows as they are.'
)  # fmt: skip
flags.DEFINE_bool('use_b_dec', C.use_b_dec, 'Learn a decoder bias.')
flags.DEFINE_enum(
  'b_dec_start', C.b_dec_start, config_lib.B_DEC_STARTS, 'Where the decoder '
  'bias starts: 0, or the mean or geometric median of rows, which the encoder '
  'then reads less it.'
)  # fmt: skip
flags.DEFINE_enum(
  'decoder_norm', C.decoder_norm, config_lib.DECODER_NORMS, 'Of decoder rows '
  'in training; free, for relu, gated, p_anneal and jumprelu, goes into the '
  'codes at the end.'
)  # fmt: skip
flags.DEFINE_enum(
  'dtype', C.dtype, ['float32', 'bfloat16'], 'Of the encoder matmul.'
)
flags.DEFINE_float(
  'aux_weight', C.aux_weight, 'Of AuxK, against dead concepts.'
)
flags.DEFINE_integer('aux_k', C.aux_k, 'Dead concepts it uses [width / 2].')
flags.DEFINE_integer(
  'dead_after', C.dead_after, 'Rows after which a silent concept counts as '
  'dead [an epoch, or a tenth of the run].'
)  # fmt: skip
flags.DEFINE_integer(
  'resample_every', C.resample_every, 'Steps after which dead concepts begin '
  'anew, at rows of large loss, in the first half of the run [never].'
)  # fmt: skip
program.mesh_flag()
KERNELS = flags.DEFINE_enum(
  'kernels', 'auto', list(ops.FORMS), 'How sums over codes are computed: by '
  'column (loop), in large steps (block) or by kernels for TPUs (pallas); auto '
  'takes loop on a CPU and block elsewhere.'
)  # fmt: skip
flags.DEFINE_integer('log_every', C.log_every, 'Steps between metrics.')
flags.DEFINE_integer(
  'checkpoint_every', C.checkpoint_every, 'Steps between checkpoints.'
)
flags.DEFINE_integer('keep', C.keep, 'Checkpoints kept.')


def settings() -> dict[str, Any]:
  """The flags given of single variants."""
  names = {name for own in config_lib.OWN_FLAGS.values() for name in own}
  given = {n: flags.FLAGS[n].value for n in names if n in flags.FLAGS}
  given = {n: v for n, v in sorted(given.items()) if v is not None}
  for flag in (GROUPS, BUDGETS):
    if flag.value is None:
      continue
    try:
      given[flag.name] = tuple(map(float, flag.value or ['']))
    except ValueError:
      raise errors.UserError(
        f'--{flag.name}={",".join(flag.value)} must be numbers joined by '
        'commas, such as 0.25,0.5.'
      ) from None
  return given


def config(
  own: Mapping[str, Any] | None = None, **given: Any
) -> config_lib.TrainConfig:
  """The flags as a config; what is given is not asked of flags.

  `own` are settings of the variant in place of the flags of those names.
  """
  return program.config_from_flags(
    C,
    streams=tuple(STREAM.value),
    mesh=program.mesh_shape(),
    settings=settings() | dict(own or {}),
    **given,
  )
