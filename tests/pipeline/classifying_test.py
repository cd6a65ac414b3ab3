"""Zero-shot accuracy where it is known, and what cannot be classified."""

import csv
import os

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from saejax import errors
from saejax import store
from saejax.pipeline import store_quality
from tests.pipeline import class_stores

C = class_stores


class StoreTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path

  def path(self, name: str) -> str:
    return os.path.join(self.folder, name)

  def write(self, name: str = 'store', *args, **kwargs) -> str:
    return C.write(self.path(name), *args, **kwargs)


class AccuracyTest(StoreTest):
  def test_classes_that_lie_apart_are_all_told(self):
    path = self.write('store', C.images(0.05), C.prompts(0.05))
    self.assertEqual(list(store.validate(path)), [])
    found = store_quality.evaluate_store(path).entries
    for name in ('top1', 'top5', 'mean_per_class', 'single/top1'):
      self.assertEqual(found[f'zero_shot/{name}']['value'], 1, name)
    self.assertEqual(found['zero_shot/gain/top1']['value'], 0)
    self.assertEqual(found['zero_shot/top1']['n'], C.CLASSES * C.PER_CLASS / 3)
    for name, value in (
      ('chance_top1', 1 / 6), ('chance_top5', 5 / 6), ('classes', 6),
      ('templates', C.TEMPLATES), ('namesakes', 0), ('largest_class', 1 / 6),
    ):  # fmt: skip
      np.testing.assert_allclose(found[f'zero_shot/{name}']['value'], value)
    self.assertNotIn('image_to_text/recall@1', found)
    self.assertEqual(found['image/effective_rank']['n'], 96)

  def test_numbers_are_those_by_hand(self):
    labels = np.random.default_rng(3).integers(-1, C.CLASSES, size=288)
    x_ND, _ = C.images(4.0, np.maximum(labels, 0))
    prompt_ND = C.prompts(2.5)
    path = self.write('store', (x_ND, labels), 3 * prompt_ND)
    quality = store_quality.evaluate_store(path, 'val')
    kept = (C.splits(288) == 1) & (labels >= 0)
    x_nD, label_n = x_ND[kept], labels[kept]
    prompt_CTD = prompt_ND.reshape(C.CLASSES, C.TEMPLATES, C.D)
    for kind, class_CD in (
      ('', C.unit(prompt_CTD.mean(1))), ('single/', prompt_CTD[:, 0])
    ):  # fmt: skip
      order_nC = np.argsort(-x_nD @ class_CD.T, axis=1)
      right_nC = order_nC == label_n[:, None]
      of_class = [right_nC[label_n == c, 0].mean() for c in range(C.CLASSES)]
      for name, value in (
        ('top1', right_nC[:, 0].mean()),
        ('top5', right_nC[:, :5].any(1).mean()),
        ('mean_per_class', np.mean(of_class)),
      ):
        entry = quality.entries[f'zero_shot/{kind}{name}']
        np.testing.assert_allclose(entry['value'], value, err_msg=kind + name)
        self.assertEqual((entry['n'], entry['split']), (kept.sum(), 'val'))
        self.assertBetween(value, entry['low'], entry['high'])
        self.assertLess(entry['low'], entry['high'], name)
    quality.write(self.path('out'))
    with open(self.path('out/figures/classes.csv'), newline='') as f:
      rows = {row['class']: row for row in csv.DictReader(f)}
    self.assertSameElements(rows, C.NAMES)
    for c, name in enumerate(C.NAMES):
      self.assertEqual(int(rows[name]['images']), (label_n == c).sum())
      np.testing.assert_allclose(float(rows[name]['single_top1']), of_class[c])

  def test_many_noisy_templates_are_worth_more_than_one(self):
    path = self.write('store', C.images(0.5), C.prompts(4.0, 64))
    found = store_quality.evaluate_store(path, 'all').entries
    top1 = lambda kind: found[f'zero_shot/{kind}top1']
    self.assertGreater(top1('')['low'], top1('single/')['high'])
    gain = top1('')['value'] - top1('single/')['value']
    np.testing.assert_allclose(top1('gain/')['value'], gain)
    self.assertGreater(top1('gain/')['low'], 0.1)

  def test_labels_that_mean_nothing_give_chance(self):
    x_ND, labels = C.images(0.5, np.tile(np.arange(6), 400))
    labels = np.random.default_rng(0).permutation(labels)
    path = self.write('store', (x_ND, labels), C.prompts(0.1))
    found = store_quality.evaluate_store(path, 'all').entries
    for what in ('top1', 'mean_per_class', 'single/top1'):
      entry = found[f'zero_shot/{what}']
      self.assertBetween(1 / 6, entry['low'], entry['high'], what)
      self.assertLess(entry['high'], 0.25)

  def test_a_collapsed_model_tells_nothing(self):
    x_ND, labels = C.images(0.1)
    one_1D = np.ones((1, C.D))
    prompt_ND = one_1D.repeat(C.CLASSES * 2, 0)
    path = self.write('store', (one_1D.repeat(len(x_ND), 0), labels), prompt_ND)
    found = store_quality.evaluate_store(path).entries
    self.assertEqual(found['zero_shot/top1']['value'], 0)
    self.assertEqual(found['zero_shot/top5']['value'], 0)

  def test_classes_of_one_name_are_counted(self):
    dataset = {'classes': ['crane', 'crane', 'a', 'b', 'c', 'd']}
    path = self.write(
      'store', C.images(0.1), C.prompts(0.1), {'dataset': dataset}
    )
    found = store_quality.evaluate_store(path).entries
    self.assertEqual(found['zero_shot/namesakes']['value'], 2)

  def test_prompts_of_another_store_tell_the_same(self):
    images, prompt_ND = C.images(1.0), C.prompts(1.0)
    whole = self.write('whole', images, prompt_ND)
    bare = self.write('bare', images)
    classes = self.write('classes', C.images(9.0), prompt_ND)
    self.assertEqual(
      store_quality.evaluate_store(bare, 'test', classes).entries,
      store_quality.evaluate_store(whole).entries,
    )
    # They come before the store's own.
    other = self.write('other', images, -prompt_ND)
    found = store_quality.evaluate_store(other, 'test', classes).entries
    self.assertGreater(found['zero_shot/top1']['value'], 0.5)

  def test_names_that_nobody_tells_are_numbers(self):
    path = self.write(
      'store', C.images(0.1), C.prompts(0.1), {'dataset': {'name': 'bare'}}
    )
    quality = store_quality.evaluate_store(path)
    self.assertCountEqual(
      quality.figures['classes'].columns['class'],
      [f'class {c}' for c in range(C.CLASSES)],
    )
    self.assertEqual(quality.entries['zero_shot/classes']['value'], 6)


