"""Tells what a LLaVA-NeXT needs of each device, before it is loaded.

From shapes alone: no weights, no memory, no such devices are needed. Checks
that every parameter has a place on the mesh and that the program which reads
the residual stream fits it; where weights are there, that every tensor's name
and shape is one that the model expects. Prints bytes of each device: parameters
exactly, a batch by estimate.

  ./launch.sh plan_llava --model=llava-hf/llava-v1.6-mistral-7b-hf \\
      --mesh=1,8 --batch=8 --image_size=672,672 --layers=8,16,24
"""

from absl import flags

from saejax import program
from saejax.pipeline import llava_plan

C = llava_plan.PlanConfig

program.required(
  'model',
  'Model folder, a config.json, an id on the hub (of which the config alone is '
  'fetched), or a model that ships.',
)
program.mesh_flag()
flags.DEFINE_integer('batch', C.batch, 'Rows at a time, over all devices.')
SIZE = flags.DEFINE_list(
  'image_size', [str(n) for n in C.image_size], 'Height,width of an image.'
)
flags.DEFINE_integer(
  'text_tokens', C.text_tokens, 'Tokens of a row, beside its image.'
)
flags.DEFINE_integer(
  'new_tokens', C.new_tokens, 'Tokens to generate, for the cache of keys.'
)
LAYERS = flags.DEFINE_list(
  'layers', None, 'Layers that are kept; all by default.'
)
flags.DEFINE_enum(
  'dtype', C.dtype, llava_plan.DTYPES, 'Of parameters and the computation.'
)
flags.DEFINE_string(
  'revision', C.revision, 'Branch, tag or commit of the model on the hub.'
)
flags.DEFINE_bool('offline', C.offline, 'Never ask the network for the model.')


def main() -> None:
  layers = () if LAYERS.value is None else program.numbers(LAYERS, int, None)
  # Both sides of an image may be equal, so that these are not `numbers`.
  size = tuple(int(n) if n.isdigit() else 0 for n in SIZE.value)
  config = program.config_from_flags(
    C,
    layers=tuple(layers),
    image_size=size,
    mesh=program.mesh_shape() or C.mesh,
  )
  print(llava_plan.table(llava_plan.plan(config), config))


if __name__ == '__main__':
  program.run(main)
