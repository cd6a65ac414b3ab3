"""Trains a sparse autoencoder on a store.

Writes OUT/sae (the dictionary), OUT/metrics.jsonl and OUT/checkpoints. Killed,
it goes on with --resume, to the same bits as if it had not been. SIGTERM or
SIGUSR1 make it save a checkpoint after the step it is at and end with status
75. --resume may name another --mesh, and be on other devices.

  ./launch.sh train_sae --store=runs/store --latents=512 --k=8 --out=runs/sae
"""

from absl import flags

from saejax import nn
from saejax import ops
from saejax import processes
from saejax import program
from saejax import training_flags
from saejax.train import config as config_lib
from saejax.train import loop

C = config_lib.TrainConfig

OUT = program.required('out', 'Folder of the run.')
RESUME = flags.DEFINE_bool('resume', False, 'Go on with the run in --out.')
flags.DEFINE_integer('latents', C.latents, 'Dictionary size.')
flags.DEFINE_float('expansion', C.expansion, 'Or: size over width [8].')
flags.DEFINE_integer(
  'k', C.k, 'Mean number of active concepts a row; relu, gated and p_anneal '
  'have --l1 in its place.'
)  # fmt: skip
flags.DEFINE_float(
  'l1', None, 'For relu, gated and p_anneal: weight of the L1 penalty, for '
  f'codes in units of the spread of rows [{nn.ReLU.l1}; gated {nn.Gated.l1}].'
)  # fmt: skip
flags.DEFINE_integer('seed', C.seed, 'Of the initial weights.')
flags.DEFINE_float('lr', C.lr, 'Peak learning rate.')
program.process_flags()


def main() -> None:
  processes.start(**program.process_values(), watches_signals=True)
  with ops.kernels(training_flags.KERNELS.value):
    print(loop.train(training_flags.config(), OUT.value, RESUME.value))


if __name__ == '__main__':
  program.run(main)
