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

from saejax import processes
from saejax import program
from saejax import store
from saejax.pipeline import embedding
from saejax.pipeline import exporting

C = exporting.ExportConfig

OUT = program.required('out', 'Folder of the store.')
program.required(
  'model',
  'Model folder in Hugging Face layout, an id on its hub, or a model that '
  'ships.',
)
flags.DEFINE_string('dataset', C.dataset, 'Data set, as of embed.')
LAYERS = flags.DEFINE_list(
  'layers', None, 'Layers to keep; all, and what leaves the last, by default.'
)
PROMPT = flags.DEFINE_string(
  'prompt',
  C.prompt,
  r'How a row reads: {image}, and at its end {caption}; \n is a new line.',
)
flags.DEFINE_integer(
  'examples',
  C.examples,
  'So many of the data set at most, evenly spread [all].',
)
flags.DEFINE_integer(
  'per_example',
  C.per_example,
  'Positions of each stream that are kept of an example, drawn by a hash; all '
  'by default.',
)
flags.DEFINE_bool('pool', C.pool, 'Keep the mean over positions instead.')
flags.DEFINE_string(
  'revision', C.revision, 'Branch, tag or commit of the model on the hub.'
)
flags.DEFINE_bool('offline', C.offline, 'Never ask the network for the model.')
flags.DEFINE_enum(
  'dtype', C.dtype, embedding.DTYPES, 'Of parameters and the computation.'
)
flags.DEFINE_enum(
  'store_dtype', C.store_dtype, list(store.DTYPES), 'What rows are stored as.'
)
flags.DEFINE_string('device', C.device, 'Where torch computes: cpu, cuda, ….')
flags.DEFINE_integer('batch', C.batch, 'Examples that are computed at a time.')
program.process_flags()


def main() -> None:
  processes.start(**program.process_values())
  layers = () if LAYERS.value is None else program.numbers(LAYERS, int, None)
  config = program.config_from_flags(
    C,
    layers=tuple(layers),
    prompt=PROMPT.value.replace(r'\n', '\n'),
  )
  for name, n in exporting.export(config, OUT.value).items():
    print(f'{name}: {n:,} rows')
  print(OUT.value)


if __name__ == '__main__':
  program.run(main)
