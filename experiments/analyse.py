"""Analyses a dictionary: what its concepts are for, and how modalities meet.

Writes to OUT: results.json (energy, modality, geometry, bridges, and on
labelled data what single concepts read), concepts.safetensors,
bridges.safetensors, exemplars.json, evidence.safetensors (examples at every
strength, for explore), communities.csv (bridges that hang together), and
figures/. With --surrogate the same is
done for a dictionary trained alike on a structureless twin of the data, under
OUT/surrogate: what shows there as well is no finding.

Of a store of cache_llava it reads the layer that the dictionary was trained on,
rows being tokens, with --nosurrogate; explore then shows where in pictures and
captions concepts fire.

  ./launch.sh analyse --sae=runs/sae/sae --store=runs/store --out=runs/analysis
"""

from absl import flags

from saejax import program
from saejax import results
from saejax.pipeline import analysing

SAE = program.required('sae', 'Folder of the dictionary.')
STORE = program.required('store', 'Folder of the store.')
OUT = program.required('out', 'Folder for results.')
SPLIT = flags.DEFINE_enum(
  'split',
  'test',
  ['test', 'all'],
  "Rows to report on; only 'test' was seen by nothing.",
)
SURROGATE = flags.DEFINE_bool(
  'surrogate', True, 'Train and analyse on the structureless twin too.'
)


def main() -> None:
  results.check_vacant(OUT.value)
  entries = analysing.analyse(
    SAE.value, STORE.value, OUT.value, SPLIT.value, SURROGATE.value
  )
  print(results.table(entries))
  print(OUT.value)


if __name__ == '__main__':
  program.run(main)
