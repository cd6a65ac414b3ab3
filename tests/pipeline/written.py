"""When the files of a program were written: what is done is not done again."""

import os


def times(out: str, but: tuple[str, ...] = ()) -> dict[str, int]:
  """Path to time, in ns, of every file below a folder but of these names."""
  return {
    os.path.join(folder, name): os.stat(os.path.join(folder, name)).st_mtime_ns
    for folder, _, names in os.walk(out)
    for name in names
    if name not in but
  }
