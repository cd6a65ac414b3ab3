"""Makes a store of embeddings that you have already.

Give one source: --image with --text (.npy or .safetensors, rows by width),
--pairs (one array of shape 2, N, D: images, then texts), or --clip_retrieval
(a folder with img_emb/, text_emb/ and metadata/). Everything is checked before
anything is written.

  ./launch.sh import_embeddings --image=img.npy --text=txt.npy \\
      --captions=captions.txt --out=runs/store
"""

from absl import flags

from saejax import errors
from saejax import program
from saejax import store
from saejax.pipeline import importing

C = importing.ImportConfig

OUT = program.required('out', 'Folder of the store.')
SPLITS = flags.DEFINE_list(
  'splits', [str(f) for f in C.splits], 'Shares of train, val and test.'
)
flags.DEFINE_string('image', None, 'Image embeddings, .npy or .safetensors.')
flags.DEFINE_string('text', None, 'Text embeddings, .npy or .safetensors.')
flags.DEFINE_string('pairs', None, 'Both in one array (2, N, D).')
flags.DEFINE_string('clip_retrieval', None, 'Folder that clip-retrieval wrote.')
flags.DEFINE_string('captions', None, 'One line for each text: .txt, .json(l).')
flags.DEFINE_string('image_paths', None, 'One line for each image, likewise.')
flags.DEFINE_string(
  'text_pair', None, 'Integers: the image row of each text, where there are '
  'several texts to an image.'
)  # fmt: skip
flags.DEFINE_string(
  'groups', None, 'Integers: images of one group stay in one split.'
)
flags.DEFINE_bool('normalise', C.normalise, 'Scale rows to unit norm.')
flags.DEFINE_enum('dtype', C.dtype, sorted(store.DTYPES), 'To store rows in.')
flags.DEFINE_string('model', C.model, 'What made them, for the record.')
flags.DEFINE_string('dataset', C.dataset, 'Of what, for the record.')
flags.DEFINE_string('licence', C.licence, 'Of the data, for the record.')


def main() -> None:
  try:
    splits = tuple(float(f) for f in SPLITS.value)
  except ValueError:
    raise errors.UserError(
      f'--splits={",".join(SPLITS.value)} must be three numbers.'
    ) from None
  config = program.config_from_flags(C, splits=splits)
  manifest = importing.import_embeddings(config, OUT.value)
  for name, stats in manifest.stats.items():
    rows = ', '.join(f'{s.rows} {split}' for split, s in stats.items())
    print(f'{name}: {manifest.rows(name)} rows ({rows})')
  unit = 'unit norm' if manifest.normalised else 'not of unit norm'
  print(f'Rows are {unit}.')
  print(OUT.value)


if __name__ == '__main__':
  program.run(main)
