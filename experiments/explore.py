"""Makes a web page of a dictionary's concepts: a static site, no server needed.

A map of all concepts, pictures and captions for each, from the strongest to
those where it is silent, and the bridges between images and texts with their
2x2 tables. From what analyse wrote; what name and stability wrote of the same
dictionary is joined. Several analyses make one site that switches between them.

The folder can be put on any web host as it is; --serve shows it on this
machine, also without --analysis for a site that is there already. Pictures are
those that the store's rows name, or drawn again; they are published only where
the store states their licence, or --thumbnails=all says so.

  ./launch.sh explore --analysis=runs/analysis --names=runs/names \\
      --out=runs/site --serve
"""

from absl import flags

from saejax import errors
from saejax import program
from saejax.explorer import build
from saejax.explorer import serving

C = build.SiteConfig

ANALYSIS = flags.DEFINE_list('analysis', None, 'Folders that analyse wrote.')
NAMES = flags.DEFINE_list(
  'names', [], 'Folders that name wrote, in the order of the analyses.'
)
STABILITY = flags.DEFINE_list(
  'stability',
  [],
  'Folders that stability wrote, likewise; FOLDER:RUN where it is not clear '
  'which of its runs the dictionary is.',
)
OUT = program.required(
  'out', 'Folder for the site; with --single_file, a file.html.'
)
SERVE = flags.DEFINE_bool('serve', False, 'Serve the site on this machine.')
PORT = flags.DEFINE_integer('port', 8000, 'Of --serve; 0 takes any.')
SINGLE = flags.DEFINE_bool(
  'single_file', False, 'One HTML file, for up to 2,000 concepts.'
)
TARGET = flags.DEFINE_enum(
  'target',
  C.target,
  build.TARGETS,
  'hf-space adds what a static Space of Hugging Face needs, embedding-atlas a '
  'table for that viewer.',
)
MAX_MB = flags.DEFINE_float(
  'max_mb', C.max_mb, 'Of all pictures, which are made smaller to meet it.'
)
THUMBNAILS = flags.DEFINE_enum(
  'thumbnails',
  C.thumbnails,
  build.THUMBNAILS,
  'Pictures: auto where their licence is stated, all in any case, or none.',
)
TITLE = flags.DEFINE_string('title', None, "Of the site [the model's name].")


def main() -> None:
  if SERVE.value and SINGLE.value:
    raise errors.UserError('A single file needs no --serve: open it.')
  if not ANALYSIS.value and not SERVE.value:
    raise errors.UserError('--analysis is missing. See --help.')
  if ANALYSIS.value:
    config = C(
      analysis=tuple(ANALYSIS.value),
      names=tuple(NAMES.value),
      stability=tuple(STABILITY.value),
      thumbnails=THUMBNAILS.value,
      max_mb=MAX_MB.value,
      title=TITLE.value,
      target=TARGET.value,
    )
    make = build.write_single if SINGLE.value else build.write
    print(make(config, OUT.value))
  if SERVE.value:
    serving.serve(OUT.value, PORT.value)


if __name__ == '__main__':
  program.run(main)
