"""Evaluates a dictionary on rows it never saw.

Writes OUT/results.json: R² within modality, pooled and as libraries print it,
L0, dead concepts, and retrieval before and after reconstruction, each with an
interval over groups.

  ./launch.sh evaluate --sae=runs/sae/sae --store=runs/store --out=runs/eval
"""

from absl import flags

from saejax import program
from saejax import results
from saejax.pipeline import evaluation

SAE = program.required('sae', 'Folder of the dictionary.')
STORE = program.required('store', 'Folder of the store.')
OUT = program.required('out', 'Folder for results.')
SPLIT = flags.DEFINE_enum(
  'split',
  'test',
  ['test', 'val', 'train', 'all'],
  "Rows to evaluate on; only 'test' was seen by nothing.",
)
STREAMS = flags.DEFINE_list(
  'stream',
  [],
  'Streams to evaluate one by one, such as those of cache_llava; paired images '
  'and texts, with retrieval, by default.',
)


def main() -> None:
  results.check_vacant(OUT.value)
  entries = evaluation.evaluate(
    SAE.value, STORE.value, SPLIT.value, STREAMS.value
  )
  results.write(OUT.value, entries)
  print(results.table(entries))
  print(OUT.value)


if __name__ == '__main__':
  program.run(main)
