"""Runs the whole study of arXiv 2506.04706 on a LLaVA-NeXT.

Keeps activations, trains a BatchTopK SAE of every chosen layer on images,
captions and bare texts, reads classes by probes (of rows, of codes, and from
texts to images), tells what images and texts share, puts reconstructions in
place of the stream, steers classes beside random directions, and explains
concepts without a judge. OUT/report.html and .md say of each claim what was
measured, its interval, its null and the verdict; OUT/site shows the concepts of
one layer, and where they fire. Killed, the same command goes on. Classes are
known of scenes; of other data, what asks after them is left out and stays open.

The defaults are for the small model that ships. Of a larger one:

  ./launch.sh paper2 --model=llava-hf/llava-v1.6-mistral-7b-hf \\
      --layers=8,16,24 --expansion=8 --k=192 --steps=20000 --lr=1e-4 \\
      --per_example=24 --dtype=bfloat16 --dataset=karpathy:… \\
      --prompt='[INST] {image}\\n{question} [/INST]' --out=runs/paper2
"""

import os

from absl import flags

from saejax import program
from saejax.pipeline import embedding
from saejax.pipeline import paper2
from saejax.pipeline import paper2_setup
from saejax.pipeline import steering_scenes

C = paper2_setup.Paper2Config

OUT = program.required('out', 'Folder of the study.')
flags.DEFINE_string(
  'model',
  C.model,
  'Model folder in Hugging Face layout, an id on its hub, or a model that '
  'ships.',
)
flags.DEFINE_string('dataset', C.dataset, 'Data set, as of embed.')
LAYERS = flags.DEFINE_list(
  'layers', None, 'Layers to study, from 1; three over the depth by default.'
)
flags.DEFINE_integer('latents', C.latents, 'Concepts of each dictionary; or')
flags.DEFINE_float('expansion', C.expansion, 'concepts over the width [8].')
flags.DEFINE_integer(
  'k', C.k, 'Mean number of active concepts a token [3/64 of the width].'
)
flags.DEFINE_integer('steps', C.steps, 'Training steps of each dictionary.')
flags.DEFINE_float('lr', C.lr, 'Peak learning rate.')
flags.DEFINE_integer(
  'per_example',
  C.per_example,
  'Positions of each stream that are kept of an example; all by default.',
)
flags.DEFINE_list(
  'factors',
  list(C.factors),
  f'Whose classes are read and steered, of {", ".join(steering_scenes.FACTORS)}'
  '.',
)
flags.DEFINE_integer(
  'classes', C.classes, 'Of each factor that are steered, at most.'
)
flags.DEFINE_integer('images', C.images, 'Asked about, of each class.')
flags.DEFINE_integer(
  'captions', C.captions, 'Of other scenes, that tell the damage of steering.'
)
flags.DEFINE_integer(
  'nulls',
  C.nulls,
  'Directions by chance; at least 20 for each class at each layer.',
)
flags.DEFINE_integer(
  'examples', C.examples, 'That reconstructions are put into, at most.'
)
flags.DEFINE_integer(
  'concepts', C.concepts, 'Of each layer that are explained.'
)
flags.DEFINE_integer(
  'site_layer',
  C.site_layer,
  'Whose concepts the site shows; the middle one by default.',
)
flags.DEFINE_integer(
  'site_examples',
  C.site_examples,
  'Of the data set, of which the site shows where concepts fire.',
)
PROMPT = flags.DEFINE_string(
  'prompt',
  C.prompt,
  r'How a row reads before its answer: {image}, {question}; \n is a new line.',
)
flags.DEFINE_bool('offline', C.offline, 'Never ask the network for the model.')
flags.DEFINE_enum(
  'dtype', C.dtype, embedding.DTYPES, 'Of parameters and the computation.'
)
flags.DEFINE_integer('batch', C.batch, 'Rows of the model at a time.')
flags.DEFINE_integer('seed', C.seed, 'Of dictionaries and draws.')


def main() -> None:
  layers = () if LAYERS.value is None else program.numbers(LAYERS, int, None)
  config = program.config_from_flags(
    C, layers=tuple(layers), prompt=PROMPT.value.replace(r'\n', '\n')
  )
  print(paper2.study(config, OUT.value))
  site = os.path.join(OUT.value, paper2.SITE)
  print(f'Every concept:  ./launch.sh explore --serve --out={site}')


if __name__ == '__main__':
  program.run(main)
