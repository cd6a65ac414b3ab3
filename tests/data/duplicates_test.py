"""Near-duplicates: copies of a picture merge, other pictures do not."""

import itertools

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies as st
import numpy as np
from PIL import Image

from saejax.data import duplicates
from saejax.data import records
from tests.data import pictures


def copies(picture: Image.Image) -> list[Image.Image]:
  """A picture as it comes back from the web: re-encoded, smaller, grayed."""
  half = picture.resize((picture.width // 2, picture.height // 2))
  wide = picture.resize((picture.width * 3, picture.height * 3))
  return [
    records.decode(data)
    for data in (
      pictures.encode(picture, 'PNG'),
      pictures.encode(picture, 'JPEG', quality=50),
      pictures.encode(half, 'JPEG', quality=60),
      pictures.encode(wide, 'WEBP', quality=60),
      pictures.encode(picture.convert('L'), 'JPEG', quality=80),
    )
  ]


class HashTest(absltest.TestCase):
  def test_bits_are_where_brightness_rises(self):
    rising = np.tile(np.arange(0, 180, 2, dtype=np.uint8), (80, 1))
    self.assertEqual(
      duplicates.dhash(Image.fromarray(rising)), np.uint64(2**64 - 1)
    )
    self.assertEqual(duplicates.dhash(Image.fromarray(rising[:, ::-1])), 0)
    # Only the first row of cells rises, and only into the last column.
    one = np.zeros((80, 90), np.uint8)
    one[:10, 80:] = 200
    self.assertEqual(duplicates.dhash(Image.fromarray(one)), np.uint64(2**56))

  def test_flat_pictures_hash_alike_whatever_their_noise(self):
    rng = np.random.default_rng(0)
    noisy = 128 + rng.integers(-4, 5, (180, 180))
    self.assertEqual(duplicates.dhash(Image.fromarray(noisy.astype('u1'))), 0)

  def test_copies_are_near_and_others_far(self):
    for seed in range(16, 22):
      first, *others = map(
        duplicates.dhash, copies(pictures.picture(seed, (240, 160)))
      )
      for other in others:
        self.assertLessEqual(np.bitwise_count(first ^ other), 3)
    hashes = [duplicates.dhash(pictures.picture(s)) for s in range(60)]
    apart = [
      np.bitwise_count(a ^ b) for a, b in itertools.combinations(hashes, 2)
    ]
    self.assertGreater(min(apart), 8)


def by_all_pairs(hash_N, group_N, distance) -> np.ndarray:
  """What merge_groups should give, from every pair and one at a time."""
  merged = list(group_N)
  changed = True
  while changed:
    changed = False
    for i, j in itertools.combinations(range(len(merged)), 2):
      near = np.bitwise_count(hash_N[i] ^ hash_N[j]) <= distance
      if (near or group_N[i] == group_N[j]) and merged[i] != merged[j]:
        merged[i] = merged[j] = min(merged[i], merged[j])
        changed = True
  return np.array(merged)


class MergeTest(parameterized.TestCase):
  def test_planted_copies_merge_and_others_stay(self):
    hashes, groups, truth = [], [], []
    for seed in range(16):
      for copy in copies(pictures.picture(seed, (240, 160))):
        hashes.append(duplicates.dhash(copy))
        groups.append(len(groups) + 100)
        truth.append(100 + 5 * seed)  # The first copy's.
    # Shuffled: nothing may hang on copies lying together.
    order = np.random.default_rng(0).permutation(len(groups))
    found = duplicates.merge_groups(
      np.array(hashes)[order], np.array(groups)[order]
    )
    np.testing.assert_array_equal(found, np.array(truth)[order])

  @hypothesis.settings(max_examples=40, deadline=None)
  @hypothesis.given(st.data())
  def test_is_what_all_pairs_give(self, data):
    distance = data.draw(st.integers(0, 16))
    centres = data.draw(
      st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4)
    )
    hashes, groups = [], []
    for _ in range(data.draw(st.integers(1, 16))):
      hash_ = data.draw(st.sampled_from(centres))
      flips = st.lists(st.integers(0, 63), max_size=distance + 2, unique=True)
      for bit in data.draw(flips):
        hash_ ^= 1 << bit
      hashes.append(hash_)
      groups.append(data.draw(st.integers(-3, 8)))
    hash_N, group_N = np.array(hashes, np.uint64), np.array(groups)
    np.testing.assert_array_equal(
      duplicates.merge_groups(hash_N, group_N, distance),
      by_all_pairs(hash_N, group_N, distance),
    )

  @parameterized.parameters(0, 1, 2, 3, 4, 6, 8)
  def test_no_pair_is_missed_and_none_is_made_up(self, distance):
    rng = np.random.default_rng(distance)
    base_N = rng.integers(0, 2**63, 400).astype(np.uint64) * np.uint64(2)
    for flips in (distance, distance + 1):
      copy_N = base_N.copy()
      for n in range(len(copy_N)):
        for bit in rng.choice(64, flips, replace=False):
          copy_N[n] ^= np.uint64(1) << np.uint64(bit)
      found = duplicates.merge_groups(
        np.concatenate([base_N, copy_N]), np.arange(800), distance
      )
      expected = np.arange(400) + (0 if flips == distance else 400)
      np.testing.assert_array_equal(found[:400], np.arange(400))
      np.testing.assert_array_equal(found[400:], expected)

  def test_chains_merge_whole(self):
    # Each is one bit from the next, and the ends are far apart.
    hash_N = np.array([(1 << n) - 1 for n in range(40)], np.uint64)
    group_N = np.random.default_rng(0).permutation(40) + 7
    found = duplicates.merge_groups(hash_N, group_N, 1)
    np.testing.assert_array_equal(found, np.full(40, 7))

  def test_many_hashes_of_one_key(self):
    # The worst case of a band: all agree on most bits.
    hash_N = np.arange(3000, dtype=np.uint64) << np.uint64(20)
    found = duplicates.merge_groups(hash_N, np.arange(3000), 1)
    np.testing.assert_array_equal(found, np.zeros(3000))

  def test_a_group_of_several_images_stays_one(self):
    hash_N = np.array([0, 2**40 - 1, 5, 2**40 - 1], np.uint64)
    found = duplicates.merge_groups(hash_N, np.array([9, 9, 4, 6]), 0)
    np.testing.assert_array_equal(found, [6, 6, 4, 6])

  def test_nothing(self):
    found = duplicates.merge_groups(np.array([], np.uint64), np.array([], int))
    self.assertEqual(found.shape, (0,))

  @parameterized.parameters(
    (np.zeros(3), np.zeros(2), 1, 'one hash and one group'),
    (np.zeros(3), np.zeros(3), -1, 'outside 0…16'),
    (np.zeros(3), np.zeros(3), 17, 'outside 0…16'),
  )
  def test_mistakes(self, hash_N, group_N, distance, message):
    with self.assertRaisesRegex(ValueError, message):
      duplicates.merge_groups(hash_N, group_N, distance)


if __name__ == '__main__':
  absltest.main()
