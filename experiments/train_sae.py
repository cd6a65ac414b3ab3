"""Trains a sparse autoencoder on a store.

Writes OUT/sae (the dictionary), OUT/metrics.jsonl and OUT/checkpoints. Killed,
it goes on with --resume, to the same bits as if it had not been.

  ./launch.sh train_sae --store=runs/store --latents=512 --k=8 --out=runs/sae
"""

from absl import flags

from saejax import nn
from saejax import program
from saejax.train import config as config_lib
from saejax.train import loop

C = config_lib.TrainConfig
STANDARD = config_lib.STANDARDISATIONS

OUT = program.required('out', 'Folder of the run.')
RESUME = flags.DEFINE_bool('resume', False, 'Go on with the run in --out.')
STREAM = flags.DEFINE_list('stream', list(C.streams), 'Streams to train on.')
program.required('store', 'Folder of the store.')
flags.DEFINE_enum('arch', C.arch, sorted(nn.ARCHITECTURES), 'Variant.')
flags.DEFINE_integer('latents', C.latents, 'Dictionary size.')
flags.DEFINE_float('expansion', C.expansion, 'Or: size over width [8].')
flags.DEFINE_integer('k', C.k, 'Mean number of active concepts a row.')
flags.DEFINE_integer('seed', C.seed, 'Of the initial weights.')
flags.DEFINE_integer('data_seed', C.data_seed, 'Of the order of rows.')
flags.DEFINE_integer('steps', C.steps, 'Training steps.')
flags.DEFINE_float('epochs', C.epochs, 'Or: passes over the rows [30].')
flags.DEFINE_integer('batch', C.batch, 'Rows a step, over all devices.')
flags.DEFINE_float('lr', C.lr, 'Peak learning rate of AdamW.')
flags.DEFINE_float('weight_decay', C.weight_decay, 'Of AdamW.')
flags.DEFINE_float('clip', C.clip, 'Norm to which gradients are clipped.')
flags.DEFINE_string(
  'mix', C.mix, 'Rows of each stream in a batch: natural (as there are rows), '
  'equal, or weights such as image=1,text=5.'
)  # fmt: skip
flags.DEFINE_enum('center', C.center, STANDARD, 'Mean taken away first.')
flags.DEFINE_enum('scale', C.scale, STANDARD, 'Spread scaled to 1 first.')
flags.DEFINE_bool('use_b_dec', C.use_b_dec, 'Learn a decoder bias.')
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
program.mesh_flag()
flags.DEFINE_integer('log_every', C.log_every, 'Steps between metrics.')
flags.DEFINE_integer(
  'checkpoint_every', C.checkpoint_every, 'Steps between checkpoints.'
)
flags.DEFINE_integer('keep', C.keep, 'Checkpoints kept.')


def main() -> None:
  config = program.config_from_flags(
    C, streams=tuple(STREAM.value), mesh=program.mesh_shape()
  )
  print(loop.train(config, OUT.value, RESUME.value))


if __name__ == '__main__':
  program.run(main)
