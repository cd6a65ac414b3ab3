"""Changes concepts, and measures what that does to the meeting of modalities.

Concepts are chosen on the split train: ends of cross bridges and of replicated
bridges, of self bridges, shared concepts, those of one modality. The strongest
of each are removed from the codes of images and texts alike; recall both ways,
the gap, and zero-shot accuracy where there are classes, are held against the
reconstruction alone and against random concepts that are matched in energy,
modality score, firing rate, lost R² and B⁰ mass. Writes to OUT: results.json,
concept_sets.csv and figures/.

  ./launch.sh intervene --sae=runs/sae/sae --store=runs/store --out=runs/removed
"""

from absl import flags

from saejax import errors
from saejax import program
from saejax import results
from saejax.pipeline import intervening

C = intervening.InterveneConfig

SAE = program.required('sae', 'Folder of the dictionary.')
STORE = program.required('store', 'Folder of the store.')
OUT = program.required('out', 'Folder for results.')
SPLIT = flags.DEFINE_enum(
  'split', 'test', ['test', 'val', 'all'], 'Rows to measure on.'
)
flags.DEFINE_enum(
  'edit',
  C.edit,
  list(intervening.EDITS),
  'Concepts are removed, kept alone, or scaled by --factor.',
)
flags.DEFINE_float('factor', C.factor, 'Of --edit=scale.')
flags.DEFINE_list(
  'sets', list(C.sets), 'Sets of concepts; p-values are adjusted for these.'
)
SIZES = flags.DEFINE_list(
  'sizes', [str(n) for n in C.sizes], 'How many concepts of each set.'
)
flags.DEFINE_integer('draws', C.draws, 'Matched random sets for each set.')
flags.DEFINE_float(
  'caliper',
  C.caliper,
  'Leave out concepts that fewer than four others resemble, to so many '
  'standard deviations in every feature; by default, none.',
)
flags.DEFINE_integer(
  'images',
  C.images,
  'Of the split, at most, with all their texts: recall is among these.',
)
flags.DEFINE_integer(
  'train_images', C.train_images, 'On which concepts are chosen, at most.'
)
flags.DEFINE_integer('seed', C.seed, 'Of the random sets and rows.')
CLASSES = flags.DEFINE_string(
  'classes_store',
  None,
  'Folder of a store of the same model with labelled images and prompts, for '
  'zero-shot accuracy.',
)


def main() -> None:
  results.check_vacant(OUT.value)
  try:
    sizes = tuple(int(n) for n in SIZES.value)
  except ValueError:
    raise errors.UserError(
      f'--sizes={",".join(SIZES.value)} must be whole numbers joined by commas.'
    ) from None
  config = program.config_from_flags(C, sizes=sizes)
  found = intervening.intervene(
    SAE.value, STORE.value, config, SPLIT.value, CLASSES.value
  )
  found.write(OUT.value)
  print(intervening.summary(found, config))
  print(OUT.value)


if __name__ == '__main__':
  program.run(main)
