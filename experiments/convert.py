"""Reads an SAE that others released, and writes it as one of ours.

Formats: vlm-saes, the SAEs of LLaVA-NeXT released as flybamboo/vlm-saes, a file
or a folder of files sae_final_layerL_8x_normN.pkl. Download them first; pickles
are opened with --allow_pickle alone, and only for their tensors. saejax is what
train_sae writes as sae/, which splice, evaluate and the others read.

  ./launch.sh convert --from=vlm-saes:downloads/vlm-saes --layer=24 \\
      --allow_pickle --to=saejax:runs/released-24
"""

from collections.abc import Sequence
import os

from absl import flags

from saejax import errors
from saejax import io
from saejax import program
from saejax.formats import vlm_saes
from saejax.pipeline import caching
from saejax.store import files

READ, WRITTEN = ('vlm-saes',), ('saejax',)

FROM = program.required('from', f'FORMAT:PATH; of {", ".join(READ)}.')
TO = program.required(
  'to', f'FORMAT:PATH, a folder that is made; of {", ".join(WRITTEN)}.'
)
LAYER = flags.DEFINE_integer('layer', None, 'Of a folder with several, which.')
NORM = flags.DEFINE_float(
  'norm', None, "Mean norm of a layer's rows [what the file's name says]."
)
ALLOW_PICKLE = flags.DEFINE_bool(
  'allow_pickle', False, 'Open a pickle, for its tensors alone; needs torch.'
)


def parse(flag: flags.FlagHolder, formats: Sequence[str]) -> tuple[str, str]:
  """FORMAT and PATH."""
  kind, _, path = flag.value.partition(':')
  if kind not in formats or not path:
    raise errors.UserError(
      f'--{flag.name}={flag.value} is not understood: write FORMAT:PATH, with '
      f'FORMAT of {", ".join(formats)}.'
    )
  return kind, path


def main() -> None:
  kind, path = parse(FROM, READ)
  _, out = parse(TO, WRITTEN)
  if os.path.exists(out):
    raise errors.UserError(f'{out} is there already. Choose another folder.')
  found = vlm_saes.load(
    path,
    layer=LAYER.value,
    norm=NORM.value,
    allow_pickle=ALLOW_PICKLE.value,
  )
  # Of the tokens of images, and of the texts around them.
  streams = [caching.stream_name(found.layer, c) for c in ('image', 'caption')]
  made_by = {
    'format': kind,
    'file': os.path.basename(found.path),
    'sha256': files.sha256(found.path),
    'layer': found.layer,
    'mean_norm': found.norm,
    'config': {'streams': streams},
  }
  io.save(out, found.sae, found.variables, made_by)
  print(
    f'{found.sae.s:,} concepts of width {found.sae.d:,}, layer {found.layer}'
  )
  print(out)


if __name__ == '__main__':
  program.run(main)
