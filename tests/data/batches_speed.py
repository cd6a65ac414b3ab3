"""How fast one thread makes batches, from a store as large as is asked for.

python -m tests.data.batches_speed --rows=400000 --dtype=float16
"""

from collections.abc import Sequence
import tempfile
import time

from absl import app
from absl import flags
import numpy as np

from saejax import store
from saejax.data import batches

_PER_SHARD, _ROUNDS = 16384, 3


def write(path: str, n: int, d: int, dtype: str) -> store.Stream:
  spec = store.StreamSpec(d=d, dtype=dtype, columns=())
  writer = store.StoreWriter(path, {'image': spec}, {})
  rng = np.random.default_rng(0)
  for i, start in enumerate(range(0, n, _PER_SHARD)):
    rows = min(_PER_SHARD, n - start)
    writer.write('image', i, rng.standard_normal((rows, d), np.float32), {})
  writer.finish()
  return store.Store(path)['image']


def seconds_a_batch(mixture: batches.Mixture, steps: int) -> float:
  """Of the processor, so that what else runs there does not count."""
  start = time.thread_time()
  for step in range(steps):
    mixture.take(*mixture.rows_of(step))
  return (time.thread_time() - start) / steps


def main(_: Sequence[str]) -> None:
  n, d, dtype = (flags.FLAGS[f].value for f in ('rows', 'd', 'dtype'))
  with tempfile.TemporaryDirectory() as folder:
    stream = write(f'{folder}/store', n, d, dtype)
    for batch in (1024, 8192):
      mixture = batches.Mixture(
        streams=(stream,), rows=(stream.rows('train'),), batch=batch,
        shares=(1.0,), seed=0,
      )  # fmt: skip
      best = min(seconds_a_batch(mixture, 20) for _ in range(_ROUNDS))
      print(f'{dtype} [{n}, {d}], B {batch}: {batch / best:,.0f} rows/s')


if __name__ == '__main__':
  flags.DEFINE_integer('rows', 400_000, 'Rows of the store.')
  flags.DEFINE_integer('d', 768, 'Width.')
  flags.DEFINE_enum('dtype', 'float32', list(store.DTYPES), 'Of the store.')
  app.run(main)
