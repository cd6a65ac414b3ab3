"""Embeds a data set with a model, into a store.

Writes OUT, a store with the streams image and text, or of a data set of
classes image and prompts. Killed, it goes on when run again.

  ./launch.sh embed --model=clip-scenes \\
      --dataset=scenes:n=16384,seed=1 --out=runs/store
  ./launch.sh embed --model=openai/clip-vit-base-patch32 --out=runs/coco \\
      --dataset=coco:annotations=captions_val2017.json,images=val2017

Data sets, of which all but scenes also take limit=N, licence=TEXT,
split=train+val (only these of its own) and splits=hash (forget its own):
  scenes[:n=16384,seed=1,captions=partial,texts=3,splits=0.9/0.05/0.05]
  coco:annotations=A.json+B.json,images=DIR+DIR
  karpathy:annotations=dataset_coco.json,images=DIR
  folder:path=DIR                     with captions.jsonl or captions.csv
  classes:path=DIR[,names=FILE][,templates=FILE]           CLASS/*.jpg
  webdataset:path=DIR/{00000..00012}.tar[,caption=KEY]
  parquet:path=DIR/*.parquet[,image=COLUMN][,caption=COLUMN]
  tfds:name=NAME_OR_DIR[,split=train+validation][,data_dir=DIR]

What cannot be used is skipped, counted and listed in the store's manifest.
"""

from absl import flags

from saejax import processes
from saejax import program
from saejax import store
from saejax.pipeline import embedding

C = embedding.EmbedConfig

program.required(
  'model',
  'Model folder in Hugging Face layout, an id on its hub, or a model that '
  'ships.',
)
flags.DEFINE_string('dataset', C.dataset, 'Data set, see above.')
OUT = program.required('out', 'Folder of the store.')
flags.DEFINE_string(
  'revision', C.revision, 'Branch, tag or commit of the model on the hub.'
)
flags.DEFINE_bool('offline', C.offline, 'Never ask the network for the model.')
flags.DEFINE_enum(
  'dtype', C.dtype, embedding.DTYPES, 'What the model computes in.'
)
flags.DEFINE_enum(
  'store_dtype', C.store_dtype, list(store.DTYPES), 'What rows are stored as.'
)
flags.DEFINE_integer('batch', C.batch, 'Rows that are computed at a time.')
flags.DEFINE_integer(
  'workers', C.workers, 'Threads that decode images; one a CPU by default.'
)
flags.DEFINE_integer(
  'near_duplicates',
  C.near_duplicates,
  'Images whose 64-bit hashes differ in at most so many bits are one group, so '
  'that no split has what another has; -1 merges none.',
)
program.mesh_flag()
program.process_flags()


def main() -> None:
  processes.start(**program.process_values())
  config = program.config_from_flags(C, mesh=program.mesh_shape())
  summary = embedding.embed(config, OUT.value)
  print(summary.line())
  print(OUT.value)


if __name__ == '__main__':
  program.run(main)
