"""The page: whole, self-contained, escaped, and true to the results."""

import html.parser
import json
import os
import re
import tempfile

from absl.testing import absltest
import numpy as np

from saejax import results
from saejax import store
from saejax.pipeline import analysing
from saejax.pipeline import evaluation
from saejax.report import markup
from saejax.report import page
from saejax.train import config as config_lib
from saejax.train import loop
from tests import planted

_VOID = {'meta', 'img', 'br', 'link', 'path', 'use', 'rect'}


class Reader(html.parser.HTMLParser):
  """Checks that elements close in order, and collects what would be loaded."""

  def __init__(self):
    super().__init__()
    self.open, self.loads, self.words = [], [], []

  def handle_starttag(self, tag, attrs):
    if tag not in _VOID:
      self.open.append(tag)
    self.loads += [
      v for k, v in attrs if k in ('src', 'href', 'xlink:href', 'data')
    ]

  def handle_startendtag(self, tag, attrs):
    self.handle_starttag(tag, attrs)
    if tag not in _VOID:
      self.open.pop()

  def handle_endtag(self, tag):
    if tag not in _VOID:
      assert self.open.pop() == tag, (tag, self.getpos())

  def handle_data(self, data):
    self.words.append(data)


class PageTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    context = tempfile.TemporaryDirectory()
    cls.addClassCleanup(context.cleanup)
    cls.folder = context.name
    data = planted.sample(1500)
    labels = (data.shown_NF, data.mentioned_NF)
    at = lambda name: os.path.join(cls.folder, name)
    planted.write_store(at('store'), data.image_ND, data.text_ND, labels=labels)
    evaluations = {}
    for k in (2, 4):
      asked = config_lib.TrainConfig(
        store=at('store'), latents=64, k=k, steps=200, batch=256, lr=3e-3
      )
      sae = loop.train(asked, at(f'run{k}'))
      evaluations[k] = at(f'evaluation{k}')
      results.write(evaluations[k], evaluation.evaluate(sae, at('store')))
    analysing.analyse(sae, at('store'), at('analysis'), 'test', True)
    cls.story = page.Story(
      store=at('store'), analysis=at('analysis'), evaluations=evaluations,
      k=4, latents=64,
    )  # fmt: skip
    cls.html = page.render(cls.story)

  def test_elements_close_and_nothing_is_loaded(self):
    reader = Reader()
    reader.feed(self.html)
    self.assertEmpty(reader.open)
    for address in reader.loads:
      self.assertRegex(address, r'^(data:|#)')
    # Asserted as truths, so that a failure does not print the whole page.
    self.assertFalse('<script' in self.html)
    self.assertFalse('url(http' in self.html)

  def test_it_says_the_numbers_of_the_results(self):
    found = results.read(self.story.analysis)
    for name in (
      'raw/gap', 'r2', 'modality/image', 'bridges/sum_b0', 'concepts/live',
      'factors/image/read', 'bridges/top20_true', 'surrogate/r2',
    ):  # fmt: skip
      self.assertTrue(markup.number(found[name]) in self.html, name)

  def test_planted_truth_is_on_the_page(self):
    words = re.sub(r'<[^>]+>', '', self.html)
    self.assertTrue('both read the same fact' in words)
    # Captions of the planted store.
    self.assertRegex(words[:5000], r'text \d+')
    points = page.sparsity_points(self.story.evaluations)
    self.assertLess(points[0]['r2'], points[1]['r2'])
    self.assertLess(points[0]['l0'], points[1]['l0'])

  def test_a_missing_gap_is_told(self):
    gap = results.read(self.story.analysis)['raw/gap']['value']
    told = 'it is NOT' if gap < 0.4 else 'it is.'
    self.assertTrue(told in self.html)

  def test_without_labels_and_twin_it_says_less(self):
    bare = os.path.join(self.folder, 'bare')
    os.makedirs(bare)
    skipped = ('surrogate/', 'factors/', 'bridges/top20', 'bridges/random')
    found = results.read(self.story.analysis)
    results.write(
      bare, {k: v for k, v in found.items() if not k.startswith(skipped)}
    )
    for name in os.listdir(self.story.analysis):
      source = os.path.join(self.story.analysis, name)
      if os.path.isfile(source) and name != results.RESULTS:
        os.link(source, os.path.join(bare, name))
    story = page.Story(
      store=self.story.store, analysis=bare,
      evaluations=self.story.evaluations, k=4, latents=64,
    )  # fmt: skip
    found = page.render(story)
    self.assertFalse('What single concepts read' in found)
    self.assertFalse('twin' in found.lower())

  def test_captions_cannot_write_the_page(self):
    evil = os.path.join(self.folder, 'evil')
    os.makedirs(evil)
    for name in os.listdir(self.story.analysis):
      source = os.path.join(self.story.analysis, name)
      if os.path.isfile(source) and not name.endswith('.json'):
        os.link(source, os.path.join(evil, name))
    for name in (results.EXEMPLARS, results.BRIDGE_PAIRS, results.RESULTS):
      with open(os.path.join(self.story.analysis, name)) as f:
        text = f.read().replace('"text 1', '"<img src=x onerror=y> 1')
      with open(os.path.join(evil, name), 'w') as f:
        f.write(text)
    story = page.Story(
      store=self.story.store, analysis=evil,
      evaluations=self.story.evaluations, k=4, latents=64,
    )  # fmt: skip
    found = page.render(story)
    self.assertFalse('<img src=x' in found)
    self.assertTrue('&lt;img src=x' in found)

  def test_figures_lie_beside_the_analysis_with_their_numbers(self):
    figures = os.path.join(self.story.analysis, results.FIGURES)
    self.assertEqual(
      sorted(os.listdir(figures)),
      [
        f'{name}.{ending}'
        for name in ('bridges', 'gap_cosine', 'modality')
        for ending in ('csv', 'png', 'svg')
      ],
    )

  def test_bridge_pairs_are_matched_rows_in_which_both_fire(self):
    with open(os.path.join(self.story.analysis, results.BRIDGE_PAIRS)) as f:
      bridges = json.load(f)
    found = store.Store(self.story.store)
    self.assertNotEmpty(bridges)
    for bridge in bridges:
      strength = []
      for pair in bridge['pairs']:
        a, b = pair['image'], pair['text']
        self.assertEqual(
          found['image'].column('pair')[a['row']],
          found['text'].column('pair')[b['row']],
        )
        self.assertGreater(min(a['activation'], b['activation']), 0)
        strength.append(a['activation'] * b['activation'])
      self.assertTrue((np.diff(strength) <= 1e-3).all())


if __name__ == '__main__':
  absltest.main()