class RefusalTest(StoreTest):
  def assert_refused(self, message: str, path: str, classes=None):
    with self.assertRaisesRegex(errors.UserError, message):
      store_quality.evaluate_store(path, 'test', classes)

  def test_labels_without_prompts_and_prompts_without_labels(self):
    bare = self.write('bare', C.images(0.1))
    self.assert_refused(
      'no texts to retrieve, and .* no stream prompts; give one with --cl', bare
    )
    prompts = self.write('prompts', None, C.prompts(0.1))
    self.assert_refused('prompts has no stream image', prompts)
    self.assert_refused('bare has no stream prompts', bare, bare)

  @parameterized.named_parameters(
    ('model', {'model': 'other'}, "is of model 'other', .* of 'm': embed"),
    ('revision', {'revision': 'x'}, "is of revision 'x', .* of 'r'"),
    (
      'class_list',
      {'dataset': {'classes': [*C.NAMES[:5], 'whale']}},
      "has class 5 'whale', which in .*bare is 'thing 5'",
    ),
    (
      'number_of_classes',
      {'dataset': {'classes': list(C.NAMES[:4])}},
      'has 4 classes, .*bare 6',
    ),
  )
  def test_prompts_of_another(self, about, message):
    bare = self.write('bare', C.images(0.1))
    classes = self.write('classes', None, C.prompts(0.1), about)
    self.assert_refused(message, bare, classes)

  def test_prompts_of_another_width(self):
    bare = self.write('bare', C.images(0.1))
    classes = self.write('classes', None, C.prompts(0.1)[:, :5])
    self.assert_refused('classes has width 5, the images 24', bare, classes)

  @parameterized.parameters(
    dict(label=np.repeat(np.arange(6), 2) + 1),
    dict(label=np.repeat(np.arange(6), 2) - 1),
    dict(label=np.zeros(12, int)),
    dict(template=np.zeros(12, int)),
    dict(template=np.tile([0, 2], 6)),
  )
  def test_classes_without_one_prompt_of_every_template(self, **columns):
    path = self.write('store', C.images(0.1), C.prompts(0.1, 2), **columns)
    self.assert_refused('12 rows; expected one for each of 6 cl', path)

  def test_labels_outside_the_classes(self):
    for label in (6, -2):
      x_ND, labels = C.images(0.1)
      labels[5] = label
      path = self.write(f'store{label}', (x_ND, labels), C.prompts(0.1))
      self.assert_refused(f'Row 5 .* has label {label}; expected .*0…5', path)

  def test_images_without_labels_or_rows(self):
    x_ND, labels = C.images(0.1)
    path = self.write('none', (x_ND, np.full_like(labels, -1)), C.prompts(0.1))
    self.assert_refused('No image of .* in test has a label', path)
    path = self.write('two', (x_ND[:2], labels[:2]), C.prompts(0.1))
    self.assert_refused('two has no rows in test.*--split=all', path)


if __name__ == '__main__':
  absltest.main()
