"""Checks a store: files, shapes, checksums, splits.

Prints every problem and ends with status 2 if there is one.

  ./launch.sh validate_store --store=runs/store
"""

import sys

from absl import flags

from saejax import program
from saejax import store

STORE = program.required('store', 'Folder of the store.')
CHECKSUMS = flags.DEFINE_bool('checksums', True, 'Also read every byte.')


def main() -> None:
  problems = list(store.validate(STORE.value, CHECKSUMS.value))
  for problem in problems:
    print(problem, file=sys.stderr)
  if problems:
    sys.exit(2)
  print(f'{STORE.value} is sound (hash {store.Store(STORE.value).hash}).')


if __name__ == '__main__':
  program.run(main)
