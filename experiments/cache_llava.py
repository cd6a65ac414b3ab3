"""Keeps activations of a LLaVA-NeXT, layer by layer, in a store.

Of each layer L, what enters block L: stream layerL.image at the positions of
the image, layerL.caption at the caption after it, layerL.text at the bare
caption. With --tower also tower.image, what the vision tower gives before the
projector, which probe puts beside the layers. train_sae reads streams by
--stream, with the modality of each; analyse and explore show where concepts
fire, if all positions are kept. Rows of a data set of classes have a column
label, which probe reads; --contexts=image needs no captions. Killed, the same
command goes on; processes share the work.

  ./launch.sh cache_llava --model=llava-hf/llava-v1.6-mistral-7b-hf \\
      --dataset=karpathy:annotations=dataset_coco.json,images=coco \\
      --layers=8,16,24 --per_example=64 --dtype=bfloat16 --mesh=1,8 \\
      --prompt='[INST] {image}\\nDescribe the image. [/INST] {caption}' \\
      --out=runs/llava-store
  ./launch.sh cache_llava --model=llava-hf/llava-v1.6-mistral-7b-hf \\
      --dataset=classes:path=imagenet,names=names.txt --pool --tower \\
      --contexts=image --prompt='[INST] {image}' --examples=100000 \\
      --dtype=bfloat16 --mesh=1,8 --out=runs/imagenet
"""

from absl import flags

from saejax import llava_flags
from saejax import processes
from saejax import program
from saejax.pipeline import caching

C = caching.CacheConfig

OUT = program.required('out', 'Folder of the store.')
llava_flags.cache_flags(C)
flags.DEFINE_bool(
  'tower', C.tower, 'Also keep what the vision tower gives, before the '
  'projector.'
)  # fmt: skip
program.mesh_flag()
program.process_flags()


def main() -> None:
  processes.start(**program.process_values())
  config = llava_flags.cache_config(C, mesh=program.mesh_shape())
  for name, n in caching.cache(config, OUT.value).items():
    print(f'{name}: {n:,} rows')
  print(OUT.value)


if __name__ == '__main__':
  program.run(main)
