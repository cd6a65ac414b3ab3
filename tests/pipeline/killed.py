"""Embeds a folder again and again, killed each time at another moment.

  python -m tests.pipeline.killed FOLDER OUT

A moment is a call that changes or flushes a file. Rows come from a projection
in place of a model, for speed; all else is as it is. Prints the number of
moments; stores OUT/whole and, for every moment tried, OUT/NUMBER follow.
"""

import os
import signal
import sys
from unittest import mock

import jax
import numpy as np

from saejax.pipeline import embedders
from saejax.pipeline import embedding
from saejax.pipeline import embedding_records

_CALLS = ('fsync', 'replace', 'remove')
_EVERY = 5


def tower(apply, params, mesh, batch, d, precision) -> embedders.Tower:
  del apply, params, mesh, precision

  def start(inputs):
    x_BP = np.asarray(inputs, np.float64).reshape(len(inputs), -1)
    rows_BD = np.stack([np.cos(x_BP * (i + 1)).sum(1) for i in range(d)], 1)
    return (rows_BD / np.linalg.norm(rows_BD, axis=1, keepdims=True)).astype(
      np.float32
    )

  return embedders.Tower(start, batch, d)


def run(folder: str, out: str, kill_at: int | None) -> int:
  """Embeds in a process of its own; the moments it had, -1 if killed."""
  reader, writer = os.pipe()
  if not os.fork():
    moments = 0

    def counted(call):
      def counting(*args, **kwargs):
        nonlocal moments
        if moments == kill_at:
          os.kill(os.getpid(), signal.SIGKILL)
        moments += 1
        return call(*args, **kwargs)

      return counting

    for name in _CALLS:
      mock.patch.object(os, name, counted(getattr(os, name))).start()
    mock.patch.object(embedders, '_tower', tower).start()
    mock.patch.object(embedding_records, 'PER_SHARD', 12).start()
    config = embedding.EmbedConfig(
      model='clip-scenes', dataset=f'folder:path={folder}', batch=8, workers=2
    )
    embedding.embed(config, out)
    os.write(writer, b'%d' % moments)
    os._exit(0)
  os.close(writer)
  _, status = os.wait()
  said = os.read(reader, 100)
  os.close(reader)
  if os.WIFSIGNALED(status):
    return -1
  assert os.WEXITSTATUS(status) == 0, out
  return int(said)


def main(folder: str, out: str, every: str = str(_EVERY)) -> None:
  jax.config.update('jax_platforms', 'cpu')
  moments = run(folder, os.path.join(out, 'whole'), None)
  last = range(moments - 3, moments)  # Between the manifest and the end.
  for moment in sorted({*range(0, moments, int(every)), *last}):
    path = os.path.join(out, str(moment))
    assert run(folder, path, moment) == -1
    run(folder, path, None)
  print(moments)


if __name__ == '__main__':
  main(*sys.argv[1:])
