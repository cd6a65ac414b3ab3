"""Trains a small CLIP on the procedural world, from nothing.

Writes OUT/model, a Hugging Face folder that `embed` and `transformers` read,
and OUT/metrics.jsonl. The defaults make the model that saejax ships: about an
hour on two CPU cores. Killed, it goes on with --resume.

  ./launch.sh train_vlm --out=runs/clip-scenes
"""

from absl import flags

from saejax import program
from saejax.pipeline import vlm

C = vlm.VLMConfig

OUT = program.required('out', 'Folder of the run.')
RESUME = flags.DEFINE_bool('resume', False, 'Go on with the run in --out.')
flags.DEFINE_enum(
  'model', 'clip', ['clip'], 'Architecture of the model to train.'
)
flags.DEFINE_enum(
  'captions',
  C.captions,
  ['partial', 'full', 'unrelated'],
  'What captions say: a random part of the scene; all of it; or another scene. '
  'The last two are control worlds.',
)
flags.DEFINE_integer('seed', C.seed, 'Of the initial weights and the world.')
flags.DEFINE_integer('steps', C.steps, 'Training steps.')
flags.DEFINE_integer('batch', C.batch, 'Image-caption pairs a step.')
flags.DEFINE_float('lr', C.lr, 'Peak learning rate.')
flags.DEFINE_float('weight_decay', C.weight_decay, 'Of matrices, in AdamW.')
flags.DEFINE_integer('d', C.d, 'Width of the shared space.')
flags.DEFINE_integer('vision_width', C.vision_width, 'Of the vision tower.')
flags.DEFINE_integer('vision_layers', C.vision_layers, 'Of the vision tower.')
flags.DEFINE_integer('text_width', C.text_width, 'Of the text tower.')
flags.DEFINE_integer('text_layers', C.text_layers, 'Of the text tower.')
flags.DEFINE_integer('log_every', C.log_every, 'Steps between metrics.')
flags.DEFINE_integer(
  'checkpoint_every', C.checkpoint_every, 'Steps between checkpoints.'
)


def main() -> None:
  config = program.config_from_flags(C)
  print(vlm.train_vlm(config, OUT.value, RESUME.value))


if __name__ == '__main__':
  program.run(main)
