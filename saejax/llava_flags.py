"""Flags that programs about LLaVA-NeXT share: each call defines a group."""

from typing import Any
from typing import TypeVar

from absl import flags

from saejax import errors
from saejax import program
from saejax import store
from saejax.pipeline import embedding

FLAGS = flags.FLAGS
T = TypeVar('T')

_MODEL = (
  'Model folder in Hugging Face layout, an id on its hub, or a model that '
  'ships.'
)


def _hub_flags(config: type[Any]) -> None:
  flags.DEFINE_string(
    'revision', config.revision, 'Branch, tag or commit of the model on the '
    'hub.'
  )  # fmt: skip
  flags.DEFINE_bool(
    'offline', config.offline, 'Never ask the network for the model.'
  )


def model_flags(config: type[Any], batch: str = 'Rows') -> None:
  """Defines the flags of a model and how it computes.

  Args:
    config: with their defaults; --model is required where it has none.
    batch: what --batch counts.
  """
  if hasattr(config, 'model'):
    flags.DEFINE_string('model', config.model, _MODEL)
  else:
    program.required('model', _MODEL)
  _hub_flags(config)
  flags.DEFINE_enum(
    'dtype', config.dtype, embedding.DTYPES, 'Of parameters and the '
    'computation.'
  )  # fmt: skip
  flags.DEFINE_integer(
    'batch', config.batch, f'{batch} that are computed at a time.'
  )


def cache_flags(config: type[Any]) -> None:
  """Defines the flags of what is kept of a residual stream, which
  `cache_config` reads; those of the model are among them."""
  model_flags(config, 'Examples')
  flags.DEFINE_string('dataset', config.dataset, 'Data set, as of embed.')
  flags.DEFINE_list(
    'layers', None, 'Layers to keep; all, and what leaves the last, by default.'
  )
  flags.DEFINE_string(
    'prompt', config.prompt, 'How a row reads: {image}, and at its end '
    r'{caption}; \n is a new line.'
  )  # fmt: skip
  flags.DEFINE_list(
    'contexts', list(config.contexts), 'Streams to keep; of image alone no '
    'caption is read, and --prompt needs none.'
  )  # fmt: skip
  flags.DEFINE_integer(
    'examples', config.examples, 'So many of the data set at most, evenly '
    'spread [all].'
  )  # fmt: skip
  flags.DEFINE_integer(
    'per_example', config.per_example, 'Positions of each stream that are kept '
    'of an example, drawn by a hash; all by default.'
  )  # fmt: skip
  flags.DEFINE_bool(
    'pool', config.pool, 'Keep the mean over positions instead.'
  )
  flags.DEFINE_enum(
    'store_dtype', config.store_dtype, list(store.DTYPES), 'What rows are '
    'stored as.'
  )  # fmt: skip


def prompt() -> str:
  """--prompt with its new lines."""
  return FLAGS.prompt.replace(r'\n', '\n')


def cache_config(config: type[T], **given: Any) -> T:
  """The flags of `cache_flags` as a config."""
  layers = ()
  if FLAGS.layers is not None:
    layers = program.numbers(FLAGS['layers'], int, None)
  return program.config_from_flags(
    config, layers=tuple(layers), prompt=prompt(), **given
  )


def live_flags(config: type[Any]) -> None:
  """Defines the flags of a model that computes rows as they are trained on."""
  program.required('model', _MODEL)
  flags.DEFINE_string('dataset', config.dataset, 'Data set, as of embed.')
  flags.DEFINE_integer(
    'examples', config.examples, 'So many of the data set at most, evenly '
    'spread [all].'
  )  # fmt: skip
  flags.DEFINE_integer(
    'window', config.window, 'Shards of 256 examples whose rows are mixed; '
    'those of two windows are in memory.'
  )  # fmt: skip
  _hub_flags(config)
  flags.DEFINE_enum(
    'read_dtype', config.read_dtype, embedding.DTYPES, "Of the model's "
    'parameters and its computation.'
  )  # fmt: skip
  flags.DEFINE_integer(
    'read_batch', config.read_batch, 'Examples that the model computes at a '
    'time.'
  )  # fmt: skip


def asking_flags(config: type[Any], letters: str, layer: str) -> None:
  """Defines the flags of one layer of a model that is asked questions, which
  `asking_config` reads; those of the model are among them.

  Args:
    config: with their defaults.
    letters: what is said of --letters.
    layer: what is said of --layer.
  """
  program.required('layer', layer)
  model_flags(config)
  flags.DEFINE_string(
    'prompt', config.prompt, 'How a row reads before its answer: {image}, '
    r'{question}; \n is a new line.'
  )  # fmt: skip
  flags.DEFINE_list('letters', list(config.letters), letters)


def asking_config(config: type[T], **given: Any) -> T:
  """The flags of `asking_flags`, and any others, as a config."""
  try:
    layer = int(FLAGS.layer)
  except ValueError:
    raise errors.UserError(
      f'--layer={FLAGS.layer}: expected a whole number.'
    ) from None
  return program.config_from_flags(
    config, layer=layer, prompt=prompt(), **given
  )
