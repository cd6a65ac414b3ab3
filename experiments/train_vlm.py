"""Trains a small VLM on the procedural world, from nothing.

Writes OUT/model, a Hugging Face folder that `embed` and `transformers` read,
and OUT/metrics.jsonl. What no flag says is as in the model of that family that
ships: half an hour to an hour on two CPU cores. Killed, it goes on with
--resume.

  ./launch.sh train_vlm --out=runs/clip-scenes
  ./launch.sh train_vlm --model=siglip --out=runs/siglip-scenes
"""

import dataclasses

from absl import flags

from saejax import errors
from saejax import program
from saejax.pipeline import llava_models
from saejax.pipeline import llava_training
from saejax.pipeline import vlm
from saejax.pipeline import vlm_models

OUT = program.required('out', 'Folder of the run.')
RESUME = flags.DEFINE_bool('resume', False, 'Go on with the run in --out.')
MODEL = flags.DEFINE_enum(
  'model',
  'clip',
  [*vlm_models.SHIPPED, 'llava_next'],
  'Architecture, and with it what is trained for: clip a softmax over pairs, '
  'siglip a sigmoid, siglip2 that and captioning; aimv2 captions first, then a '
  'text tower is tuned to its images; llava_next learns texts, then to caption '
  'and to answer, with the vision tower of the clip that ships.',
)
_SHIPPED = {**vlm_models.SHIPPED, 'llava_next': llava_models.SHIPPED}


def _told(name: str, help_: str) -> str:
  """A flag's help, with what the models that ship have."""
  by_model = {
    m: getattr(c, name) for m, c in _SHIPPED.items() if hasattr(c, name)
  }
  if len(set(by_model.values())) == 1:
    return f'{help_} [{by_model["clip"]}]'
  return f'{help_} [{", ".join(f"{m} {v}" for m, v in by_model.items())}]'


flags.DEFINE_enum(
  'captions',
  None,
  ['partial', 'full', 'unrelated'],
  'What captions say: a random part of the scene; all of it; or another scene. '
  'The last two are control worlds. [partial]',
)
flags.DEFINE_integer(
  'seed', None, _told('seed', 'Of the initial weights and the world.')
)
flags.DEFINE_integer(
  'steps',
  None,
  _told('steps', 'Steps of training to match images and captions.'),
)
flags.DEFINE_integer(
  'caption_steps',
  None,
  _told(
    'caption_steps',
    "Steps in which aimv2's image tower learns to caption, or llava_next's "
    'language model learns texts.',
  ),
)
flags.DEFINE_integer(
  'batch', None, _told('batch', 'Image-caption pairs a step.')
)
flags.DEFINE_integer(
  'd',
  None,
  _told('d', 'Width of the shared space; of a siglip, the vision width.'),
)
flags.DEFINE_integer(
  'patch', None, _told('patch', 'Pixels of a side of a patch; images have 48.')
)
flags.DEFINE_integer(
  'vision_width', None, _told('vision_width', 'Of the vision tower.')
)
flags.DEFINE_integer(
  'vision_layers', None, _told('vision_layers', 'Of the vision tower.')
)
flags.DEFINE_integer(
  'text_width', None, _told('text_width', 'Of the text tower.')
)
flags.DEFINE_integer(
  'text_layers', None, _told('text_layers', 'Of the text tower.')
)
flags.DEFINE_integer(
  'log_every', None, _told('log_every', 'Steps between metrics.')
)
flags.DEFINE_integer(
  'checkpoint_every',
  None,
  _told('checkpoint_every', 'Steps between checkpoints.'),
)
flags.DEFINE_float('lr', None, _told('lr', 'Peak learning rate.'))
flags.DEFINE_float(
  'weight_decay', None, _told('weight_decay', 'Of matrices, in AdamW.')
)


def main() -> None:
  asked = dataclasses.asdict(program.config_from_flags(vlm.VLMConfig))
  given = {name: value for name, value in asked.items() if value is not None}
  shipped = _SHIPPED[MODEL.value]
  known = {field.name for field in dataclasses.fields(shipped)} | {'model'}
  if strange := sorted(given.keys() - known):
    raise errors.UserError(
      f'--{strange[0]} says nothing of a {MODEL.value}: leave it out.'
    )
  if MODEL.value == 'llava_next':
    del given['model']
    config = dataclasses.replace(shipped, **given)
    print(llava_training.train(config, OUT.value, RESUME.value))
    return
  config = dataclasses.replace(shipped, **given)
  print(vlm.train_vlm(config, OUT.value, RESUME.value))


if __name__ == '__main__':
  program.run(main)
