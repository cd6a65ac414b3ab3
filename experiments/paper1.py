"""Runs the whole study of arXiv 2504.11695 on some models and a data set.

For each model: embeds, trains dictionaries with and without centring each
modality, evaluates and analyses them beside a Gaussian twin, compares seeds,
trains on other mixtures of images and texts, removes bridges beside matched
random concepts, and names concepts; then draws R² against L0 of SAEs and other
methods for all models. With --counter_worlds the first model is run again where
captions say all there is, and where they tell of other pictures.
OUT/report.html and .md say of each claim what was measured, its interval, its
null and the verdict. Killed, the same command goes on.

The defaults are for the four small models that ship. Of larger ones:

  ./launch.sh paper1 --models=openai/clip-vit-base-patch32 --expansion=8 \\
      --epochs=30 --lr=5e-4 --k=16 --dataset=karpathy:… --out=runs/paper1
"""

from absl import flags

from saejax import program
from saejax.pipeline import paper1

C = paper1.Paper1Config

OUT = program.required('out', 'Folder of the study.')
MODELS = flags.DEFINE_list(
  'models',
  ['clip-scenes', 'siglip-scenes', 'siglip2-scenes', 'aimv2-scenes'],
  'Model folders, ids of the hub, or names of models that ship.',
)
flags.DEFINE_string('dataset', C.dataset, 'What to embed, as for embed.')
flags.DEFINE_bool('offline', C.offline, 'Never ask the network for a model.')
flags.DEFINE_string('arch', C.arch, 'Variant that is analysed.')
flags.DEFINE_integer('latents', C.latents, 'Dictionary size [256].')
flags.DEFINE_float('expansion', C.expansion, 'Or: size over the width.')
flags.DEFINE_integer('k', C.k, 'Mean number of active concepts a row.')
SEEDS = flags.DEFINE_list('seeds', ['0', '1'], 'Dictionaries to compare.')
flags.DEFINE_integer('steps', C.steps, 'Training steps [1000].')
flags.DEFINE_float('epochs', C.epochs, 'Or: passes over the rows.')
flags.DEFINE_float('lr', C.lr, 'Peak learning rate.')
L0S = flags.DEFINE_list('l0s', list(map(str, C.l0s)), 'L0s of the curves.')
flags.DEFINE_list('methods', list(C.methods), 'Methods of the curves.')
flags.DEFINE_integer(
  'alternations', C.alternations, 'Batches of 1024 rows that fit semi_nmf and '
  'other factorisations.'
)  # fmt: skip
flags.DEFINE_integer('draws', C.draws, 'Matched random sets.')
flags.DEFINE_list(
  'diets', list(C.diets), 'Shares of images of other mixtures; empty for none.'
)
flags.DEFINE_bool(
  'counter_worlds', C.counter_worlds, 'Also where captions say all, or nothing.'
)


def main() -> None:
  config = program.config_from_flags(
    C,
    models=tuple(MODELS.value),
    seeds=tuple(program.numbers(SEEDS, int, 0)),
    l0s=tuple(program.numbers(L0S, int, 8)),
  )
  print(paper1.study(config, OUT.value))


if __name__ == '__main__':
  program.run(main)
