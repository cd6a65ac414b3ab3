"""Embeds a data set with a model, into a store.

Writes OUT, a store with the streams `image` and `text`. Killed, it goes on
when run again.

  ./launch.sh embed --model=clip-scenes \\
      --dataset=scenes:n=16384,seed=1 --out=runs/store
"""

from absl import flags

from saejax import program
from saejax import store
from saejax.pipeline import embedding

MODEL = program.required(
  'model', 'Model folder in Hugging Face layout, or a model that ships.'
)
DATASET = flags.DEFINE_string(
  'dataset',
  'scenes',
  'Data set. The procedural world is scenes, with any of n=16384, seed=1, '
  'captions=partial, texts=3, splits=0.9/0.05/0.05 after a colon.',
)
OUT = program.required('out', 'Folder of the store.')


def main() -> None:
  embedding.embed_scenes(MODEL.value, DATASET.value, OUT.value)
  found = store.Store(OUT.value)
  for name in found.streams:
    print(f'{name}: {len(found[name])} rows of width {found[name].d}')
  print(OUT.value)


if __name__ == '__main__':
  program.run(main)
