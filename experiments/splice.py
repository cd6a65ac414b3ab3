"""Puts an SAE's reconstruction in the place of what enters a layer.

At the positions of the image, and at all but the first, and measures what the
captions lose: loss recovered against the mean of the modality, another image's
tokens, and zeros. Beside it L0 and the variance explained of each modality,
and, of scenes, questions answered with the SAE, without it, and without the
image. Writes to OUT: results.json and figures/.

  ./launch.sh splice --sae=runs/sae/sae --layer=3 --out=runs/spliced
"""

from absl import flags

from saejax import errors
from saejax import program
from saejax import results
from saejax.pipeline import embedding
from saejax.pipeline import splicing
from saejax.pipeline import splicing_setup

C = splicing_setup.SpliceConfig

SAE = program.required('sae', 'Folder of the dictionary.')
OUT = program.required('out', 'Folder for results.')
LAYER = program.required('layer', 'Whose input it reconstructs.')
flags.DEFINE_string(
  'model',
  C.model,
  'Model folder in Hugging Face layout, an id on its hub, or a model that '
  'ships.',
)
flags.DEFINE_string(
  'dataset', C.dataset, 'Data set, as of embed; scenes are asked about too.'
)
flags.DEFINE_integer('examples', C.examples, 'Of each split, at most.')
PROMPT = flags.DEFINE_string(
  'prompt',
  C.prompt,
  r'How a row reads before its answer: {image}, {question}; \n is a new line.',
)
flags.DEFINE_list(
  'letters',
  list(C.letters),
  'That name options, each one token; none offers their words alone.',
)
flags.DEFINE_string(
  'revision', C.revision, 'Branch, tag or commit of the model on the hub.'
)
flags.DEFINE_bool('offline', C.offline, 'Never ask the network for the model.')
flags.DEFINE_enum(
  'dtype', C.dtype, embedding.DTYPES, 'Of parameters and the computation.'
)
flags.DEFINE_integer('batch', C.batch, 'Rows that are computed at a time.')
SPLIT = flags.DEFINE_enum(
  'split', 'test', ['test', 'val', 'train'], 'Examples to measure on.'
)


def layer() -> int:
  try:
    return int(LAYER.value)
  except ValueError:
    raise errors.UserError(
      f'--layer={LAYER.value}: expected a whole number.'
    ) from None


def main() -> None:
  results.check_vacant(OUT.value)
  config = program.config_from_flags(
    C, layer=layer(), prompt=PROMPT.value.replace(r'\n', '\n')
  )
  found = splicing.splice(config, SAE.value, SPLIT.value)
  found.write(OUT.value)
  print(results.table(found.entries))
  print(OUT.value)


if __name__ == '__main__':
  program.run(main)
