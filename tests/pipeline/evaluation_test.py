"""What `evaluate` reports, against the same by hand in NumPy."""

import dataclasses
import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saejax import errors
from saejax import io
from saejax import store
from saejax.pipeline import evaluation
from tests import saes

IMAGES, PER_IMAGE = 240, 2
SPLITS = (0.4, 0.2, 0.4)
WAYS = ('image_to_text', 'text_to_image')


@dataclasses.dataclass(frozen=True)
class Side:
  """One modality's rows, by hand."""

  x_ND: np.ndarray
  pair_N: np.ndarray
  split_N: np.ndarray
  z_NS: np.ndarray
  xhat_ND: np.ndarray

  def of(self, split: int) -> 'Side':
    rows = self.split_N == split
    return Side(
      *(getattr(self, f.name)[rows] for f in dataclasses.fields(self))
    )


def write_store(path: str, rows: dict[str, tuple[np.ndarray, np.ndarray]]):
  """Writes rows and their pairs, which are their groups too."""
  spec = {m: store.StreamSpec(d=saes.D, modality=m) for m in rows}
  writer = store.StoreWriter(path, spec, {'dataset': {'name': 'by hand'}})
  for name, (x_ND, pair_N) in rows.items():
    columns = {'group': pair_N, 'pair': pair_N}
    columns['split'] = store.assign_splits(pair_N, SPLITS)
    writer.write(name, 0, x_ND, columns)
  writer.finish()


def decode(variables, x_ND: np.ndarray, modality: int):
  """Codes and reconstructions of a BatchTopK by its equations."""
  p, c = ({k: np.asarray(v) for k, v in d.items()} for d in variables.values())
  center_D, scale = c['center'][modality], c['scale'][modality]
  pre_NS = (x_ND - center_D) * scale @ p['w_enc'].T + p['b_enc']
  z_NS = np.where(pre_NS > c['threshold'], pre_NS, 0) / scale
  return z_NS, z_NS @ p['w_dec'] + p['b_dec'] / scale + center_D


def unit(x_ND: np.ndarray) -> np.ndarray:
  return x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)


def recall(query_qD, candidate_cD, hit_qc, k: int) -> float:
  """Share of queries with a hit among the k nearest, one query at a time."""
  found = []
  for q, similarity_c in enumerate(unit(query_qD) @ unit(candidate_cD).T):
    nearest = np.argsort(-similarity_c)[:k]
    found.append(hit_qc[q, nearest].any())
  return float(np.mean(found))


class EvaluateTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    path = lambda name: os.path.join(folder, name)
    rng = np.random.default_rng(0)
    base_ND = rng.normal(size=(IMAGES, saes.D)) + 0.5
    pair_N = rng.permutation(np.repeat(np.arange(IMAGES), PER_IMAGE))
    noise_ND = rng.normal(size=(len(pair_N), saes.D))
    rows = {
      'image': (base_ND, np.arange(IMAGES)),
      'text': (base_ND[pair_N] + noise_ND - 0.8, pair_N),
    }
    sae, variables = saes.make('batch_topk', modalities=saes.MODALITIES)
    # Some concepts are dead, and would be counted as alive by their bias.
    b_enc_S = np.array(variables['params']['b_enc'])
    b_enc_S[::8] -= 100
    variables['params']['b_enc'] = b_enc_S
    # And one fires on a single row of train.
    fired_n = []
    for m, (x_ND, pair_N) in enumerate(rows.values()):
      train = store.assign_splits(pair_N, SPLITS) == 0
      c = variables['constants']
      u_nD = (x_ND[train] - c['center'][m]) * c['scale'][m]
      fired_n.append(u_nD @ variables['params']['w_enc'][1] + b_enc_S[1])
    two = np.sort(np.concatenate(fired_n))[-2:]
    b_enc_S[1] += variables['constants']['threshold'] - two.mean()
    cls.store, cls.sae = path('store'), path('sae')
    write_store(cls.store, rows)
    io.save(cls.sae, sae, variables)
    cls.side = {}
    for m, (name, (x_ND, pair_N)) in enumerate(rows.items()):
      x_ND = x_ND.astype(np.float32).astype(np.float64)
      split_N = store.assign_splits(pair_N, SPLITS)
      made = decode(variables, x_ND, m)
      cls.side[name] = Side(x_ND, pair_N, split_N, *made)
    cls.found = evaluation.evaluate(cls.sae, cls.store)

  def value(self, name: str) -> float:
    return self.found[name]['value']

  def sides(self, split: str = 'test'):
    code = store.SPLITS.index(split)
    return self.side['image'].of(code), self.side['text'].of(code)

  def check_r2(self, name, sides, baselines):
    error = sum(((s.x_ND - s.xhat_ND) ** 2).sum() for s in sides)
    spread = sum(
      ((s.x_ND - b) ** 2).sum() for s, b in zip(sides, baselines, strict=True)
    )
    np.testing.assert_allclose(
      self.value(name), 1 - error / spread, rtol=1e-5, err_msg=name
    )

  def test_the_three_r2_measure_from_means_of_train(self):
    image, text = self.sides()
    own = [s.x_ND.mean(0) for s in self.sides('train')]
    pooled = np.concatenate([s.x_ND for s in self.sides('train')]).mean(0)
    self.check_r2('r2', (image, text), own)
    self.check_r2('image/r2', (image,), own[:1])
    self.check_r2('text/r2', (text,), own[1:])
    self.check_r2('r2_pooled', (image, text), (pooled,) * 2)
    self.check_r2('r2_library', (image, text), (pooled.mean(),) * 2)

  def test_what_knowing_two_means_alone_would_score(self):
    sides = self.sides()
    means = [s.x_ND.mean(0) for s in self.sides('train')]
    pooled = np.concatenate([s.x_ND for s in self.sides('train')]).mean(0)
    total = lambda cs: sum(
      ((s.x_ND - c) ** 2).sum() for s, c in zip(sides, cs, strict=True)
    )
    for name, c in (('pooled', pooled), ('library', pooled.mean())):
      np.testing.assert_allclose(
        self.value(f'two_means/r2_{name}'),
        1 - total(means) / total((c, c)),
        rtol=1e-6,
      )

  def test_l0_is_the_mean_number_of_active_concepts(self):
    image, text = ((s.z_NS != 0).sum(1) for s in self.sides())
    for name, counts in (
      ('image/l0', image), ('text/l0', text), ('l0', np.r_[image, text])
    ):  # fmt: skip
      np.testing.assert_allclose(self.value(name), counts.mean(), rtol=1e-9)
      self.assertEqual(self.found[name]['n'], len(counts))
    share = len(image) / (len(image) + len(text))
    np.testing.assert_allclose(self.value('image/share'), share)

  def test_dead_concepts_are_silent_on_all_of_train(self):
    fired_S = sum((s.z_NS != 0).sum(0) for s in self.sides('train'))
    dead = float((fired_S == 0).mean())
    self.assertGreaterEqual(dead, 1 / 8)
    self.assertEqual(fired_S[1], 1)
    self.assertLess(dead, 1)
    self.assertEqual(self.value('dead_fraction'), dead)
    self.assertEqual(self.found['dead_fraction']['split'], 'train')
    rows = sum(len(s.x_ND) for s in self.sides('train'))
    self.assertEqual(self.found['dead_fraction']['n'], rows)

  def test_cosines_and_the_gap_of_the_rows_themselves(self):
    image, text = self.sides()
    a_nD, b_nD = unit(image.x_ND), unit(text.x_ND)
    own = [np.flatnonzero(image.pair_N == p)[0] for p in text.pair_N]
    paired = (a_nD[own] * b_nD).sum(1).mean()
    np.testing.assert_allclose(self.value('raw/paired_cosine'), paired, 1e-5)
    every = (a_nD @ b_nD.T).mean()
    np.testing.assert_allclose(self.value('raw/unpaired_cosine'), every, 1e-5)
    gap = np.linalg.norm(a_nD.mean(0) - b_nD.mean(0))
    np.testing.assert_allclose(self.value('raw/gap'), gap, rtol=1e-5)
    self.assertGreater(paired, every)

  @parameterized.product(way=WAYS, kind=['raw', 'reconstructed'])
  def test_recall_counts_any_text_of_the_image(self, way, kind):
    image, text = self.sides()
    rows = lambda s: s.x_ND if kind == 'raw' else s.xhat_ND
    hit_it = image.pair_N[:, None] == text.pair_N
    query, candidate, hit = rows(image), rows(text), hit_it
    if way == 'text_to_image':
      query, candidate, hit = candidate, query, hit_it.T
    recalls = [recall(query, candidate, hit, k) for k in (1, 5, 10)]
    found = [self.value(f'{kind}/{way}/recall@{k}') for k in (1, 5, 10)]
    np.testing.assert_allclose(found, recalls)
    self.assertLess(found[0], found[2])
    chance = self.found[f'{kind}/{way}/chance@1']
    np.testing.assert_allclose(chance['value'], hit.mean())
    self.assertEqual(chance['n'], len(query))

  def test_every_number_of_rows_has_an_interval_over_groups(self):
    exact = ('chance', 'image/share', 'dead', 'unpaired', 'gap')
    for name, entry in self.found.items():
      if any(word in name for word in exact):
        self.assertNotIn('interval', entry, name)
        continue
      self.assertEqual(entry['interval'], 'bootstrap over groups', name)
      self.assertLessEqual(entry['low'], entry['value'], name)
      self.assertGreaterEqual(entry['high'], entry['value'], name)
      self.assertLess(entry['low'], entry['high'], name)
      self.assertEqual(entry['split'], 'test', name)

  def test_streams_one_by_one_have_the_same_numbers_but_no_retrieval(self):
    both = evaluation.evaluate(self.sae, self.store, streams=('image', 'text'))
    for name, entry in both.items():
      self.assertEqual(entry, self.found[name], name)
    missing = {name.partition('/')[0] for name in self.found.keys() - both}
    self.assertEqual(missing, {'raw', 'reconstructed'})
    alone = evaluation.evaluate(self.sae, self.store, streams=('text',))
    self.assertEqual(alone['r2'], self.found['text/r2'])
    self.assertEqual(alone['l0'], self.found['text/l0'])
    self.assertNotIn('image/r2', alone)

  def test_another_split_is_measured_and_named(self):
    found = evaluation.evaluate(self.sae, self.store, 'all')
    images = len(self.side['image'].x_ND)
    self.assertEqual(found['image/l0']['n'], images)
    self.assertEqual(found['r2']['split'], 'all')
    active = (self.side['image'].z_NS != 0).sum(1)
    np.testing.assert_allclose(found['image/l0']['value'], active.mean())


