"""An SAE that changes nothing recovers all, one that is the mean nothing."""

import dataclasses
import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import jax
import numpy as np

from saejax import errors
from saejax import io
from saejax import nn
from saejax import results
from saejax.models import llava_folder
from saejax.pipeline import llava_models
from saejax.pipeline import splicing
from saejax.pipeline import splicing_rows
from saejax.pipeline import splicing_setup

TINY = llava_models.LlavaConfig(text_width=64, text_layers=2)
D = TINY.text_width


def identity():
  """relu(x) − relu(−x): x itself."""
  sae = nn.ARCHITECTURES['relu'](
    d=D, s=2 * D, k=D, modalities=('image', 'text')
  )
  variables = sae.init(jax.random.key(0), method=lambda module: module.w_dec)
  both = np.concatenate([np.eye(D), -np.eye(D)]).astype(np.float32)
  params = variables['params'] | {'w_enc': both, 'w_dec': both}
  return sae, {**variables, 'params': params}


def constant(mean):
  """Nothing fires, so that each modality's centre stands everywhere."""
  sae, variables = identity()
  params = variables['params'] | {
    'w_enc': np.zeros((2 * D, D), np.float32),
    'b_enc': np.full(2 * D, -1, np.float32),
  }
  center = np.stack([mean['image'], mean['text']])
  return sae, {
    'params': params, 'constants': variables['constants'] | {'center': center},
  }  # fmt: skip


class SpliceTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.folder = os.path.join(folder, 'model')
    model, hf_config = llava_models.new_model(TINY)
    # So large that what stands at the image is heard.
    louder = lambda part, by: jax.tree.map(lambda a: by * a, model.params[part])
    params = model.params | {
      'language_model': louder('language_model', 6),
      'lm_head': louder('lm_head', 10),
    }
    model = dataclasses.replace(model, params=jax.device_get(params))
    llava_folder.save(cls.folder, model, hf_config)
    cls.identity = os.path.join(folder, 'identity')
    io.save(cls.identity, *identity())
    setup = splicing_setup.start(cls.config(), *identity(), cls.identity)
    fit = splicing_rows.show(setup, 'train', 6)
    cls.constant = os.path.join(folder, 'constant')
    io.save(cls.constant, *constant(splicing_rows.means(setup, fit)))

  @classmethod
  def config(cls, **changes):
    given = {'layer': 1, 'examples': 6, 'batch': 4, 'dataset': 'scenes:n=400'}
    return splicing_setup.SpliceConfig(model=cls.folder, **(given | changes))

  def test_what_changes_nothing_recovers_all(self):
    found = splicing.splice(self.config(), self.identity).entries
    for site, floors in splicing.FLOORS.items():
      for floor in floors:
        e = found[f'splice/{site}/loss_recovered/{floor}']
        if e['value'] is not None:
          self.assertAlmostEqual(e['value'], 1, places=3)
      self.assertAlmostEqual(
        found[f'splice/{site}/nats/sae']['value'],
        found['splice/unedited/nats']['value'],
        places=4,
      )
    for modality in ('image', 'text'):
      self.assertAlmostEqual(found[f'splice/fve/{modality}']['value'], 1, 4)
      self.assertAlmostEqual(found[f'splice/l0/{modality}']['value'], D, 1)
    self.assertEqual(found['splice/accuracy/lost']['value'], 0)
    for kind in ('', '/colour', '/background'):
      self.assertIn(f'splice/accuracy{kind}/without_image', found)
    self.assertBetween(found['splice/accuracy/chance']['value'], 0.25, 0.5)

  def test_the_mean_recovers_nothing(self):
    found = splicing.splice(self.config(), self.constant).entries
    for site in ('image', 'all'):
      self.assertAlmostEqual(
        found[f'splice/{site}/nats/sae']['value'],
        found[f'splice/{site}/nats/mean']['value'],
        places=4,
      )
      recovered = found[f'splice/{site}/loss_recovered/mean']['value']
      if recovered is not None:
        self.assertAlmostEqual(recovered, 0, places=2)
    for modality in ('image', 'text'):
      self.assertAlmostEqual(found[f'splice/fve/{modality}']['value'], 0, 4)
      self.assertEqual(found[f'splice/l0/{modality}']['value'], 0)

  def test_sites_and_floors_differ(self):
    found = splicing.splice(self.config(), self.constant).entries
    nats = [e['value'] for k, e in found.items() if '/nats' in k]
    # Of the SAE and the mean, which are the same here, one each.
    self.assertLen(set(np.round(nats, 5)), len(nats) - 2)
    entry = found['splice/unedited/nats']
    self.assertEqual((entry['n'], entry['split']), (6, 'test'))
    self.assertBetween(entry['value'], entry['low'], entry['high'])

  @parameterized.parameters((), ('(a)', '(b)', '(c)', '(d)'))
  def test_each_option_has_the_token_that_stands_for_it(self, *letters):
    setup = splicing_setup.start(
      self.config(letters=letters, dataset='scenes:n=600'),
      *identity(),
      self.identity,
    )
    shown = splicing_rows.show(setup, 'train', 60)
    asked = splicing_rows.ask(setup, shown, ['where', 'colour', 'size'])
    words = setup.model.tokenizer.convert_ids_to_tokens
    for text, ids in zip(asked.text, asked.option_ids_n, strict=True):
      self.assertLen(set(ids), len(ids))
      offered = text.split(' ? ')[1].removesuffix(' ?')
      if letters:
        told = [w for w in offered.split() if w in letters]
        self.assertEqual(words(ids), told)
      else:
        first = [o.split()[0] for o in offered.split(' or ')]
        self.assertEqual(words(ids), first)
    # Of places two in four begin alike.
    self.assertEqual('where' in asked.kind_n, bool(letters))
    self.assertGreater(asked.kind_n.count('colour'), 5)

  def test_what_is_written_can_be_read(self):
    out = self.create_tempdir().full_path
    found = splicing.splice(self.config(), self.identity, 'val')
    found.write(out)
    self.assertEqual(results.read(out), found.entries)
    self.assertTrue(os.path.exists(os.path.join(out, 'figures', 'splice.svg')))

  @parameterized.parameters(
    ({'layer': 3}, '--layer=3: there is no such layer; the model has 2'),
    ({'dataset': 'scenes:n=9'}, 'this needs two or more'),
    ({'letters': ('red apple', 'red', 'blue', 'x')}, 'begin with the same'),
  )
  def test_a_mistake_is_told(self, changes, message):
    with self.assertRaisesRegex(errors.UserError, message):
      splicing.splice(self.config(**changes), self.identity)

  def test_an_sae_of_another_layer_is_told(self):
    for streams, message in (
      (['layer02.image', 'layer02.text'], 'on layer 2, and --layer=1'),
      (['image', 'text'], 'on image, text; expected streams of one layer'),
    ):
      path = os.path.join(self.create_tempdir().full_path, 'sae')
      io.save(path, *identity(), {'config': {'streams': streams}})
      with self.assertRaisesRegex(errors.UserError, message):
        splicing.splice(self.config(), path)

  def test_an_sae_of_another_width_is_told(self):
    path = os.path.join(self.create_tempdir().full_path, 'sae')
    sae = nn.ARCHITECTURES['relu'](d=8, s=16, k=2)
    io.save(path, sae, sae.init(jax.random.key(0), method=lambda m: m.w_dec))
    with self.assertRaisesRegex(errors.UserError, 'reads rows of width 8'):
      splicing.splice(self.config(), path)


