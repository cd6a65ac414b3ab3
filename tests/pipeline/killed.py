"""Embeds a folder again and again, killed each time at another moment.

  python -m tests.pipeline.killed FOLDER OUT

A moment is a call that changes or flushes a file. Rows come from a projection
in place of the towers, for speed; all else is as it is. Prints the number of
moments; stores OUT/whole and, for every moment tried, OUT/NUMBER follow.
"""

import json
import os
import signal
import sys
from unittest import mock

import jax
import transformers

from saejax import pretrained
from saejax.models import families
from saejax.models import folder
from saejax.models import preprocessing
from saejax.pipeline import embedders
from saejax.pipeline import embedding
from saejax.pipeline import embedding_records
from tests.pipeline import pictured

_CALLS = ('fsync', 'replace', 'remove')
_EVERY = 5


def model() -> folder.VLM:
  """The shipped model without its weights, so that nothing starts JAX."""
  path = pretrained.path('clip-scenes')
  with open(os.path.join(path, folder.CONFIG)) as f:
    module = families.build(json.load(f))
  return folder.VLM(
    module=module,
    params={},
    tokenizer=transformers.AutoTokenizer.from_pretrained(path),
    pixels=preprocessing.load(path, module),
    name='clip-scenes',
  )


def run(vlm: folder.VLM, root: str, out: str, kill_at: int | None) -> int:
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
    mock.patch.object(folder, 'load', lambda *_, **__: vlm).start()
    mock.patch.object(embedders, '_tower', pictured.tower).start()
    mock.patch.object(embedding_records, 'PER_SHARD', 12).start()
    config = embedding.EmbedConfig(
      model='clip-scenes', dataset=f'folder:path={root}', batch=8, workers=2
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


def main(root: str, out: str, every: str = str(_EVERY)) -> None:
  os.environ['TOKENIZERS_PARALLELISM'] = 'false'  # Or forks are warned of.
  jax.config.update('jax_platforms', 'cpu')
  vlm = model()
  moments = run(vlm, root, os.path.join(out, 'whole'), None)
  last = range(moments - 3, moments)  # Between the manifest and the end.
  for moment in sorted({*range(0, moments, int(every)), *last}):
    path = os.path.join(out, str(moment))
    assert run(vlm, root, path, moment) == -1
    run(vlm, root, path, None)
  print(moments)


if __name__ == '__main__':
  main(*sys.argv[1:])
