"""Says what a store's embeddings are worth, before any dictionary.

Writes to OUT: results.json and figures/. Of images and texts: recall@1, 5, 10
and the median rank both ways, cosines, the modality gap. Of labelled images and
prompts: zero-shot accuracy, by all templates and by the first alone. Beside
each stands what chance would give.

  ./launch.sh evaluate_store --store=runs/store --out=runs/store-quality
"""

from absl import flags

from saejax import program
from saejax import results
from saejax.pipeline import store_quality

STORE = program.required('store', 'Folder of the store.')
OUT = program.required('out', 'Folder for results.')
SPLIT = flags.DEFINE_enum(
  'split',
  'test',
  ['test', 'val', 'train', 'all'],
  'Rows to evaluate; their own split is all that they are compared with.',
)
CLASSES = flags.DEFINE_string(
  'classes_store',
  None,
  'Folder of a store of the same model, whose prompts tell the classes.',
)


def main() -> None:
  results.check_vacant(OUT.value)
  found = store_quality.evaluate_store(STORE.value, SPLIT.value, CLASSES.value)
  found.write(OUT.value)
  print(store_quality.summary(found.entries))
  print(OUT.value)


if __name__ == '__main__':
  program.run(main)
