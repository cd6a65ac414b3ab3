"""Matched rows: complete, seekable, of one split, and never of two pairs."""

import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies as st
import numpy as np

from saejax import errors
from saejax import store
from saejax.data import pairs as pairs_lib
from tests import planted

IMAGES, CAPTIONS, D = 40, 3, 5
FEW = hypothesis.settings(deadline=None, max_examples=20)


def write(path: str, text_pair_N: np.ndarray) -> store.Store:
  """Images with several texts; x is (pair, row, …) so that rows are known."""
  writer = store.StoreWriter(
    path,
    {n: store.StreamSpec(d=D, modality=n) for n in ('image', 'text')},
    {'dataset': {'name': 'pairs'}},
  )
  for name, pair_N in (('image', np.arange(IMAGES)), ('text', text_pair_N)):
    x_ND = np.random.default_rng(len(pair_N)).normal(size=(len(pair_N), D))
    x_ND[:, 0], x_ND[:, 1] = pair_N, np.arange(len(pair_N))
    columns = {
      'pair': pair_N,
      'group': pair_N,
      'split': store.assign_splits(pair_N, (0.6, 0.2, 0.2)),
    }
    words = [{}] * len(pair_N)
    writer.write(name, 0, x_ND.astype(np.float32), columns, words)
  writer.finish()
  return store.Store(path)


class PairsTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    rng = np.random.default_rng(1)
    # Images 0…4 have no text; texts of 100… have no image.
    described = np.repeat(np.arange(5, IMAGES), CAPTIONS)
    text_pair_N = rng.permutation(np.append(described, np.arange(100, 110)))
    folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.store = write(f'{folder}/pairs-store', text_pair_N)
    cls.streams = cls.store['image'], cls.store['text']
    cls.pairs = pairs_lib.match(cls.streams, 'train')

  def mixture(self, batch=8, seed=0, **more):
    return pairs_lib.PairedMixture(
      streams=self.streams, pairs=self.pairs, batch=batch, seed=seed, **more
    )

  def side_by_side(self, dropout=0.0, modality_of=(0, 1)):
    rng = np.random.default_rng(2)
    return pairs_lib.SideBySide(
      streams=self.streams, pairs=self.pairs, batch=8, seed=0, dropout=dropout,
      modality_of=modality_of, center_MD=rng.normal(size=(2, D)),
      scale_M=rng.uniform(0.5, 2, size=2),
    )  # fmt: skip

  def pair_of(self, rows_GM):
    return np.stack(
      [s.column('pair')[rows_GM[:, i]] for i, s in enumerate(self.streams)]
    )

  @FEW
  @hypothesis.given(
    batch=st.integers(1, 50), seed=st.integers(0, 99), epoch=st.integers(0, 3)
  )
  def test_every_pair_comes_once_an_epoch_from_train_alone(
    self, batch, seed, epoch
  ):
    m = self.mixture(batch, seed)
    n = len(self.pairs.pair_G)
    first, last = epoch * n // batch, -(-(epoch + 1) * n // batch)
    rows = np.concatenate([m.rows_of(s)[0] for s in range(first, last)])
    rows = rows[epoch * n - first * batch :][:n]
    image_G, text_G = self.pair_of(rows)
    np.testing.assert_array_equal(image_G, text_G)
    np.testing.assert_array_equal(np.sort(image_G), self.pairs.pair_G)
    for i, stream in enumerate(self.streams):
      self.assertTrue(np.isin(rows[:, i], stream.rows('train')).all())

  def test_rows_without_a_partner_are_left_out_and_counted(self):
    image, text = (s.column('pair')[s.rows('train')] for s in self.streams)
    whole = np.intersect1d(image, text)
    np.testing.assert_array_equal(self.pairs.pair_G, whole)
    self.assertEqual(
      self.pairs.left_out,
      ((image < 5).sum(), (text >= 100).sum()),
    )
    self.assertGreater(min(self.pairs.left_out), 0)

  def test_a_step_is_a_function_of_the_seed_alone(self):
    for step in (0, 5, 10**6):
      a, b = self.mixture().rows_of(step), self.mixture().rows_of(step)
      np.testing.assert_array_equal(a[0], b[0])
      other, _ = self.mixture(seed=1).rows_of(step)
      self.assertFalse(np.array_equal(a[0], other))

  def test_all_captions_have_their_turn(self):
    n = len(self.pairs.pair_G)
    seen = np.concatenate(
      [self.pairs.choose(np.arange(n), 0, epoch)[:, 1] for epoch in range(40)]
    )
    rows, count = np.unique(seen, return_counts=True)
    self.assertLen(rows, CAPTIONS * n)
    self.assertGreater(count.min(), 40 / CAPTIONS / 4)
    first = self.pairs.choose(np.arange(n), 0, 0)[:, 1]
    alone = self.pairs.choose(np.array([3]), 0, 0)[0, 1]
    self.assertEqual(alone, first[3])

  @parameterized.parameters('train', 'val', 'test')
  def test_splits_share_no_row(self, split):
    pairs = pairs_lib.match(self.streams, split)
    for stream, rows_n in zip(self.streams, pairs.rows, strict=True):
      self.assertTrue(np.isin(rows_n, stream.rows(split)).all())

  def test_rows_of_a_pair_lie_side_by_side(self):
    parts = self.side_by_side().parts(3)
    self.assertEqual(set(parts), {'x_BD', 'modality_B'})
    (shape, read), everything = parts['x_BD'], slice(None)
    x_BD = read(everything)
    self.assertEqual(x_BD.shape, shape)
    np.testing.assert_array_equal(x_BD[::2, 0], x_BD[1::2, 0])
    np.testing.assert_array_equal(
      parts['modality_B'][1](everything), [0, 1] * 4
    )
    np.testing.assert_array_equal(read(slice(3, 6)), x_BD[3:6])

  def test_a_hidden_side_is_seen_through_the_other(self):
    m = self.side_by_side(dropout=0.7)
    everything = slice(None)
    hidden = []
    for step in range(30):
      parts = {n: p[1](everything) for n, p in m.parts(step).items()}
      whole = self.side_by_side().parts(step)['x_BD'][1](everything)
      x_BD, y_BD = parts['x_BD'], parts['y_BD']
      other_BD = whole.reshape(-1, 2, D)[:, ::-1].reshape(-1, D)
      is_B = (x_BD != whole).any(1)
      hidden.append(is_B.reshape(-1, 2).sum(1))
      np.testing.assert_array_equal(x_BD[is_B], other_BD[is_B])
      np.testing.assert_array_equal(y_BD[~is_B], whole[~is_B])
      seen_B, own_B = parts['modality_B'], np.tile([0, 1], 4)
      np.testing.assert_array_equal(seen_B, np.where(is_B, 1 - own_B, own_B))
      standard = lambda x, m_B, c=m: (
        (x - c.center_MD[m_B]) * c.scale_M[m_B, None]
      )
      np.testing.assert_allclose(
        standard(y_BD, seen_B), standard(whole, own_B), rtol=1e-4, atol=1e-4
      )
    self.assertEqual(np.max(hidden), 1)  # Never both sides of a pair.
    np.testing.assert_allclose(np.mean(hidden), 0.7, atol=0.1)

  def test_joined_rows_and_their_hidden_sides(self):
    center_D = np.arange(2 * D, dtype=np.float32)
    make = lambda dropout: pairs_lib.Joined(
      streams=self.streams, pairs=self.pairs, batch=40, seed=0, dropout=dropout,
      scales=(2.0, 3.0), center_D=center_D,
    )  # fmt: skip
    rows_GM, hidden_G = make(0.5).rows_of(2)
    self.assertEqual(set(hidden_G), {-1, 0, 1})
    parts = {n: p[1](slice(None)) for n, p in make(0.5).parts(2).items()}
    for i, (stream, scale) in enumerate(zip(self.streams, (2, 3), strict=True)):
      span = slice(i * D, (i + 1) * D)
      whole_GD = scale * stream.take(rows_GM[:, i])
      np.testing.assert_allclose(parts['y_BD'][:, span], whole_GD)
      gone_GD = np.where(hidden_G[:, None] == i, center_D[span], whole_GD)
      np.testing.assert_allclose(parts['x_BD'][:, span], gone_GD)
    self.assertEqual(set(make(0.0).parts(2)), {'x_BD', 'modality_B'})

  def test_mistakes_are_told(self):
    with self.assertRaisesRegex(errors.UserError, 'need two streams or more'):
      pairs_lib.match(self.streams[:1], 'train')
    folder = self.create_tempdir().full_path
    apart = write(f'{folder}/apart', np.arange(100, 140))
    with self.assertRaisesRegex(errors.UserError, 'no pair in train'):
      pairs_lib.match((apart['image'], apart['text']), 'train')
    data = planted.sample(10)
    path = planted.write_store(
      f'{folder}/all-train', data.image_ND, data.text_ND, (1.0, 0.0, 0.0)
    )
    found = store.Store(path)
    with self.assertRaisesRegex(errors.UserError, 'no pair in val'):
      pairs_lib.match((found['image'], found['text']), 'val')


if __name__ == '__main__':
  absltest.main()
