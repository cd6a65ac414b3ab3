"""Measures how much of a dictionary comes back when it is trained again.

Three uses. With --seeds, --data_seeds and --diets (shares of images) the runs
are trained first, under OUT/runs; every flag of train_sae applies. With --runs
and one --store, dictionaries that are there already are compared. With as many
stores as runs, which hold the same images and texts through different models,
concepts are matched by their codes, as directions of two models cannot be.

Concepts are matched one to one (Hungarian) by cosine, dead ones dropped. Writes
results.json, by what the runs differ in and beside three floors of untrained
dictionaries; figures/; and matched.safetensors, each run's stability by
concept. Killed, the same command goes on.

  ./launch.sh stability --store=runs/store --latents=512 --k=8 --seeds=0,1,2 \\
      --diets=1/6,1/2,5/6 --steps=2000 --out=runs/stability
"""

from absl import flags

from saejax import nn
from saejax import program
from saejax import results
from saejax import training_flags
from saejax.pipeline import stability_folder
from saejax.pipeline import stability_runs
from saejax.train import config as config_lib

C = config_lib.TrainConfig

OUT = program.required('out', 'Folder for results.')
RUNS = flags.DEFINE_list('runs', None, 'Dictionaries to compare, no training.')
SEEDS = flags.DEFINE_list('seeds', ['0', '1', '2'], 'Of the initial weights.')
DATA_SEEDS = flags.DEFINE_list('data_seeds', ['0'], 'Of the order of rows.')
DIETS = flags.DEFINE_list('diets', None, 'Shares of images: 1/6,1/2,5/6.')
SPLIT = flags.DEFINE_enum('split', 'test', ['test', 'all'], 'Rows of codes.')
flags.DEFINE_integer('latents', C.latents, 'Dictionary size.')
flags.DEFINE_float('expansion', C.expansion, 'Or: size over width [8].')
flags.DEFINE_integer('k', C.k, 'Mean number of active concepts a row.')
flags.DEFINE_float(
  'l1', None, 'For relu, gated and p_anneal: weight of the L1 penalty '
  f'[{nn.ReLU.l1}; gated {nn.Gated.l1}].'
)  # fmt: skip
flags.DEFINE_float('lr', C.lr, 'Peak learning rate.')


def main() -> None:
  store = flags.FLAGS.store
  if RUNS.value:
    entries = stability_folder.compare_runs(
      RUNS.value, store.split(','), OUT.value, SPLIT.value
    )
  else:
    configs = stability_runs.runs(
      training_flags.config(seed=0),
      program.numbers(SEEDS, int, None),
      program.numbers(DATA_SEEDS, int, None),
      stability_runs.parse_shares(DIETS.value or []),
    )
    entries = stability_folder.train_and_compare(
      configs, OUT.value, SPLIT.value
    )
  print(results.table(entries))
  print(OUT.value)


if __name__ == '__main__':
  program.run(main)
