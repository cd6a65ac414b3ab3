"""Changes the concepts of a query, and shows what it finds then.

The query is a row of a store, by number or by its words. Concepts are added to
its code or removed from it, the code is decoded, and the nearest rows of the
other modality are looked for, before and after. Writes to OUT: results.json,
retrieved.csv, and retrieved.html with pictures where the store has them.

  ./launch.sh edit --sae=runs/sae/sae --store=runs/store --row=text:123 \\
      --add=41,@blue --remove=5 --names=runs/names --out=runs/edited
"""

from absl import flags

from saejax import errors
from saejax import program
from saejax import results
from saejax.pipeline import editing

C = editing.EditConfig

SAE = program.required('sae', 'Folder of the dictionary.')
STORE = program.required('store', 'Folder of the store.')
OUT = program.required('out', 'Folder for results.')
flags.DEFINE_string('query', C.query, 'A caption that the store has.')
flags.DEFINE_string('row', C.row, 'Or a row of it: text:NUMBER, image:NUMBER.')
ADD = flags.DEFINE_list('add', [], 'Concepts to add: numbers, or @words.')
REMOVE = flags.DEFINE_list('remove', [], 'Concepts to remove, likewise.')
flags.DEFINE_string(
  'names',
  C.names,
  'The folder that name wrote: @word is the concept named so. Without it, or '
  'where none is, @word is the concept nearest to it as --model embeds it.',
)
flags.DEFINE_string(
  'model',
  C.model,
  'What embeds words: a folder, an id whose files are here, or a model that '
  "ships; the store's own by default.",
)
flags.DEFINE_float(
  'strength', C.strength, 'Of what is added: times its mean code where active.'
)
flags.DEFINE_enum(
  'retrieve',
  C.retrieve,
  ['image', 'text'],
  "What to look for; by default, the other of the query's modality.",
)
flags.DEFINE_integer('top', C.top, 'Rows to show.')
flags.DEFINE_enum(
  'split', C.split, ['test', 'val', 'train', 'all'], 'Rows that are searched.'
)


def _concepts(flag) -> tuple[int | str, ...]:
  given = [c.strip() for c in flag.value]
  try:
    return tuple(c[1:] if len(c) > 1 and c[0] == '@' else int(c) for c in given)
  except ValueError:
    raise errors.UserError(
      f'--{flag.name}={",".join(flag.value)} must be numbers of concepts, or '
      'words such as @red, joined by commas.'
    ) from None


def main() -> None:
  results.check_vacant(OUT.value)
  config = program.config_from_flags(
    C, add=_concepts(ADD), remove=_concepts(REMOVE)
  )
  found = editing.edit(SAE.value, STORE.value, config)
  found.write(OUT.value)
  print(editing.summary(found))
  print(OUT.value)


if __name__ == '__main__':
  program.run(main)
