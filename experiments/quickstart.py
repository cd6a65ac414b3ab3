"""Runs everything on a small world, and writes a report to look at.

Embeds drawn scenes and captions with a small CLIP that ships with saejax,
trains sparse autoencoders, evaluates and analyses them beside a structureless
twin, and writes OUT/report.html and OUT/site, an explorer of concepts: about
five minutes on two CPU cores. Killed, it goes on when run again.

  ./launch.sh quickstart
"""

import os

from absl import flags

from saejax import errors
from saejax import program
from saejax.pipeline import quickstart

C = quickstart.QuickstartConfig

OUT = flags.DEFINE_string('out', 'runs/quickstart', 'Folder for everything.')
KS = flags.DEFINE_list(
  'ks', [str(k) for k in C.ks], 'Mean active concepts of each dictionary.'
)
flags.DEFINE_integer('k', C.k, 'Which of them to analyse.')
flags.DEFINE_integer('scenes', C.scenes, 'Scenes to embed.')
flags.DEFINE_integer(
  'seed', C.seed, 'Of the scenes; the shipped model has seen those of 0.'
)
flags.DEFINE_enum(
  'captions',
  C.captions,
  ['partial', 'full', 'unrelated'],
  'What captions say: a random part of the scene; all of it; or another scene. '
  'The last two are control worlds.',
)
flags.DEFINE_enum('arch', C.arch, quickstart.ARCHS, 'SAE variant.')
flags.DEFINE_integer('latents', C.latents, 'Dictionary size.')
flags.DEFINE_integer('steps', C.steps, 'Training steps of each dictionary.')
flags.DEFINE_bool(
  'retrain',
  C.retrain,
  'Train a model here, for less time, and use that one.',
)
flags.DEFINE_integer('vlm_steps', C.vlm_steps, 'Steps of --retrain.')


def main() -> None:
  try:
    ks = tuple(int(k) for k in KS.value)
  except ValueError:
    raise errors.UserError(
      f'--ks={",".join(KS.value)} must be whole numbers joined by commas.'
    ) from None
  config = program.config_from_flags(C, ks=ks)
  report = quickstart.quickstart(config, OUT.value)
  site = os.path.join(OUT.value, quickstart.SITE)
  print(f"""\
Look at it:     {os.path.abspath(report)}
Every concept:  ./launch.sh explore --serve --out={site}
Its numbers:    {os.path.join(OUT.value, 'analysis', 'results.json')}
On your own embeddings, row by row images and captions:
  ./launch.sh import_embeddings --image=A.npy --text=B.npy --out=runs/store
  ./launch.sh train_sae --store=runs/store --k=16 --out=runs/sae
  ./launch.sh analyse --sae=runs/sae/sae --store=runs/store --out=runs/found""")


if __name__ == '__main__':
  program.run(main)
