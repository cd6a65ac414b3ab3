"""Holds sparse autoencoders against other linear methods, R² against L0.

Fits each method on train, sets on val what has a weight, and reports on test:
by the method's own codes, and by orthogonal matching pursuit on its atoms at
the same L0, the same for all. Writes OUT/results.json, table.csv, table.tex
(how each came to its sparsity included) and figures/pareto; of several stores,
a panel each. Killed, it goes on with --resume.

  ./launch.sh pareto --store=runs/store --expansion=8 --l0s=4,8,16,32 \\
      --seeds=0,1 --out=runs/pareto
"""

from absl import flags

from saejax import program
from saejax.pipeline import pareto

C = pareto.ParetoConfig

STORE = program.required('store', 'Folders of stores, joined by commas.')
OUT = program.required('out', 'Folder for results.')
RESUME = flags.DEFINE_bool('resume', False, 'Go on with what is in --out.')
METHODS = flags.DEFINE_list(
  'methods', list(C.methods), 'Variants of train_sae with a --k, and others; '
  'rows are training rows as atoms.'
)  # fmt: skip
L0S = flags.DEFINE_list('l0s', [*map(str, C.l0s)], 'Active codes a row.')
LATENTS = flags.DEFINE_integer('latents', C.latents, 'Atoms of every method.')
EXPANSION = flags.DEFINE_float(
  'expansion', C.expansion, 'Or: atoms over the width [8].'
)
SEEDS = flags.DEFINE_list('seeds', [*map(str, C.seeds)], 'Of every method.')
STEPS = flags.DEFINE_integer('steps', C.steps, 'Training steps of SAEs.')
EPOCHS = flags.DEFINE_float('epochs', C.epochs, 'Or: passes over rows [30].')
BATCH = flags.DEFINE_integer('batch', C.batch, 'Rows a training step of SAEs.')
LR = flags.DEFINE_list(
  'lr', [*map(str, C.lrs)], 'Peak learning rates of SAEs; of several, each L0 '
  'takes the best on val.'
)  # fmt: skip
ALTERNATIONS = flags.DEFINE_integer(
  'alternations', C.alternations, 'Batches of 1024 rows that semi_nmf, '
  'convex_nmf and sparse_coding are fitted to.'
)  # fmt: skip


def main() -> None:
  config = pareto.ParetoConfig(
    stores=tuple(STORE.value.split(',')),
    methods=tuple(METHODS.value),
    l0s=tuple(program.numbers(L0S, int, None)),
    latents=LATENTS.value,
    expansion=EXPANSION.value,
    seeds=tuple(program.numbers(SEEDS, int, None)),
    steps=STEPS.value,
    epochs=EPOCHS.value,
    batch=BATCH.value,
    lrs=tuple(program.numbers(LR, float, None)),
    alternations=ALTERNATIONS.value,
  )
  print(pareto.compare(config, OUT.value, RESUME.value))
  print(OUT.value)


if __name__ == '__main__':
  program.run(main)
