"""Tells classes from a model's activations by linear probes, layer by layer.

Multinomial and one-vs-rest logistic regression, the means of classes, and a
sparse probe, which reads few columns; of the store's rows and, with --saes, of
an SAE's codes. Fitted on train; penalty and layer are chosen on val, or on a
tenth of train where val is measured on or empty. Beside each stands the same
probe of shuffled labels, which must be at chance. Writes to OUT: results.json,
probes.csv and figures/.

  ./launch.sh cache_llava --model=llava-scenes --out=runs/llava-store
  ./launch.sh probe --store=runs/llava-store --out=runs/probed
  ./launch.sh probe --store=runs/llava-store --train_stream=text \\
      --test_stream=image --out=runs/carried-over
"""

from absl import flags

from saejax import errors
from saejax import program
from saejax import results
from saejax.pipeline import probing_layers
from saejax.pipeline import probing_tasks

C = probing_tasks.ProbeConfig

STORE = program.required('store', 'Folder of the store.')
OUT = program.required('out', 'Folder for results.')
flags.DEFINE_list(
  'labels',
  list(C.labels),
  'Factors to tell, such as colour,shape; all of the store by default.',
)
LAYERS = flags.DEFINE_list(
  'layers', None, 'Layers to probe; all of the store by default.'
)
flags.DEFINE_list('probes', list(C.probes), 'Kinds of probes.')
SAES = flags.DEFINE_list(
  'saes',
  None,
  'Dictionaries whose codes are probed as well, as LAYER:FOLDER joined by '
  'commas; they read tokens, so the store must not be pooled.',
)
REFERENCES = flags.DEFINE_list(
  'references',
  [],
  'Folders of other stores of the same data, such as the vision tower by '
  'itself, to be probed beside.',
)
flags.DEFINE_string(
  'train_stream',
  C.train_stream,
  'Streams that probes are fitted on: the context of streams layerNN.CONTEXT, '
  'or the name of one stream.',
)
flags.DEFINE_string(
  'test_stream', C.test_stream, 'Those they are measured on; the same if none.'
)
flags.DEFINE_enum(
  'standardise',
  C.standardise,
  list(probing_tasks.STANDARDISE),
  'Mean and variance that are taken from rows of --test_stream: of its own '
  'training rows, or of those the probe was fitted on.',
)
flags.DEFINE_bool(
  'tokens', C.tokens, 'Rows are tokens, not means over those of an example.'
)
flags.DEFINE_integer('rows', C.rows, 'Of train, at most, to fit on.')
flags.DEFINE_integer('shuffles', C.shuffles, 'Labellings by chance.')
flags.DEFINE_integer(
  'features', C.features, 'Columns that a sparse probe may read, at most.'
)
flags.DEFINE_integer('seed', C.seed, 'Of the shuffles.')
SPLIT = flags.DEFINE_enum(
  'split', 'test', ['test', 'val', 'train'], 'Rows to measure on.'
)


def saes() -> dict[int, str]:
  found = {}
  for word in SAES.value or ():
    layer, _, path = word.partition(':')
    if not layer.isdigit() or not path or int(layer) in found:
      raise errors.UserError(
        f'--saes: {word!r} is not understood: write LAYER:FOLDER, each layer '
        'once.'
      )
    found[int(layer)] = path
  return found


def main() -> None:
  results.check_vacant(OUT.value)
  layers = () if LAYERS.value is None else program.numbers(LAYERS, int, None)
  config = program.config_from_flags(C, layers=tuple(layers))
  found = probing_layers.probe(
    STORE.value, config, saes(), REFERENCES.value, SPLIT.value
  )
  found.write(OUT.value)
  best = {k: e for k, e in found.entries.items() if '/best/' in k}
  print(results.table(best))
  print(OUT.value)


if __name__ == '__main__':
  program.run(main)
