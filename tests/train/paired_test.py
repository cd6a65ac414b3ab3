"""Whole runs on matched rows: what planted pairs share, and shuffled do not."""

import functools
import json
import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from saejax import encode
from saejax import errors
from saejax import io
from saejax import losses_paired
from saejax import nn
from saejax import sharding
from saejax import store
from saejax import types
from saejax.analysis import bridges
from saejax.train import config as config_lib
from saejax.train import loop
from saejax.train import optimisers
from saejax.train import state as state_lib
from saejax.train import step as step_lib
from tests import meshes
from tests import planted
from tests.train import loop_test
from tests.train import step_test

N = 4000
F, OWN = planted.FACTORS, planted.OWN


def unit(x_ND: np.ndarray) -> np.ndarray:
  return x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)


def write_map(path: str) -> tuple[str, np.ndarray, np.ndarray]:
  """A store whose texts are a sparse-linear map of its images; both atoms."""
  rng = np.random.default_rng(4)
  atoms_FD = unit(rng.normal(size=(2 * F, planted.D)))
  image_FD, text_FD = atoms_FD[:F], atoms_FD[F:]
  z_NF = rng.uniform(0.7, 1.3, size=(N, F)) * (rng.random((N, F)) < 0.12)
  rows = lambda d_FD: (z_NF @ d_FD).astype(np.float32)
  noise_ND = 0.01 * rng.normal(size=(N, planted.D)).astype(np.float32)
  path = planted.write_store(path, rows(image_FD) + noise_ND, rows(text_FD))
  return path, image_FD, text_FD


class PairedRunTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.stores = {}
    for matched in (True, False):
      data = planted.sample(N, matched=matched)
      path = os.path.join(cls.folder, f'matched-{matched}')
      cls.stores[matched] = planted.write_store(
        path, data.image_ND, data.text_ND
      )
    cls.atoms_SD = data.atoms_SD

  def setUp(self):
    super().setUp()
    self.out = os.path.join(self.create_tempdir().full_path, 'run')

  def config(self, matched=True, **changes) -> config_lib.TrainConfig:
    settings = dict(arch='topk', k=3, steps=400, lr=5e-3, mix='natural')
    return loop_test.config(self.stores[matched], **(settings | changes))

  def codes(self, matched: bool, settings: dict):
    """Codes of matched test rows, and the dictionary; trained once."""
    name = '-'.join(f'{k}={v}' for k, v in settings.items())
    out = os.path.join(self.folder, f'run-{matched}-{name}')
    path = loop.train(self.config(matched, **settings), out, resume=True)
    sae, variables = io.load(path)
    found = store.Store(self.stores[matched])
    image, text = (found[name] for name in ('image', 'text'))
    rows = image.rows('test')  # Of both: rows are written pair by pair.
    z = [encode.encode(sae, variables, s, rows).z_nS for s in (image, text)]
    d_SD = np.asarray(variables['params']['w_dec'])
    return bridges.match(*z, rows, rows), d_SD

  def cosine(self, matched=True, **settings) -> float:
    """Mean cosine of the codes of rows that have any."""
    m, _ = self.codes(matched, settings)
    a_GS, b_GS = m.image_GS.toarray(), m.text_GS.toarray()
    norm_G = np.linalg.norm(a_GS, axis=1) * np.linalg.norm(b_GS, axis=1)
    cosine_G = (a_GS * b_GS).sum(1)[norm_G > 0] / norm_G[norm_G > 0]
    return float(cosine_G.mean())

  def real_bridges(self, matched=True, **settings) -> int:
    m, d_SD = self.codes(matched, settings)
    b = bridges.bridges(m, d_SD)
    p_P = bridges.p_values(m, b)
    return int(bridges.significant(p_P, bridges.tested_pairs(m)).sum())

  @parameterized.parameters(
    (dict(align=0.5), 0.4),
    (dict(align=0.5, arch='modality_encoders'), 0.4),
    (dict(group_sparse=0.3, modality_dropout=0.3), 0.3),
  )
  def test_matched_rows_share_concepts_and_shuffled_ones_do_not(
    self, settings, least
  ):
    plain = self.cosine()
    self.assertLess(plain, 0.15)
    self.assertGreater(self.cosine(**settings), plain + least)
    self.assertLess(self.cosine(matched=False, **settings), 0.15)
    self.assertGreaterEqual(self.real_bridges(**settings), F / 2)
    self.assertEqual(self.real_bridges(matched=False, **settings), 0)

  @parameterized.parameters('topk', 'batch_topk')
  def test_a_crosscoder_recovers_what_both_sites_have(self, arch):
    # A joined row has 0.12 · (16 + 2 · 6) = 3.4 concepts.
    asked = self.config(crosscoder=True, arch=arch, k=4, scale='modality')
    path = loop.train(asked, self.out)
    sae, variables = io.load(path)
    self.assertEqual(sae.d, 2 * planted.D)
    sites = io.read_sites(path)
    self.assertEqual([s.stream for s in sites], ['image', 'text'])
    scales = [s.scale for s in sites]
    self.assertNotEqual(*scales)
    a_SD, own = self.atoms_SD, slice(F, F + OWN)
    image_SD, text_SD = scales[0] * a_SD[: F + OWN], scales[1] * a_SD[F + OWN :]
    shared_FD = np.concatenate([image_SD[:F], text_SD[:F]], axis=1)
    nothing = np.zeros_like(image_SD[own])
    own_SD = np.concatenate(
      [
        np.concatenate([image_SD[own], nothing], axis=1),
        np.concatenate([nothing, text_SD[own]], axis=1),
      ]
    )
    w_SD = np.asarray(variables['params']['w_dec'])
    for atoms in (shared_FD, own_SD):
      cosine_S = loop_test.matched_cosines(unit(atoms), w_SD)
      self.assertGreater(np.mean(cosine_S), 0.9, np.sort(cosine_S))

  def test_a_transcoder_recovers_a_planted_map(self):
    path, image_FD, text_FD = write_map(f'{self.out}-store')
    asked = self.config(
      store=path, arch='transcoder', target='text', k=4, center='none',
      steps=600, scale='modality',
    )  # fmt: skip
    sae, variables = io.load(loop.train(asked, self.out))
    found = store.Store(path)
    rows = found['text'].rows('test')
    x_nD, y_nD = (found[n].take(rows) for n in ('image', 'text'))
    out = sae.apply(variables, x_nD)
    missed = ((y_nD - out.xhat_BD) ** 2).sum()
    self.assertLess(missed, 0.1 * ((y_nD - y_nD.mean(0)) ** 2).sum())
    w_SD = np.asarray(variables['params']['w_dec'])
    cosine_F = loop_test.matched_cosines(text_FD, w_SD)
    self.assertGreater(np.mean(cosine_F), 0.9, np.sort(cosine_F))
    # Each concept answers to the image atom of the text atom that it writes.
    best_F = (text_FD @ w_SD.T).argmax(1)
    z_FS = np.asarray(sae.apply(variables, image_FD, method='preactivations'))
    np.testing.assert_array_equal(z_FS[:, best_F].argmax(0), np.arange(F))

  @parameterized.parameters(
    dict(align=0.1, group_sparse=0.1, modality_dropout=0.2, center='modality'),
    dict(crosscoder=True, arch='batch_topk', modality_dropout=0.2),
    dict(arch='transcoder', target='image', scale='modality'),
  )
  def test_resuming_gives_the_same_bits(self, **settings):
    whole = loop.train(self.config(steps=24, **settings), self.out)
    part = self.config(steps=24, checkpoint_every=10, **settings)
    other = f'{self.out}-parts'
    with self.assertRaises(loop_test.Stop), loop_test.stop_at(17):
      loop.train(part, other)
    resumed = loop.train(part, other, resume=True)
    read = lambda path: open(os.path.join(path, io.WEIGHTS), 'rb').read()
    self.assertEqual(read(whole), read(resumed))

  def test_pairs_are_counted(self):
    path = loop.train(self.config(steps=1, align=0.1), self.out)
    made_by = io.read_config(path)['provenance']
    rows = store.Store(self.stores[True])['image'].rows('train')
    self.assertEqual(made_by['pairs'], len(rows))
    self.assertEqual(made_by['left_out'], {'image': 0, 'text': 0})
    with open(os.path.join(self.out, 'run.json')) as f:
      self.assertEqual(json.load(f)['config']['align'], 0.1)

  @parameterized.parameters(
    (dict(target='text'), '--target is for --arch=transcoder'),
    (dict(arch='transcoder'), '--arch=transcoder needs --target'),
    (
      dict(arch='transcoder', target='text', streams=('text',)),
      '--target=text needs one other stream to read; --stream gives none',
    ),
    (dict(arch='transcoder', target='text', align=1), '--align is not for --a'),
    (dict(crosscoder=True, group_sparse=1), '--group_sparse is not for --cros'),
    (dict(crosscoder=True, arch='modality_encoders'), 'is not for --crossco'),
    (dict(crosscoder=True, streams=('image',)), 'need two streams or more'),
    (
      dict(arch='transcoder', target='text', resample_every=5),
      '--resample_every is not for --arch=transcoder: it is for topk',
    ),
    (dict(modality_dropout=1.0), '--modality_dropout=1.0 must be at least 0'),
    (dict(align=-1.0), '--align must not be negative'),
    (dict(align=1.0, mix='equal'), '--mix=equal is not for matched rows'),
    (dict(align=1.0, batch=255), '--batch=255 must be a multiple of 2'),
    (
      dict(align=1.0, batch=8, mesh=(8, 1)),
      '--batch=8 must be a multiple of 1',
    ),
  )
  def test_mistakes_are_told_and_leave_nothing(self, settings, message):
    with self.assertRaisesRegex(errors.UserError, message):
      loop.train(self.config(**settings), self.out)
    self.assertFalse(os.path.exists(self.out))


