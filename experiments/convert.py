"""Reads an SAE that others released, and writes it as one of ours.

Formats: vlm-saes, the SAEs of LLaVA-NeXT released as flybamboo/vlm-saes, a file
or a folder of files sae_final_layerL_8x_normN.pkl. Download them first; pickles
are opened with --allow_pickle alone, and only for their tensors. OUT is what
train_sae writes as sae/: splice, evaluate and the others read it.

  ./launch.sh convert --from=vlm-saes:downloads/vlm-saes --layer=24 \\
      --allow_pickle --out=runs/released-24
"""

import os

from absl import flags

from saejax import errors
from saejax import io
from saejax import program
from saejax.formats import vlm_saes
from saejax.store import files

FORMATS = ('vlm-saes',)

FROM = program.required('from', f'FORMAT:PATH; FORMAT of {", ".join(FORMATS)}.')
OUT = program.required('out', 'Folder of the dictionary.')
LAYER = flags.DEFINE_integer('layer', None, 'Of a folder with several, which.')
NORM = flags.DEFINE_float(
  'norm', None, "Mean norm of a layer's rows [what the file's name says]."
)
ALLOW_PICKLE = flags.DEFINE_bool(
  'allow_pickle', False, 'Open a pickle, for its tensors alone; needs torch.'
)


def main() -> None:
  kind, _, path = FROM.value.partition(':')
  if kind not in FORMATS or not path:
    raise errors.UserError(
      f'--from={FROM.value} is not understood: write FORMAT:PATH, with FORMAT '
      f'of {", ".join(FORMATS)}.'
    )
  if os.path.exists(OUT.value):
    raise errors.UserError(
      f'--out={OUT.value} is there already. Choose another folder.'
    )
  found = vlm_saes.load(
    path,
    layer=LAYER.value,
    norm=NORM.value,
    allow_pickle=ALLOW_PICKLE.value,
  )
  made_by = {
    'format': kind,
    'file': found.file,
    'sha256': files.sha256(vlm_saes.find(path, LAYER.value)),
    'layer': found.layer,
    'mean_norm': found.norm,
  }
  io.save(OUT.value, found.sae, found.variables, made_by)
  print(
    f'{found.sae.s:,} concepts of width {found.sae.d:,}, layer {found.layer}'
  )
  print(OUT.value)


if __name__ == '__main__':
  program.run(main)
