"""Tars read by offset: the files in them, and what a damaged one still has."""

from collections.abc import Iterator
import dataclasses
import os
import tarfile

from saejax import errors

_BLOCK = 512  # A block of zeros ends a tar.
_PACKED = {
  b'\x1f\x8b': 'gzip',
  b'BZ': 'bzip2',
  b'\xfd7': 'xz',
  b'(\xb5': 'zstd',
}


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
  """Where a file lies in its tar, which may end before it does."""

  start: int
  size: int


def members(path: str) -> Iterator[tuple[str, Span]]:
  """Files of a tar; ends with ValueError where the rest cannot be read."""
  try:
    with tarfile.open(path, 'r:') as tar:
      for member in tar:
        if member.isreg():
          yield member.name, Span(member.offset_data, member.size)
      end = tar.offset
  except (tarfile.TarError, OSError, ValueError) as e:
    raise ValueError(f'it is cut short or not a tar ({e})') from e
  with open(path, 'rb') as f:
    f.seek(end)
    block = f.read(_BLOCK)
  # The library stops at a header that it cannot read as if at the end.
  if len(block) < _BLOCK:
    raise ValueError(f'it is cut short at byte {os.path.getsize(path)}')
  if block.strip(b'\0'):
    raise ValueError(f'its header at byte {end} cannot be read')


def check_plain(path: str) -> None:
  """errors.UserError if the tar is compressed."""
  with open(path, 'rb') as f:
    packed = _PACKED.get(f.read(2))
  if packed:
    raise errors.UserError(
      f'{path} is compressed with {packed}, so that no sample can be read '
      'alone; unpack it to a plain .tar first.'
    )