class EqualTextsTest(absltest.TestCase):
  def test_a_text_that_says_the_same_is_a_hit_as_well(self):
    # Three images to test on, whose texts are swapped but for the last; the
    # first two say the same. One more is there for train.
    folder = self.create_tempdir().full_path
    path, sae_path = (os.path.join(folder, n) for n in ('store', 'sae'))
    columns = ('group', 'split', 'pair')
    spec = {
      'image': store.StreamSpec(d=saes.D, columns=columns),
      'text': store.StreamSpec(
        d=saes.D, modality='text', columns=(*columns, 'meaning')
      ),
    }
    x_ND = np.eye(saes.D, dtype=np.float32)[:4]
    writer = store.StoreWriter(path, spec, {})
    numbers = np.arange(4)
    shared = {'group': numbers, 'pair': numbers}
    shared['split'] = np.array([2, 2, 2, 0])
    writer.write('image', 0, x_ND, shared)
    meaning = {'meaning': np.array([7, 7, 8, 9])}
    writer.write('text', 0, x_ND[[1, 0, 2, 3]], shared | meaning)
    writer.finish()
    io.save(sae_path, *saes.make('topk'))
    found = evaluation.evaluate(sae_path, path)
    for way in WAYS:
      self.assertEqual(found[f'raw/{way}/recall@1']['value'], 1)
      np.testing.assert_allclose(found[f'raw/{way}/chance@1']['value'], 5 / 9)


class RefusalTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = self.create_tempdir().full_path
    self.path, self.sae = (os.path.join(folder, n) for n in ('store', 'sae'))
    io.save(self.sae, *saes.make('topk'))

  def test_a_store_without_texts_is_refused(self):
    write_store(self.path, {'image': (saes.rows(), np.arange(saes.B))})
    with self.assertRaisesRegex(errors.UserError, 'has no stream text; this'):
      evaluation.evaluate(self.sae, self.path)

  @parameterized.parameters('train', 'test')
  def test_a_split_without_rows_is_refused(self, missing):
    n = len(saes.rows())
    spec = {m: store.StreamSpec(d=saes.D, modality=m) for m in saes.MODALITIES}
    writer = store.StoreWriter(self.path, spec, {})
    columns = {'group': np.arange(n), 'pair': np.arange(n)}
    for name in saes.MODALITIES:
      # Of the other splits both streams have rows, of this one images alone.
      split_N = np.arange(n) % 3
      if name == 'text':
        split_N[split_N == store.SPLITS.index(missing)] = 1
      writer.write(name, 0, saes.rows(), columns | {'split': split_N})
    writer.finish()
    with self.assertRaisesRegex(
      errors.UserError, f'Stream text of .* has no rows in {missing}. Give its'
    ):
      evaluation.evaluate(self.sae, self.path)


if __name__ == '__main__':
  absltest.main()
