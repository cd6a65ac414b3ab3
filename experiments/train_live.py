"""Trains a sparse autoencoder on a LLaVA-NeXT that computes rows as it goes.

For more activations than a disk holds. --store is a sample of them, made by
cache_llava with --examples: its means standardise, on its rows of val the
threshold is calibrated, and its prompt, positions and type are those of all
rows. The run of a data set so is what train_sae makes of a store of it, but for
the order: every epoch shuffles shards of 256 examples, and the rows of --window
of them at a time. In memory are two windows: of each stream 512 · --window ·
positions of an example · width · bytes of the type.

Rows are counted first, which reads every image once. Killed, it goes on with
--resume, to the same bits as if it had not been; SIGTERM and SIGUSR1 are as of
train_sae. Of --rows, --mix and what is for matched rows it takes nothing.

  ./launch.sh cache_llava --model=llava-hf/llava-v1.6-mistral-7b-hf \\
      --dataset=karpathy:annotations=dataset_coco.json,images=coco \\
      --examples=2000 --layers=16 --per_example=64 --dtype=bfloat16 \\
      --mesh=1,8 --out=runs/sample
  ./launch.sh train_live --model=llava-hf/llava-v1.6-mistral-7b-hf \\
      --dataset=karpathy:annotations=dataset_coco.json,images=coco \\
      --store=runs/sample --stream=layer16.image,layer16.text --epochs=1 \\
      --read_dtype=bfloat16 --mesh=1,8 --batch=4096 --out=runs/live
"""

from absl import flags

from saejax import llava_flags
from saejax import nn
from saejax import ops
from saejax import program
from saejax import training_flags
from saejax.pipeline import live
from saejax.train import config as config_lib

C = config_lib.TrainConfig

OUT = program.required('out', 'Folder of the run.')
RESUME = flags.DEFINE_bool('resume', False, 'Go on with the run in --out.')
llava_flags.live_flags(live.LiveConfig)
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


def main() -> None:
  config = training_flags.config()
  reads = program.config_from_flags(live.LiveConfig)
  with ops.kernels(training_flags.KERNELS.value):
    print(live.train(config, reads, OUT.value, RESUME.value))


if __name__ == '__main__':
  program.run(main)
