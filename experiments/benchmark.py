"""Measures speed, beside peers where they are installed.

Writes OUT/results.json: medians over rounds with the slowest and the fastest,
and what they were measured on. Suite `models`: images and captions that each
tower embeds a second, in turns with the torch models of transformers on the
same cores, and which part of the device's matmul speed that is.

  ./launch.sh benchmark --out=runs/speed
  ./launch.sh benchmark --models=clip-large-14 --batch=256 --dtype=bfloat16 \\
      --notorch --out=runs/speed-large
"""

from absl import flags

from saejax import program
from saejax import results
from saejax.pipeline import benchmark_models
from saejax.pipeline import benchmarking

OUT = program.required('out', 'Folder for results.')
SUITE = flags.DEFINE_enum('suite', 'models', ['models'], 'What to measure.')
MODELS = flags.DEFINE_list(
  'models',
  ['clip-small', 'clip-base-32', 'siglip-base-16'],
  f'Of {", ".join(benchmark_models.CONFIGS)}.',
)
BATCH = flags.DEFINE_integer('batch', 32, 'Images or captions a call.')
ROUNDS = flags.DEFINE_integer('rounds', 9, 'Timed calls of each.')
DTYPE = flags.DEFINE_enum(
  'dtype', 'float32', ['float32', 'bfloat16'], 'Of the computation.'
)
TORCH = flags.DEFINE_bool('torch', True, 'Time the torch models as well.')


def main() -> None:
  results.check_vacant(OUT.value)
  entries = benchmarking.measure_models(
    MODELS.value,
    batch=BATCH.value,
    rounds=ROUNDS.value,
    dtype=DTYPE.value,
    with_torch=TORCH.value,
  )
  benchmarking.write(OUT.value, entries)
  print(results.table(entries))
  print(OUT.value)


if __name__ == '__main__':
  program.run(main)
