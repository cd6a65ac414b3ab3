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

from saejax import program
from saejax.pipeline import vlm
from saejax.pipeline import vlm_models

OUT = program.required('out', 'Folder of the run.')
RESUME = flags.DEFINE_bool('resume', False, 'Go on with the run in --out.')
MODEL = flags.DEFINE_enum(
  'model',
  'clip',
  list(vlm_models.SHIPPED),
  'Architecture, and with it what is trained for: clip a softmax over pairs, '
  'siglip a sigmoid, siglip2 that and captioning; aimv2 captions first, then a '
  'text tower is tuned to its images.',
)


def _default(name: str) -> str:
  """What the models that ship have, for --help."""
  by_model = {m: getattr(c, name) for m, c in vlm_models.SHIPPED.items()}
  if len(set(by_model.values())) == 1:
    return f'[{by_model["clip"]}]'
  return f'[{", ".join(f"{m} {v}" for m, v in by_model.items())}]'


flags.DEFINE_enum(
  'captions',
  None,
  ['partial', 'full', 'unrelated'],
  'What captions say: a random part of the scene; all of it; or another scene. '
  'The last two are control worlds. [partial]',
)
for _name, _help in (
  ('seed', 'Of the initial weights and the world.'),
  ('steps', 'Steps of training to match images and captions.'),
  ('caption_steps', "Steps in which aimv2's image tower learns to caption."),
  ('batch', 'Image-caption pairs a step.'),
  ('d', 'Width of the shared space; of a siglip, the vision width.'),
  ('patch', 'Pixels of a side of a patch; images have 48.'),
  ('vision_width', 'Of the vision tower.'),
  ('vision_layers', 'Of the vision tower.'),
  ('text_width', 'Of the text tower.'),
  ('text_layers', 'Of the text tower.'),
  ('log_every', 'Steps between metrics.'),
  ('checkpoint_every', 'Steps between checkpoints.'),
):
  flags.DEFINE_integer(_name, None, f'{_help} {_default(_name)}')
for _name, _help in (
  ('lr', 'Peak learning rate.'),
  ('weight_decay', 'Of matrices, in AdamW.'),
):
  flags.DEFINE_float(_name, None, f'{_help} {_default(_name)}')


def main() -> None:
  asked = dataclasses.asdict(program.config_from_flags(vlm.VLMConfig))
  given = {name: value for name, value in asked.items() if value is not None}
  config = dataclasses.replace(vlm_models.SHIPPED[MODEL.value], **given)
  print(vlm.train_vlm(config, OUT.value, RESUME.value))


if __name__ == '__main__':
  program.run(main)