class LossTest(parameterized.TestCase):
  @parameterized.parameters((0.0, 1.0), (1.0, 0.0), (0.25, 0.75), (1.5, -0.5))
  def test_loss_recovered_is_the_share_of_what_a_floor_costs(self, lost, share):
    """An SAE that loses so much of it recovers the rest."""
    rng = np.random.default_rng(0)
    none, tokens = 10 + rng.random(20), rng.integers(5, 9, 20).astype(float)
    floor = none + 3 + rng.random(20)
    nats = {
      ('', 'none'): none,
      ('image', 'sae'): none + lost * (floor - none),
      ('image', 'mean'): floor,
      ('image', 'zero'): none - 1,
    }
    found = splicing._loss_entries(nats, tokens, np.arange(20), 'test')
    entry = found['splice/image/loss_recovered/mean']
    for key in ('value', 'low', 'high'):
      self.assertAlmostEqual(entry[key], share)
    self.assertAlmostEqual(
      found['splice/unedited/nats']['value'], none.sum() / tokens.sum()
    )
    # Of a floor that does no harm nothing can be recovered.
    self.assertIsNone(found['splice/image/loss_recovered/zero']['value'])


class OtherImageTest(absltest.TestCase):
  def test_the_next_row_stands_there(self):
    x_BMD = np.arange(3 * 5 * 2, dtype=float).reshape(3, 5, 2)
    is_BM = np.array([[0, 1, 1, 1, 0], [0, 1, 1, 0, 0], [1, 1, 1, 1, 0]], bool)
    found = splicing.other_image(x_BMD, is_BM, 2)
    np.testing.assert_array_equal(found[0, [0, 4]], x_BMD[0, [0, 4]])
    np.testing.assert_array_equal(found[0, 1:4], x_BMD[1, [1, 2, 1]])
    np.testing.assert_array_equal(found[1, 1:3], x_BMD[0, [1, 2]])
    np.testing.assert_array_equal(found[2], x_BMD[2])


if __name__ == '__main__':
  absltest.main()
