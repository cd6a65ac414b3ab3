"""Heat-maps on the page: over pictures, in words, by mouse and by keyboard."""

import dataclasses
import pathlib
from unittest import mock

from absl.testing import absltest

from tests.explorer import browser
from tests.explorer import synthetic

AXE = (
  pathlib.Path(browser.writing.static_folder()).parent
  / 'web/node_modules/axe-core/axe.min.js'
)
ROW = 'A row is a token of layer 4.'
# Of 3 x 2 cells: the largest, a weaker one, and one that no row is of.
PATCHES = {'w': 3, 'h': 2, 'at': [0, 1, 2, 4, 5], 'q': [0, 254, 0, 100, 0]}
PATCHES |= {'rest': 255}
SILENT = {'w': 3, 'h': 2, 'at': [], 'q': [], 'rest': 0}
WORDS = {
  'tokens': ['a', ' red', ' <i>', 'ball', ' here'], 'q': [0, 254, 127, 0, 255]
}  # fmt: skip
SHADE = """() => [...document.querySelectorAll('.band.top .veil')].map((c) => {
  const { width: w, height: h } = c;
  const pen = c.getContext('2d');
  return [0, 1, 2, 3, 4, 5].map((i) => pen.getImageData(
    Math.floor((i % 3 + 0.5) * w / 3), Math.floor((i >= 3 ? 0.75 : 0.25) * h),
    1, 1).data[3]);
})"""


def _mapped(dictionary):
  """Its first concept reads tokens; the others have no map."""
  plain = dictionary.concept

  def concept(index: int):
    record = dict(plain(index))
    empty = {name: [] for name in record['images']}
    if index:
      for side in ('images', 'texts'):
        record[side] = {
          band: [[*row[:2], None] for row in rows]
          for band, rows in record[side].items()
        }
      return record
    images = {'top': [[1, 3.2, PATCHES]], 'none': [[2, 0, SILENT]]}
    texts = {'top': [[40, 1.6, WORDS], [41, 0.8, WORDS]]}
    return record | {
      'images': empty | images,
      'texts': empty | texts,
      'heat_scale': {'images': 3.2, 'texts': 1.6},
    }

  about = {**dictionary.about, 'reads': 'tokens', 'row': ROW}
  return dataclasses.replace(dictionary, concept=concept, about=about)


class HeatTest(browser.PageTest):
  @classmethod
  def setUpClass(cls):
    made = synthetic.site(twice=False)
    made = dataclasses.replace(
      made, dictionaries=[_mapped(d) for d in made.dictionaries]
    )
    with mock.patch.object(synthetic, 'site', lambda **_: made):
      super().setUpClass()

  def card(self, index: int = 0, **context):
    page = self.open(f'#c={int(self.first.id_N[index])}', **context)
    page.locator('.card .captions').first.wait_for()
    page.wait_for_timeout(300)
    return page

  def test_what_is_silent_is_dark_and_what_fires_is_not(self):
    page = self.card()
    ((silent, most, _, gap, weak, _),) = page.evaluate(SHADE)
    self.assertEqual((silent, most), (255, 0))
    self.assertAlmostEqual(weak, 255 * (1 - 100 / 254), delta=3)
    self.assertEqual(gap, 255)
    # A picture in which nothing fires is left as it is.
    self.assertEqual(page.locator('.band.none .veil').count(), 0)
    tile = page.locator('.band.top .tile').first
    self.assertEqual(
      tile.get_attribute('aria-label'),
      'Picture 1, activation 3.2, fires on 2 of 5 patches, most in row 1, '
      'column 2: 3.2',
    )
    legend = page.locator('section:has(.tile) .heat-legend').first.inner_text()
    self.assertIn('3.2, its largest', legend)
    self.assertIn('not kept in the store', legend)
    self.assertIn(ROW, page.locator('.card').inner_text())

  def test_maps_can_be_taken_away_and_faded(self):
    page = self.card()
    veil = page.locator('.band.top .veil').first
    opacity = "getComputedStyle(document.querySelector('.band.top .veil'))"
    self.assertTrue(veil.is_visible())
    page.get_by_label('How dark').fill('20')
    self.assertEqual(page.evaluate(f'{opacity}.opacity'), '0.2')
    page.get_by_label('Where it fires').uncheck()
    self.assertFalse(veil.is_visible())
    self.assertTrue(page.get_by_label('How dark').is_disabled())
    page.get_by_label('Where it fires').check()
    self.assertTrue(veil.is_visible())

  def test_a_large_picture_tells_its_patches(self):
    page = self.card()
    page.locator('.band.top .tile').first.click()
    dialogue = page.locator('dialog')
    items = dialogue.locator('.patch-list li').all_inner_texts()
    self.assertEqual(items, ['Row 1, column 2: 3.2', 'Row 2, column 2: 1.26'])
    box = dialogue.locator('.large .picture').bounding_box()
    page.mouse.move(box['x'] + box['width'] / 2, box['y'] + 0.4 * box['height'])
    self.assertEqual(
      dialogue.locator('output').inner_text(), 'Row 1, column 2: 3.2'
    )

  def test_words_are_lit_and_tell_their_activation(self):
    page = self.card()
    line = page.locator('.lit').first
    visible = line.evaluate(
      """e => { const c = e.cloneNode(true);
      c.querySelectorAll('.unseen').forEach(u => u.remove());
      return c.textContent; }"""
    )
    self.assertEqual(visible, 'a red <i>ball here')
    marks = line.locator('mark')
    self.assertEqual(
      marks.all_text_contents(),
      ['red (activation 1.6)', '<i> (activation 0.8)'],
    )
    self.assertEqual(line.locator('.unkept').all_text_contents(), ['here'])
    tip = "getComputedStyle(document.querySelector('mark'), '::after').content"
    self.assertEqual(page.evaluate(tip), 'none')
    marks.first.hover()
    self.assertEqual(page.evaluate(tip), '"1.6"')

  def test_words_are_one_stop_of_the_tab_key_and_arrows_walk_them(self):
    page = self.card()
    stops = page.locator('mark[tabindex="0"]')
    self.assertEqual(stops.count(), 1)
    stops.focus()
    now = 'document.activeElement.firstChild.textContent'
    seen = [page.evaluate(now)]
    for key in ('ArrowRight', 'ArrowRight', 'ArrowRight', 'ArrowLeft'):
      page.keyboard.press(key)
      seen.append(page.evaluate(now))
    self.assertEqual(seen, ['red', '<i>', 'red', '<i>', 'red'])
    tip = "getComputedStyle(document.activeElement, '::after').content"
    self.assertEqual(page.evaluate(tip), '"1.6"')
    self.assertEqual(page.locator('mark[tabindex="0"]').count(), 1)

  def test_a_concept_without_maps_says_so(self):
    page = self.card(1)
    self.assertEqual(page.locator('.veil').count(), 0)
    self.assertEqual(page.locator('mark').count(), 0)
    self.assertIn('No map of patches', page.locator('.card').inner_text())

  def test_nothing_is_out_of_reach_in_either_theme(self):
    if not AXE.is_file():
      self.skipTest('axe-core is missing: run npm ci in the folder web')
    for scheme in ('light', 'dark'):
      page = self.card(color_scheme=scheme)
      page.evaluate(AXE.read_text(encoding='utf-8'))
      found = page.evaluate("axe.run('.card')")
      self.assertEqual([v['id'] for v in found['violations']], [], scheme)


if __name__ == '__main__':
  absltest.main()
