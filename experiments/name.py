"""Names the concepts of a dictionary, and measures how good they are.

Names come from the captions of a concept's strongest rows, from words embedded
by the store's own model, and from labels where the store has them. They are
chosen on val and scored on other rows, beside the names of other concepts.

Writes to OUT: names.csv and names.json (every live concept with its names),
results.json (scores and coverage of names, density, shrinkage, largest cosine,
with --other_store monosemanticity, on labelled data sparse probes, splitting
and absorption), probes.csv, absorption.csv, and figures/.

  ./launch.sh name --sae=runs/sae/sae --store=runs/store --out=runs/names
"""

from absl import flags

from saejax import program
from saejax import results
from saejax.pipeline import naming

C = naming.NameConfig

program.required('sae', 'Folder of the dictionary.')
program.required('store', 'Folder of the store, of matched images and texts.')
OUT = program.required('out', 'Folder for results.')
flags.DEFINE_string(
  'model',
  C.model,
  'What embeds words: a model folder, an id on the hub, or a model that ships; '
  "the store's own by default; none to do without.",
)
flags.DEFINE_string(
  'revision', C.revision, 'Branch, tag or commit of the model on the hub.'
)
flags.DEFINE_bool('offline', C.offline, 'Never ask the network for the model.')
flags.DEFINE_string(
  'vocabulary',
  C.vocabulary,
  'A file with a word or phrase a line; the words and bigrams that captions '
  'share by default.',
)
flags.DEFINE_string(
  'templates',
  C.templates,
  'Prompts for a word: a file, or templates such as "a photo of {}" joined by '
  '|; "there is a {}" by default.',
)
flags.DEFINE_string(
  'other_store',
  C.other_store,
  'The same images embedded by an independent model, for monosemanticity.',
)
flags.DEFINE_string(
  'hierarchy',
  C.hierarchy,
  'A JSON file of labels, parent to children, for absorption; the procedural '
  'world has its own.',
)
flags.DEFINE_enum(
  'split',
  C.split,
  ['test', 'all'],
  "Rows to report on; only 'test' was seen by nothing.",
)


def main() -> None:
  entries = naming.name(program.config_from_flags(C), OUT.value)
  print(results.table(entries))
  print(OUT.value)


if __name__ == '__main__':
  program.run(main)
