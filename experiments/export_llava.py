"""Keeps activations of transformers' LLaVA-NeXT, by hooks, in a store.

The same streams, rows and columns as cache_llava writes, from torch in place of
JAX: for models, devices and checks that want the reference itself. Needs torch.
Killed, the same command goes on.

  ./launch.sh export_llava --model=llava-hf/llava-v1.6-mistral-7b-hf \\
      --dataset=karpathy:annotations=dataset_coco.json,images=coco \\
      --layers=8,16,24 --per_example=64 --dtype=bfloat16 --device=cuda \\
      --prompt='[INST] {image}\\nDescribe the image. [/INST] {caption}' \\
      --out=runs/llava-store
"""

from absl import flags

from saejax import llava_flags
from saejax import processes
from saejax import program
from saejax.pipeline import exporting

C = exporting.ExportConfig

OUT = program.required('out', 'Folder of the store.')
llava_flags.cache_flags(C)
flags.DEFINE_string('device', C.device, 'Where torch computes: cpu, cuda, ….')
program.process_flags()


def main() -> None:
  processes.start(**program.process_values())
  config = llava_flags.cache_config(C)
  for name, n in exporting.export(config, OUT.value).items():
    print(f'{name}: {n:,} rows')
  print(OUT.value)


if __name__ == '__main__':
  program.run(main)