STEPS, B, WIDE = 12, 64, 32


@functools.cache
def curve(kind: str, shape):
  """The loss of every step, of one way to train on pairs."""
  with meshes.use(shape) as mesh:
    settings = dict(s=64, k=4)
    constants, extra = {}, None
    if kind == 'transcoder':
      sae = nn.Transcoder(d=planted.D, d_in=WIDE, **settings)
    elif kind == 'crosscoder':
      sae = nn.BatchTopK(d=2 * planted.D, **settings)
    else:
      arch = nn.ARCHITECTURES[kind]
      sae = arch(d=planted.D, modalities=('image', 'text'), **settings)
      extra = losses_paired.make_penalty(0.3, 0.2)
    tx = optimisers.make_optimiser(2e-3, STEPS, weight_decay=1e-5, clip=1.0)
    state, shardings = state_lib.create(sae, tx, constants, 0, mesh)
    replicated = jax.NamedSharding(mesh, jax.P())
    step = jax.jit(
      step_lib.make_train_step(
        sae, tx, steps=STEPS, aux_weight=1 / 32, aux_k=8, dead_after=B,
        extra_loss=extra,
      ),
      out_shardings=(shardings, replicated, replicated),
    )  # fmt: skip
    found = []
    for i in range(STEPS):
      half = slice(i * B // 2, (i + 1) * B // 2)
      image, text = step_test.DATA.image_ND[half], step_test.DATA.text_ND[half]
      y_BD, m_B = None, np.tile(np.arange(2, dtype=np.int32), B // 2)
      if kind == 'transcoder':
        x_BD, y_BD, m_B = image[:, :WIDE], text, 0 * m_B[: B // 2]
      elif kind == 'crosscoder':
        x_BD, m_B = np.concatenate([image, text], axis=1), 0 * m_B[: B // 2]
      else:
        x_BD = np.stack([image, text], axis=1).reshape(B, -1)
      batch = jax.tree.map(
        lambda a: jax.device_put(a, jax.P('data', *(None,) * (a.ndim - 1))),
        types.Batch(x_BD, m_B, y_BD),
      )
      state, _, logs = step(state, batch)
      found.append(float(logs['loss']))
    for name, leaf in state.params.items():
      assert leaf.sharding.spec == sharding.RULES[name], name
    return np.array(found)


class MeshTest(parameterized.TestCase):
  @parameterized.parameters(
    ('topk', (8, 1)),
    ('batch_topk', (2, 4)),
    ('modality_encoders', (2, 4)),
    ('transcoder', (2, 4)),
    ('crosscoder', (4, 2)),
  )
  def test_the_curve_is_the_same_on_every_mesh(self, kind, shape):
    expected = curve(kind, (1, 1))
    self.assertLess(expected[-1], expected[0])
    np.testing.assert_allclose(curve(kind, shape), expected, rtol=2e-4)


if __name__ == '__main__':
  absltest.main()
