"""The order of training: seekable, complete, in the shares asked for."""

import time
from unittest import mock

from absl.testing import absltest
import hypothesis
from hypothesis import strategies as st
import numpy as np

from saejax.data import batches


class PermuteTest(absltest.TestCase):
  @hypothesis.given(
    n=st.integers(1, 3000), seed=st.integers(0, 9), epoch=st.integers(0, 5)
  )
  def test_is_a_permutation(self, n, seed, epoch):
    out = batches.permute(np.arange(n), n, seed=seed, epoch=epoch)
    np.testing.assert_array_equal(np.sort(out), np.arange(n))

  def test_any_part_can_be_asked_alone(self):
    whole = batches.permute(np.arange(1000), 1000, seed=3)
    part = batches.permute(np.array([7, 999, 0]), 1000, seed=3)
    np.testing.assert_array_equal(part, whole[[7, 999, 0]])

  def test_an_order_that_is_kept_is_the_same(self):
    at = np.array([7, 999, 0])
    given = {'seed': 3, 'epoch': 2}
    expected = batches.permute(at, 1000, **given)
    for kept in (0, 1000):
      with mock.patch.object(batches, '_KEPT', kept):
        np.testing.assert_array_equal(
          batches.shuffled(at, 1000, **given), expected
        )

  def test_shuffles(self):
    n = 20_000
    first = batches.permute(np.arange(n), n, seed=0)
    # Neither near its place, nor alike over seeds and epochs.
    self.assertLess(abs(np.corrcoef(first, np.arange(n))[0, 1]), 0.03)
    for other in (dict(seed=1), dict(seed=0, epoch=1)):
      second = batches.permute(np.arange(n), n, **other)
      self.assertLess(abs(np.corrcoef(first, second)[0, 1]), 0.03)
    # Neighbours are spread: the steps between them look like random ones.
    steps = abs(np.diff(first))
    np.testing.assert_allclose(steps.mean(), n / 3, rtol=0.03)


class Rows:
  """A stand-in for a stream: row i is [i]."""

  d = 1

  def __init__(self, offset):
    self.offset = offset

  def take(self, rows_n, out):
    out[:] = (self.offset + rows_n)[:, None]


def mixture(shares=(1.0, 3.0), batch=8, seed=0):
  return batches.Mixture(
    streams=(Rows(0), Rows(1000)),
    rows=(np.arange(0, 20, 2), np.arange(30)),
    batch=batch,
    shares=shares,
    seed=seed,
  )


class MixtureTest(absltest.TestCase):
  def test_every_row_comes_once_an_epoch(self):
    m = mixture()
    self.assertEqual(m.counts, [2, 6])
    for stream, steps, rows in ((0, 5, m.rows[0]), (1, 5, m.rows[1])):
      for epoch in range(3):
        seen = np.concatenate(
          [
            rows_B[which_B == stream]
            for which_B, rows_B in map(
              m.rows_of, range(epoch * steps, (epoch + 1) * steps)
            )
          ]
        )
        np.testing.assert_array_equal(np.sort(seen), rows)

  def test_a_step_is_a_function_of_the_seed(self):
    for step in (0, 3, 10**6):
      a, b = mixture().rows_of(step), mixture().rows_of(step)
      np.testing.assert_array_equal(a, b)
      other = mixture(seed=1).rows_of(step)
      self.assertFalse(np.array_equal(a[1], other[1]))

  def test_take_reads_from_the_right_stream(self):
    which_B, rows_B = mixture().rows_of(0)
    x_BD = mixture().take(which_B, rows_B)
    np.testing.assert_array_equal(x_BD[:, 0], rows_B + 1000 * which_B)

  @hypothesis.given(
    batch=st.integers(1, 300),
    shares=st.lists(st.floats(0.01, 100), min_size=1, max_size=5),
  )
  def test_shares_are_rounded_to_the_batch(self, batch, shares):
    rows = batches.apportion(batch, shares)
    self.assertEqual(sum(rows), batch)
    exact = batch * np.array(shares) / sum(shares)
    self.assertTrue((abs(np.array(rows) - exact) < 1).all())


class PrefetchTest(absltest.TestCase):
  def test_keeps_order_and_length(self):
    for steps in (range(0), range(3, 4), range(10, 17)):
      made = list(batches.prefetch(lambda s: s * s, steps))
      self.assertEqual(made, [s * s for s in steps])

  def test_threads_keep_the_order(self):
    def make(step):
      time.sleep(0.002 * (step % 3))  # Later ones may be done first.
      return step

    made = list(batches.prefetch(make, range(20), depth=4, threads=4))
    self.assertEqual(made, list(range(20)))

  def test_errors_surface(self):
    def make(step):
      if step == 2:
        raise OSError('gone')
      return step

    with self.assertRaisesRegex(OSError, 'gone'):
      list(batches.prefetch(make, range(5)))


if __name__ == '__main__':
  absltest.main()
