"""Adds directions of classes to one layer, and measures what a model then says.

Directions are differences of class means, as they are and with all else that
scenes hold being equal (adjusted), weights of probes, of bare captions, of the
unembedding, of an SAE, and by chance. Scenes of other classes are asked about,
edited in three ways: a direction is added at the image's positions, or where
the answer begins; or what each image token holds of the factor, apart from what
it holds of others, is turned to the class. Captions of other
scenes, apart from the names of the factor's classes, tell the damage. A class's
direction is ranked among --nulls directions by chance, each at the strength
that does most on other scenes within --damage. With --judge_url, an
OpenAI-compatible endpoint, or --judge_model alone, a language model that runs
here on torch, a judge reads which class each rollout tells of; answers are kept
in OUT/answers. Writes to OUT: results.json, classes.csv, rollouts.jsonl,
directions.safetensors, turned.safetensors and figures/.

  ./launch.sh steer --layer=1 --factor=colour --out=runs/steered
  ./launch.sh steer --layer=3 --factor=shape --sae=runs/sae/sae \\
      --directions=means,sae,random --out=runs/steered-shape
"""

from absl import flags

from saejax import errors
from saejax import judge_flags
from saejax import llava_flags
from saejax import program
from saejax import results
from saejax.pipeline import judges
from saejax.pipeline import onward
from saejax.pipeline import steering
from saejax.pipeline import steering_directions
from saejax.pipeline import steering_scenes
from saejax.pipeline import steering_setup

C = steering_setup.SteerConfig

OUT = program.required('out', 'Folder for results.')
llava_flags.asking_flags(
  C,
  letters='That name options, each one token; none (--letters=) asks plainly, '
  'for the name of a class.',
  layer='Whose input is edited: what enters block L.',
)
flags.DEFINE_enum(
  'factor',
  C.factor,
  list(steering_scenes.FACTORS),
  'Whose classes are steered.',
)
flags.DEFINE_string('dataset', C.dataset, 'Scenes, as of embed.')
flags.DEFINE_list('classes', list(C.classes), 'Classes; all by default.')
flags.DEFINE_list(
  'sites',
  list(onward.SITES),
  'How is edited, each apart from the others: added at the image, added at the '
  'answer, or the image turned.',
)
DIRECTIONS = flags.DEFINE_list(
  'directions',
  list(C.directions),
  f'Kinds, of {", ".join(steering_directions.KINDS)}.',
)
TESTED = flags.DEFINE_enum(
  'tested',
  None,
  list(steering_directions.KINDS),
  'The kind that is ranked among directions by chance; the first of '
  '--directions by default.',
)
STRENGTHS = flags.DEFINE_list(
  'strengths',
  [f'{k:g}' for k in C.strengths],
  'In units of the mean length of an image token, rising; where the image is '
  'turned, of the length that each token holds of the factor, times what its '
  'classes lost to other factors.',
)
flags.DEFINE_float(
  'damage', C.damage, 'That a strength may do on val, in nats per token.'
)
flags.DEFINE_integer('images', C.images, 'Asked about, of each class.')
flags.DEFINE_integer(
  'captions', C.captions, 'Of other scenes, that tell the damage.'
)
flags.DEFINE_integer(
  'train_scenes', C.train_scenes, 'That directions are made of, at most.'
)
flags.DEFINE_integer(
  'nulls', C.nulls, 'Directions by chance; a quarter where tokens turn.'
)
flags.DEFINE_integer(
  'rollouts', C.rollouts, 'Scenes of each class that are written about.'
)
flags.DEFINE_integer('atoms', C.atoms, 'Of sparse decompositions, at most.')
flags.DEFINE_string('sae', C.sae, 'Folder of an SAE of the layer.')
flags.DEFINE_integer('seed', C.seed, 'Of what is drawn.')
judge_flags.define(offline=False)
RESUME = flags.DEFINE_bool('resume', False, 'Go on with the run in OUT.')


def main() -> None:
  config = llava_flags.asking_config(
    C,
    strengths=tuple(program.numbers(STRENGTHS, float, None)),
    tested=TESTED.value or (DIRECTIONS.value or [''])[0],
  )
  asked = program.config_from_flags(judges.JudgeConfig)
  judge = judges.open_judge(asked, OUT.value)
  if judge and not config.rollouts:
    raise errors.UserError(
      'A judge reads rollouts, of which --rollouts=0 asks for none.'
    )
  found = steering.steer(config, OUT.value, RESUME.value, judge)
  told = {k: e for k, e in found.items() if '/strength=' not in k}
  print(results.table(told))
  print(OUT.value)


if __name__ == '__main__':
  program.run(main)
