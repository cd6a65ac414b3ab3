"""What is timed is the same work on both sides, edits and all."""

from absl.testing import absltest
import jax
import numpy as np

from saejax.pipeline import benchmark_llava
from saejax.pipeline import benchmarking
from tests.models import parity

NEW = 6


class LlavaTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    # Each program runs once: compiling takes all the time.
    jax.config.update('jax_disable_most_optimizations', True)
    self.addCleanup(jax.config.update, 'jax_disable_most_optimizations', False)

  @parity.needs_torch
  def test_both_sides_write_the_same_words_and_edits_change_them(self):
    found = benchmark_llava.subject('llava-scenes', 2, 'float32', True)
    edited = benchmark_llava.make_edited(
      found.ours.module.config.text.hidden_size
    )
    with jax.default_matmul_precision('highest'):
      made, operations = benchmark_llava.calls(found, edited, NEW)
      words = {key: np.asarray(call()) for key, call in made.items()}
    for edit in ('', *benchmark_llava.EDITS):
      self.assertEqual(words[edit, 'saejax'].shape, (2, NEW))
      np.testing.assert_array_equal(
        words[edit, 'saejax'], words[edit, 'torch'], edit
      )
    for edit in benchmark_llava.EDITS:
      self.assertFalse(
        np.array_equal(words[edit, 'saejax'], words['', 'saejax']), edit
      )
      self.assertGreater(operations[edit], operations[''])

  def test_entries_are_of_what_was_timed(self):
    seconds = {
      ('', 'saejax'): [1.0, 2.0, 4.0],
      ('add', 'saejax'): [1.1, 2.2, 4.0],
      ('', 'torch'): [2.0, 4.0, 4.0],
      ('add', 'torch'): [2.0, 6.0, 8.0],
    }
    found = benchmark_llava._entries(
      {key: np.array(each) for key, each in seconds.items()},
      {'': 100.0, 'add': 101.0},
      tokens=8,
      counts_arithmetic=True,
    )
    expected = {
      'saejax': 4.0,  # 8 tokens in the median's 2 s.
      'torch': 2.0,
      'add/saejax': 8 / 2.2,
      'add/torch': 8 / 6,
      'add/saejax/cost': 0.1,
      'add/torch/cost': 0.5,
      'add/saejax/operations': 0.01,
      'ratio': 2.0,
      'add/ratio': 2.0,
    }
    self.assertEqual({*found}, {*expected})
    for name, value in expected.items():
      self.assertAlmostEqual(found[name]['value'], value, msg=name)

  def test_a_random_model_has_the_size_that_its_name_says(self):
    found = benchmarking.measure_models(
      ['llava-64x2'],
      batch=1,
      rounds=1,
      dtype='float32',
      with_torch=False,
      new_tokens=2,
    )
    for way in ('prefill', 'generate'):
      for key in ('saejax', 'add/saejax', 'sae/saejax'):
        self.assertGreater(found[f'llava-64x2/{way}/{key}']['value'], 0)
    subject = benchmark_llava.subject('llava-64x2', 1, 'float32', False)
    text = subject.ours.module.config.text
    self.assertEqual((text.hidden_size, text.num_hidden_layers), (64, 2))
    self.assertEqual(
      subject.ours.params['language_model']['norm']['scale'].shape, (64,)
    )
    # Five tiles of 36 patches, less what newlines add.
    self.assertGreater(np.sum(subject.inputs.tokens.is_image_BT), 5 * 36)


if __name__ == '__main__':
  absltest.main()
