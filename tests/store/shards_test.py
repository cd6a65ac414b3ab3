"""Shard arithmetic, for any sizes."""

import itertools

from absl.testing import absltest
import hypothesis
from hypothesis import strategies as st
import numpy as np

from saejax.store import shards

SIZES = st.lists(st.integers(0, 9), min_size=1, max_size=8)


class ShardsTest(absltest.TestCase):
  @hypothesis.given(n=st.integers(0, 500), per_shard=st.integers(1, 60))
  def test_bounds_cover_every_item_once(self, n, per_shard):
    bounds = shards.shard_bounds(n, per_shard)
    items = [i for start, stop in bounds for i in range(start, stop)]
    self.assertEqual(items, list(range(n)))
    self.assertTrue(all(b - a == per_shard for a, b in bounds[:-1]))
    self.assertTrue(all(0 < b - a <= per_shard for a, b in bounds))

  @hypothesis.given(sizes=SIZES, data=st.data())
  def test_gather_equals_indexing_the_whole(self, sizes, data):
    starts = shards.row_starts(sizes)
    whole = np.arange(starts[-1]) * 10
    parts = [whole[a:b] for a, b in itertools.pairwise(starts)]
    picks = st.integers(0, max(len(whole) - 1, 0))
    rows = np.array(
      data.draw(st.lists(picks, max_size=30)) if len(whole) else [], np.int64
    )
    out = np.full(len(rows), -1)
    seen = []
    for shard, places, local in shards.group_by_shard(rows, starts):
      self.assertTrue((np.diff(local) >= 0).all())
      out[places] = parts[shard][local]
      seen.append(shard)
    np.testing.assert_array_equal(out, whole[rows])
    self.assertEqual(seen, sorted(set(seen)))

  @hypothesis.given(sizes=SIZES, beyond=st.integers(0, 5))
  def test_rows_outside_are_refused(self, sizes, beyond):
    starts = shards.row_starts(sizes)
    for row in (int(starts[-1]) + beyond, -1 - beyond):
      with self.assertRaisesRegex(IndexError, f'Row {row} is outside'):
        list(shards.group_by_shard(np.array([row]), starts))

  def test_nonsense_sizes_are_refused(self):
    for n, per_shard in ((-1, 3), (4, 0)):
      with self.assertRaises(ValueError):
        shards.shard_bounds(n, per_shard)


if __name__ == '__main__':
  absltest.main()
