"""Folders that TensorFlow Datasets prepared: found, made, opened."""

from collections.abc import Iterator
import os
import re

from saejax import errors

INFO = 'dataset_info.json'


def tfds():
  """The library, imported late: it is slow, and other readers need it not."""
  import tensorflow_datasets

  return tensorflow_datasets


def _is_prepared(folder: str) -> bool:
  return os.path.isfile(os.path.join(folder, INFO))


def _number(version: str) -> tuple[int, ...] | None:
  parts = version.split('.')
  if not all(p.isdecimal() for p in parts):
    return None
  return tuple(map(int, parts))


def find(name: str, data_dir: str | None) -> str | None:
  """The prepared folder of a name or path, the newest, or None.

  Args:
    name: a folder, or `dataset[/config][:version]` below `data_dir`.
    data_dir: TFDS's default if None.
  """
  base = data_dir or os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets'
  dataset, _, version = name.partition(':')
  named = os.path.join(os.path.expanduser(base), dataset)
  for folder in (os.path.expanduser(name), named):
    if _is_prepared(folder):
      return folder
    if os.path.isdir(folder):
      versions = [version] if version else filter(_number, os.listdir(folder))
      ready = [v for v in versions if _is_prepared(os.path.join(folder, v))]
      if ready:
        return os.path.join(folder, max(ready, key=_number))
  return None


def prepare(name: str, data_dir: str | None) -> str:
  """Downloads and prepares a data set that TFDS knows; gives its folder."""
  try:
    builder = tfds().builder(name, data_dir=data_dir)
    builder.download_and_prepare(file_format='array_record')
  except ImportError as e:
    # TFDS raises it anew, with the module in the text alone.
    module = re.search(r"No module named '([^']*)'", str(e))
    raise errors.UserError(
      f'TFDS cannot prepare {name} without '
      f'{module.group(1) if module else e}. Prepare it where '
      f'that is installed, by `tfds build {name} --file_format=array_record`, '
      'and give the folder that it makes as name=.'
    ) from None
  # Anything can go wrong in a builder's own code.
  except Exception as e:
    reason = str(e).strip().partition('\n')[0]
    raise errors.UserError(f'TFDS cannot prepare {name}: {reason}') from e
  return str(builder.data_path)


def open_builder(folder: str):
  """A builder without its class, from what lies in its folder."""
  try:
    return tfds().builder_from_directory(folder)
  # TFDS lets the errors of what it builds upon through.
  except Exception as e:
    raise errors.UserError(
      f'{folder} cannot be read as a prepared TFDS data set: {e}'
    ) from e


def open_source(builder, split: str, decoders):
  """Examples of a split, by number; errors.UserError if they need TensorFlow.

  Args:
    builder: of `open_builder`.
    split: such as `train` or `train[:50%]`.
    decoders: by feature, as TFDS takes them.
  """
  info = builder.info
  try:
    return builder.as_data_source(split=split, decoders=decoders)
  except NotImplementedError:
    raise errors.UserError(
      f'{info.full_name} is prepared as {info.file_format.value}, which cannot '
      'be read without TensorFlow. Where that is installed, prepare it anew by '
      f'`tfds build {info.name} --file_format=array_record`.'
    ) from None
  except Exception as e:
    reason = str(e).strip().partition('\n')[0]
    raise errors.UserError(
      f'{info.full_name}: split={split} cannot be read: {reason}'
    ) from e


def leaves(features, above: tuple[str, ...] = ()) -> Iterator[tuple]:
  """(path, feature) below a dictionary, or a sequence of dictionaries."""
  for name, feature in features.items():
    if hasattr(feature, 'items'):
      yield from leaves(feature, (*above, name))
    else:
      yield (*above, name), feature


def walk(example, path: tuple[str, ...]):
  """The value of a feature of `leaves` in an example."""
  for name in path:
    example = example[name]
  return example
