"""The windowed order: each row once an epoch, from few shards at a time."""

from absl.testing import absltest
import hypothesis
from hypothesis import strategies as st
import numpy as np

from saejax.data import windows


class Rows:
  """A stand-in for a stream: row i is [i]."""

  d = 1

  def __init__(self, offset):
    self.offset = offset

  def take(self, rows_n, out=None):
    out = np.empty((len(rows_n), 1), np.float32) if out is None else out
    out[:] = (self.offset + rows_n)[:, None]
    return out


def mixture(
  examples=100, per_shard=4, window=3, batch=32, seed=0, most=9, streams=2
):
  rng = np.random.default_rng(examples + 7 * per_shard)
  layout = windows.Layout(
    count_GM=rng.integers(0, most + 1, (examples, streams)),
    split_G=rng.choice(3, examples, p=(0.8, 0.1, 0.1)),
    per_shard=per_shard,
  )
  layout.split_G[0], layout.count_GM[0] = 0, 1  # There is a row.
  return windows.WindowedMixture(
    streams=tuple(Rows(10_000 * m) for m in range(streams)),
    layout=layout,
    window=window,
    batch=batch,
    seed=seed,
    held=(),
  )


def every_row(m) -> list[tuple[int, int]]:
  """(stream, row) of all rows of train, by a loop."""
  found, next_row = [], [0] * len(m.streams)
  for count_M, split in zip(m.layout.count_GM, m.layout.split_G, strict=True):
    for stream, n in enumerate(count_M.tolist()):
      if split == 0:
        found += [(stream, next_row[stream] + i) for i in range(n)]
      next_row[stream] += n
  return sorted(found)


def ordered(m, epochs: int) -> list[tuple[int, int]]:
  """(stream, row) of so many epochs as training would see them."""
  steps = -(-epochs * m.total // m.batch)
  seen = [m.rows_of(step) for step in range(steps)]
  which, rows = (np.concatenate(part) for part in zip(*seen, strict=True))
  both = zip(which.tolist(), rows.tolist(), strict=True)
  return list(both)[: epochs * m.total]


def example_of(m, which_n, rows_n) -> np.ndarray:
  return np.array(
    [
      np.searchsorted(m.layout.start_GM[:, stream], row, side='right') - 1
      for stream, row in zip(which_n, rows_n, strict=True)
    ]
  )


class WindowsTest(absltest.TestCase):
  @hypothesis.settings(deadline=None, max_examples=25)
  @hypothesis.given(
    examples=st.integers(1, 60),
    per_shard=st.integers(1, 9),
    window=st.integers(1, 5),
    batch=st.integers(1, 70),
    streams=st.integers(1, 3),
  )
  def test_every_row_comes_once_an_epoch(
    self, examples, per_shard, window, batch, streams
  ):
    m = mixture(examples, per_shard, window, batch, streams=streams)
    expected = every_row(m)
    self.assertLen(expected, m.total)
    seen = ordered(m, 3)
    for epoch in range(3):
      part = seen[epoch * m.total : (epoch + 1) * m.total]
      self.assertEqual(sorted(part), expected)

  def test_a_step_is_a_function_of_the_seed(self):
    for step in (0, 3, 10**6):
      a, b = mixture().rows_of(step), mixture().rows_of(step)
      np.testing.assert_array_equal(a, b)
      other = mixture(seed=1).rows_of(step)
      self.assertFalse(np.array_equal(a, other))

  def test_epochs_cut_other_windows(self):
    m = mixture()
    first, second = (m.shards_of(epoch, 0).tolist() for epoch in (0, 1))
    self.assertLen(first, 3)
    self.assertNotEqual(sorted(first), sorted(second))
    every = [m.shards_of(1, w) for w in range(m.windows)]
    self.assertEqual(sorted(np.concatenate(every).tolist()), list(range(25)))

  def test_a_window_asks_for_its_shards_alone(self):
    m = mixture(examples=480, batch=16)
    at, end = 0, np.cumsum(
      [
        m.layout.of_shard_SM[m.shards_of(0, w)].sum() for w in range(m.windows)
      ]
    )  # fmt: skip
    for step in range(m.total // m.batch):
      inside = np.searchsorted(end, [at, at + m.batch - 1], side='right')
      which_B, rows_B = m.rows_of(step)
      shards = set((example_of(m, which_B, rows_B) // 4).tolist())
      first, last = inside.tolist()
      self.assertLessEqual(last - first, 1)
      asked = [m.shards_of(0, w) for w in range(first, last + 1)]
      self.assertContainsSubset(shards, set(np.concatenate(asked).tolist()))
      at += m.batch

  def test_rows_of_a_window_mix(self):
    # 64 examples a shard, 8 shards a window: 512 examples, of 20 rows or so.
    m = mixture(5120, 64, 8, 256, most=20)
    seen, spread, near = [], [], []
    for step in range(30):
      which_B, rows_B = m.rows_of(step)
      at_B = example_of(m, which_B, rows_B)
      seen.append(len(np.unique(at_B)))
      spread.append(np.mean(which_B))
      near.append(np.mean(at_B[1:] == at_B[:-1]))
    examples = 512 * np.mean(m.layout.split_G == 0)
    # As many examples in a batch as were its rows drawn from the window by
    # chance, but that an example's rows differ in number.
    chance = examples * (1 - (1 - 1 / examples) ** 256)
    self.assertAlmostEqual(np.mean(seen) / chance, 1, delta=0.06)
    share = m.layout.totals_M[1] / m.total
    self.assertAlmostEqual(np.mean(spread), share, delta=0.02)
    # Neighbours are of one example no more than by chance (size-weighted).
    self.assertLess(np.mean(near), 2.5 / examples)

  def test_rows_are_found_and_read(self):
    m = mixture()
    for stream in range(2):
      rows_n = np.array([row for s, row in every_row(m) if s == stream])
      shard_n, place_n = m.layout.find(rows_n, stream)
      for shard in np.unique(shard_n):
        places = place_n[shard_n == shard]
        expected = np.arange(m.layout.of_shard_SM[shard, stream])
        np.testing.assert_array_equal(places, expected)
      at_n = example_of(m, [stream] * len(rows_n), rows_n)
      np.testing.assert_array_equal(shard_n, at_n // 4)
    which_B, rows_B = m.rows_of(5)
    x_BD = m.take(which_B, rows_B)
    np.testing.assert_array_equal(x_BD[:, 0], rows_B + 10_000 * which_B)

  def test_a_row_of_another_split_is_refused(self):
    m = mixture()
    held = int(
      np.flatnonzero((m.layout.split_G > 0) & m.layout.count_GM[:, 0])[0]
    )
    row = m.layout.start_GM[held, :1]
    with self.assertRaisesRegex(IndexError, f'Row {row[0]} is not in train'):
      m.layout.find(row, 0)
    with self.assertRaises(IndexError):
      m.layout.find(np.array([m.layout.count_GM[:, 0].sum()]), 0)


if __name__ == '__main__':
  absltest.main()
