"""Tells what images and texts share inside a LLaVA-NeXT, layer by layer.

Reads a store of cache_llava, whose three contexts are kept apart: the image,
the caption after it, which knows of the image, and the bare text, which does
not. Of every layer: how alike they arrange the same examples (debiased CKA,
mutual k-NN, cosine of class means), beside permuted examples and halves of the
same texts. Of every SAE: which concepts fire in both, at one L0 over as many
tokens, whether they fire for an image and its own text, and whether their
strongest tokens agree. Writes to OUT: results.json, concepts.csv and figures/.

  ./launch.sh sharing --store=runs/llava-store \\
      --saes=runs/layer08/sae,runs/layer16/sae --out=runs/sharing
"""

from absl import flags

from saejax import errors
from saejax import program
from saejax import results
from saejax.pipeline import sharing

C = sharing.SharingConfig

STORE = program.required('store', 'Folder of the store, of cache_llava.')
OUT = program.required('out', 'Folder for results.')
SAE = flags.DEFINE_string('sae', None, 'Folder of a dictionary of one layer.')
SAES = flags.DEFINE_list(
  'saes', None, 'Folders of dictionaries, one for each layer.'
)
SPLIT = flags.DEFINE_enum(
  'split', 'test', ['test', 'val', 'train', 'all'], 'Examples to read.'
)
flags.DEFINE_integer('examples', C.examples, 'Of the split, at most.')
flags.DEFINE_float(
  'threshold',
  C.threshold,
  'Share of tokens that a concept must fire for, on both sides, to be shared.',
)
flags.DEFINE_float(
  'l0',
  C.l0,
  'Active concepts a token, to which every layer is cut; by default, the least '
  'that any has.',
)
flags.DEFINE_integer(
  'top', C.top, 'Strongest tokens of a concept whose means are compared.'
)
flags.DEFINE_integer(
  'neighbours', C.neighbours, 'Of an example, for mutual k-NN.'
)
flags.DEFINE_integer(
  'draws', C.draws, 'Resamples for intervals, and permutations.'
)
flags.DEFINE_integer('seed', C.seed, 'Of what is drawn.')


def main() -> None:
  results.check_vacant(OUT.value)
  if SAE.value and SAES.value:
    raise errors.UserError('Give --sae or --saes, not both.')
  paths = [SAE.value] if SAE.value else SAES.value or []
  found = sharing.sharing(
    STORE.value, paths, program.config_from_flags(C), SPLIT.value
  )
  found.write(OUT.value)
  print(sharing.summary(found))
  print(OUT.value)


if __name__ == '__main__':
  program.run(main)
