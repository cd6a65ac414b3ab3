"""Measures speed, beside peers where they are installed.

Writes OUT/results.json: medians over rounds with the slowest and the fastest,
and OUT/environment.json: what they were measured on. Suite `models`: images and
captions that each tower embeds a second, in turns with the torch models of
transformers on the same cores, and which part of the device's matmul speed that
is; of a LLaVA-NeXT, tokens that it reads and writes a second, and what an edit
of its residual stream costs. Suite `train`: training steps of SAEs and their
stages, in turns with torch libraries that another Python has (--peers_python),
and which part that is of what the device can do; also as OUT/table.md.

  ./launch.sh benchmark --out=runs/speed
  ./launch.sh benchmark --models=clip-large-14 --batch=256 --dtype=bfloat16 \\
      --notorch --out=runs/speed-large
  ./launch.sh benchmark --models=llava-512x8 --batch=4 --out=runs/speed-llava
  ./launch.sh benchmark --suite=train --peers_python=peers/bin/python \\
      --out=runs/speed-train
"""

import os

from absl import flags

from saejax import ops
from saejax import program
from saejax import results
from saejax.pipeline import benchmark_llava
from saejax.pipeline import benchmark_models
from saejax.pipeline import benchmark_training
from saejax.pipeline import benchmarking
from saejax.pipeline import peers

OUT = program.required('out', 'Folder for results.')
SUITE = flags.DEFINE_enum(
  'suite', 'models', ['models', 'train'], 'What to measure.'
)
MODELS = flags.DEFINE_list(
  'models',
  ['clip-small', 'clip-base-32', 'siglip-base-16'],
  f'For models: of {", ".join(benchmark_models.CONFIGS)}, '
  f'{benchmark_llava.SHIPPED}, and {benchmark_llava.SIZES} of random weights.',
)
BATCH = flags.DEFINE_integer(
  'batch', 32, 'For models: images, captions or prompts a call.'
)
NEW_TOKENS = flags.DEFINE_integer(
  'new_tokens', 32, 'For LLaVA-NeXT: that follow each prompt.'
)
ROUNDS = flags.DEFINE_integer('rounds', 9, 'Timed turns of each.')
DTYPE = flags.DEFINE_enum(
  'dtype', 'float32', ['float32', 'bfloat16'], 'For models: of the computation.'
)
TORCH = flags.DEFINE_bool(
  'torch', True, 'For models: time the torch models as well.'
)
flags.DEFINE_list(
  'shapes',
  ['512x4096x32x1024', '768x16384x32x1024'],
  'For train: width x concepts x active ones x rows a batch.',
)
flags.DEFINE_list(
  'archs', ['topk', 'batch_topk'], 'For train: of topk, batch_topk.'
)
flags.DEFINE_list(
  'dtypes', ['float32'], 'For train: of our encoder, of float32, bfloat16.'
)
flags.DEFINE_integer('steps', 10, 'For train: training steps of a turn.')
flags.DEFINE_bool('aux', False, 'For train: with AuxK.')
KERNELS = flags.DEFINE_enum(
  'kernels', 'auto', list(ops.FORMS), 'For train: how sums over codes are '
  'computed, as of train_sae.'
)  # fmt: skip
flags.DEFINE_float(
  'clip', 1.0, 'For train: norm to which gradients are clipped; 0 for none.'
)
flags.DEFINE_string(
  'peers_python', None, 'For train: Python that has the libraries to measure.'
)
flags.DEFINE_list('peers', list(peers.NAMES), 'For train: those libraries.')
program.mesh_flag()


def _models() -> dict:
  entries = benchmarking.measure_models(
    MODELS.value,
    batch=BATCH.value,
    rounds=ROUNDS.value,
    dtype=DTYPE.value,
    with_torch=TORCH.value,
    new_tokens=NEW_TOKENS.value,
  )
  benchmarking.write(OUT.value, entries)
  return entries


def _train() -> dict:
  asked = program.config_from_flags(
    benchmark_training.Asked, mesh=program.mesh_shape()
  )
  if asked.peers_python:
    # Else JAX would leave the peers no memory of a GPU.
    os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
  with ops.kernels(KERNELS.value):
    found = benchmarking.measure_training(asked, OUT.value)
  for line in found.left_out:
    print(line)
  return found.entries


def main() -> None:
  results.check_vacant(OUT.value)
  entries = {'models': _models, 'train': _train}[SUITE.value]()
  print(results.table(entries))
  print(OUT.value)


if __name__ == '__main__':
  program.run(main)
