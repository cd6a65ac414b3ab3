"""The structureless twin of a store: same rows about, drawn vectors."""

import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saejax import store
from saejax.pipeline import twin
from tests import planted

IMAGES, PER_IMAGE = 3000, 2


class TwinTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    data = planted.sample(IMAGES)
    labels = data.shown_NF, data.mentioned_NF
    cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.path = planted.write_store(
      os.path.join(cls.folder, 'store'),
      data.image_ND,
      data.text_ND,
      labels=labels,
    )
    cls.out = os.path.join(cls.folder, 'twin')
    twin.write_twin(store.Store(cls.path), cls.out)

  def both(self, name: str):
    found = store.Store(self.path)[name], store.Store(self.out)[name]
    return [s.take(s.rows('train')).astype(np.float64) for s in found]

  def test_is_a_sound_store_that_says_what_it_is(self):
    self.assertEqual(list(store.validate(self.out)), [])
    found = store.Store(self.out)
    self.assertEqual(found.streams, ('image', 'text'))
    self.assertEqual(
      found.about['dataset'],
      {'name': 'gaussian twin', 'of': store.Store(self.path).hash, 'seed': 0},
    )

  @parameterized.product(name=['image', 'text'], column=['group', 'split'])
  def test_rows_keep_group_split_and_pair_but_lose_labels(self, name, column):
    original, found = store.Store(self.path)[name], store.Store(self.out)[name]
    self.assertEqual(len(found), len(original))
    for name in (column, 'pair'):
      np.testing.assert_array_equal(found.column(name), original.column(name))
    self.assertNotEmpty(original.labels)
    self.assertEqual(found.labels, ())
    with self.assertRaisesRegex(store.StoreError, "no column 'labels'"):
      found.column('labels')

  @parameterized.parameters('image', 'text')
  def test_means_and_covariances_are_those_of_train(self, name):
    x_nD, drawn_nD = self.both(name)
    spread = np.sqrt(x_nD.var(0).max() / len(x_nD))
    np.testing.assert_allclose(drawn_nD.mean(0), x_nD.mean(0), atol=5 * spread)
    cov = lambda x: np.cov(x, rowvar=False)
    np.testing.assert_allclose(cov(drawn_nD), cov(x_nD), atol=0.02)

  def test_an_image_and_its_text_covary_as_in_the_store(self):
    pairs = [self.both(name) for name in ('image', 'text')]
    crosses = []
    for a_nD, b_nD in zip(*pairs, strict=True):
      a_nD, b_nD = a_nD - a_nD.mean(0), b_nD - b_nD.mean(0)
      crosses.append(a_nD.T @ b_nD / len(a_nD))
    self.assertGreater(abs(crosses[0]).max(), 0.03)
    np.testing.assert_allclose(crosses[1], crosses[0], atol=0.015)

  def test_nothing_but_moments_is_left(self):
    # Planted factors are on or off, so that images have heavy-tailed
    # projections on their directions; those of a Gaussian have not.
    excess = lambda p: ((p - p.mean()) ** 4).mean() / p.var() ** 2 - 3
    atoms_SD = planted.sample(1).atoms_SD[: planted.FACTORS]
    x_nD, drawn_nD = self.both('image')
    self.assertGreater(min(excess(x_nD @ a_D) for a_D in atoms_SD), 1)
    worst = max(abs(excess(drawn_nD @ a_D)) for a_D in atoms_SD)
    self.assertLess(worst, 0.6)

  def test_one_that_is_there_is_kept(self):
    manifest = os.path.join(self.out, store.MANIFEST)
    before = os.stat(manifest).st_mtime_ns
    twin.write_twin(store.Store(self.path), self.out, seed=1)
    self.assertEqual(os.stat(manifest).st_mtime_ns, before)

  def test_is_a_function_of_its_seed(self):
    hashes = []
    for i, seed in enumerate((0, 0, 1)):
      out = os.path.join(self.folder, f'again{i}')
      twin.write_twin(store.Store(self.path), out, seed)
      hashes.append(store.Store(out).hash)
    self.assertEqual(hashes[0], hashes[1])
    self.assertEqual(hashes[0], store.Store(self.out).hash)
    self.assertNotEqual(hashes[0], hashes[2])


class SeveralTextsTest(absltest.TestCase):
  def test_texts_in_any_order_belong_to_their_images(self):
    rng = np.random.default_rng(0)
    n, d = 2000, 4
    image_ID = rng.normal(size=(n, d)).astype(np.float32)
    # Three texts of an image, in any order; the last image has none.
    pair_N = rng.permutation(np.repeat(np.arange(n - 1), 3))
    text_ND = image_ID[pair_N] + 0.1 * rng.normal(size=(len(pair_N), d))
    out = self.create_tempdir().full_path
    path, twin_path = (os.path.join(out, name) for name in ('store', 'twin'))
    spec = {m: store.StreamSpec(d=d, modality=m) for m in ('image', 'text')}
    writer = store.StoreWriter(path, spec, {'dataset': {'name': 'x'}})
    for name, x_ND, group_N in (
      ('image', image_ID, np.arange(n)), ('text', text_ND, pair_N)
    ):  # fmt: skip
      columns = {'group': group_N, 'pair': group_N}
      columns['split'] = store.assign_splits(group_N)
      writer.write(name, 0, x_ND, columns)
    writer.finish()
    twin.write_twin(store.Store(path), twin_path)
    found = store.Store(twin_path)
    np.testing.assert_array_equal(found['text'].column('pair'), pair_N)
    image_ID = found['image'].take(np.arange(n))
    text_ND = found['text'].take(np.arange(len(pair_N)))
    # A text lies a tenth from its own image, and far from another's.
    apart = lambda rows: np.linalg.norm(text_ND - image_ID[rows], axis=1).mean()
    self.assertLess(apart(pair_N), 0.25)
    self.assertGreater(apart(np.roll(pair_N, 1)), 2)


if __name__ == '__main__':
  absltest.main()
