"""Puts an SAE's reconstruction in the place of what enters a layer.

At the positions of the image, and at all but the first, and measures what the
captions lose: loss recovered against the mean of the modality, another image's
tokens, and zeros. Beside it L0 and the variance explained of each modality,
and, of scenes, questions answered with the SAE, without it, and without the
image. Writes to OUT: results.json and figures/.

  ./launch.sh splice --sae=runs/sae/sae --layer=3 --out=runs/spliced
"""

from absl import flags

from saejax import llava_flags
from saejax import program
from saejax import results
from saejax.pipeline import splicing
from saejax.pipeline import splicing_setup

C = splicing_setup.SpliceConfig

SAE = program.required('sae', 'Folder of the dictionary.')
OUT = program.required('out', 'Folder for results.')
llava_flags.asking_flags(
  C,
  letters='That name options, each one token; none offers their words alone.',
  layer='Whose input it reconstructs.',
)
flags.DEFINE_string(
  'dataset', C.dataset, 'Data set, as of embed; scenes are asked about too.'
)
flags.DEFINE_integer('examples', C.examples, 'Of each split, at most.')
SPLIT = flags.DEFINE_enum(
  'split', 'test', ['test', 'val', 'train'], 'Examples to measure on.'
)


def main() -> None:
  results.check_vacant(OUT.value)
  config = llava_flags.asking_config(C)
  found = splicing.splice(config, SAE.value, SPLIT.value)
  found.write(OUT.value)
  print(results.table(found.entries))
  print(OUT.value)


if __name__ == '__main__':
  program.run(main)
