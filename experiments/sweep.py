"""Trains many sparse autoencoders in one pass over a store.

One for each combination of --k, --lr, --l1, --latents and --seeds; each batch
is read once, for all, and each dictionary is the one that train_sae makes with
the same flags. Writes OUT/members/NAME/sae and metrics.jsonl, OUT/checkpoints,
and R², L0 and silent concepts of each on the rows of val: OUT/results.json and
OUT/figures/sweep (PNG, SVG, CSV). Choose by them; the number to report of the
one chosen is that of evaluate. Killed, it goes on with --resume.

  ./launch.sh sweep --store=runs/store --latents=512 --k=8,16,32 \\
      --seeds=0,1,2 --out=runs/sweep
"""

import itertools

from absl import flags

from saejax import errors
from saejax import nn
from saejax import ops
from saejax import program
from saejax import training_flags
from saejax.pipeline import sweeping
from saejax.train import config as config_lib
from saejax.train import sweep

C = config_lib.TrainConfig

OUT = program.required('out', 'Folder of the sweep.')
RESUME = flags.DEFINE_bool('resume', False, 'Go on with the sweep in --out.')
LATENTS = flags.DEFINE_list('latents', None, 'Dictionary sizes.')
EXPANSION = flags.DEFINE_list(
  'expansion', None, 'Or: sizes over the width [8].'
)
K = flags.DEFINE_list(
  'k', None, 'Mean numbers of active concepts a row; relu, gated and p_anneal '
  f'have --l1 in their place [{C.k}].'
)  # fmt: skip
L1 = flags.DEFINE_list(
  'l1', None, 'For relu, gated and p_anneal: weights of the L1 penalty '
  f'[{nn.ReLU.l1}; gated {nn.Gated.l1}].'
)  # fmt: skip
LR = flags.DEFINE_list('lr', [str(C.lr)], 'Peak learning rates.')
SEEDS = flags.DEFINE_list('seeds', [str(C.seed)], 'Of the initial weights.')
STACK = flags.DEFINE_enum(
  'stack', 'auto', sweep.STACKS, 'Members of one size at once (vmap), shared '
  'out over devices, or one after another (loop); auto loops on a CPU or a '
  '--mesh.'
)  # fmt: skip


def members() -> list[config_lib.TrainConfig]:
  """The grid of what the flags name."""
  arch = flags.FLAGS.arch
  if K.value and not nn.ARCHITECTURES[arch].meets_k:
    raise errors.UserError(
      f'--k is not for --arch={arch}, which has --l1 in its place.'
    )
  grid = itertools.product(
    program.numbers(LATENTS, int, None),
    program.numbers(EXPANSION, float, None),
    program.numbers(K, int, C.k),
    program.numbers(LR, float, C.lr),
    program.numbers(L1, float, None),
    program.numbers(SEEDS, int, C.seed),
  )
  return [
    training_flags.config(
      own={} if l1 is None else {'l1': l1},
      latents=latents,
      expansion=expansion,
      k=k,
      lr=lr,
      seed=seed,
    )
    for latents, expansion, k, lr, l1, seed in grid
  ]


def main() -> None:
  configs = members()
  config_lib.check(configs[0])
  sweeping.check(configs[0])
  with ops.kernels(training_flags.KERNELS.value):
    found = sweep.sweep(configs, OUT.value, RESUME.value, STACK.value)
  entries = sweeping.write(OUT.value, configs, found)
  print(sweeping.table(configs, entries))
  print(OUT.value)


if __name__ == '__main__':
  program.run(main)
