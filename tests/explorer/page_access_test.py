"""The page for everyone: two themes, keys alone, and a scanner of both."""

import io

from absl.testing import absltest
import numpy as np
from PIL import Image

from tests.explorer import browser

_PHONE = {'width': 390, 'height': 844}
_RULES = (
  'axe.run(document, {resultTypes: ["violations"]})'
  '.then((r) => r.violations.map((v) => [v.id, v.impact,'
  '  v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160))]))'
)
_FOCUSED = """() => {
  const at = document.activeElement;
  const box = at.getBoundingClientRect();
  const look = getComputedStyle(at);
  return {
    body: at === document.body,
    name: at.getAttribute('aria-label') || at.textContent || at.placeholder,
    class: at.getAttribute('class') || '',
    seen: box.width > 0 && box.height > 0 && box.right > 0 && box.bottom > 0
      && box.left < innerWidth && box.top < innerHeight,
    marked: look.outlineStyle !== 'none' && parseFloat(look.outlineWidth) > 0,
  };
}"""


def pixels(page, selector: str) -> np.ndarray:
  """What is drawn of an element: RGB, [height, width, 3] of 0..255."""
  data = page.locator(selector).screenshot()
  return np.asarray(Image.open(io.BytesIO(data)).convert('RGB')).astype(int)


class AccessTest(browser.PageTest):
  def links(self) -> list[str]:
    ids, edges = self.first.id_N, self.first.edges
    bridge = ids[edges.image_M[0]], ids[edges.text_M[0]]
    views = ('', 'table', 'bridges', 'missing', 'examples', 'compare', 'about')
    # Of concepts 0 and 5: one with maps of patches, one that is steered.
    cards = [f'#c={ids[i]}' for i in (0, 5)]
    return [
      *(f'#view={view}' for view in views),
      *cards,
      f'#view=bridge&b={bridge[0]}-{bridge[1]}',
      '#q=dog',
      '#q=colour:red',
      '#view=examples&picture=4',
      '#layout=split&tour=0',
      '#c=999999',
    ]

  def scan(self, page, what: str) -> None:
    with self.subTest(what):
      self.settle(page)
      page.wait_for_timeout(300)  # For what fades in.
      self.assertEmpty(page.evaluate(_RULES))

  def check_every_view(self, theme: str, **context) -> None:
    script = browser.axe()
    page = self.open(f'#theme={theme}', **context)
    self.assertEqual(
      page.evaluate('document.documentElement.dataset.theme'), theme
    )
    page.evaluate(script)
    for link in self.links():
      page.evaluate(f"location.hash = '{link}&theme={theme}'")
      self.scan(page, f'{theme} {link}')
    page.evaluate(f"location.hash = '#theme={theme}'")
    for name in ('Share', 'Help'):
      page.get_by_role('button', name=name, exact=True).click()
      self.scan(page, f'{theme} {name}')
      page.keyboard.press('Escape')

  def test_a_scanner_finds_nothing_in_the_light_theme(self):
    self.check_every_view('light')

  def test_a_scanner_finds_nothing_in_the_dark_theme(self):
    self.check_every_view('dark')

  def test_a_scanner_finds_nothing_on_a_phone(self):
    self.check_every_view(
      'light', viewport=_PHONE, has_touch=True, is_mobile=True
    )

  def test_the_scanner_sees_what_is_wrong(self):
    page = self.open('#view=about')
    page.evaluate(browser.axe())
    page.evaluate(
      """() => {
        document.querySelector('main h2').style.color = '#ccc';
        const field = document.createElement('input');
        document.querySelector('main').append(field);
      }"""
    )
    found = {rule for rule, *_ in page.evaluate(_RULES)}
    self.assertContainsSubset({'color-contrast', 'label'}, found)

  def test_themes_are_chosen_or_the_systems(self):
    page = self.open(color_scheme='dark')
    theme = page.get_by_role('button', name='Theme')
    shown = 'document.documentElement.dataset.theme'
    found = [(self.state(page)['theme'], page.evaluate(shown))]
    for _ in range(3):
      theme.click()
      found.append((self.state(page)['theme'], page.evaluate(shown)))
    first = 'auto', 'dark'
    self.assertEqual(
      found, [first, ('dark', 'dark'), ('light', 'light'), first]
    )

  def test_the_map_changes_its_colours_with_the_system(self):
    page = self.open(color_scheme='light')
    self.until(page, 'window.__explorer.stats().frames > 0')

    drawn = lambda of: (of.wait_for_timeout(500), pixels(of, '.map canvas'))[1]
    light = drawn(page)
    page.emulate_media(color_scheme='dark')
    dark = drawn(page)
    self.assertGreater(np.median(light), 240)
    self.assertLess(np.median(dark), 40)
    other = self.open('#theme=dark')
    self.until(other, 'window.__explorer.stats().frames > 0')
    apart = np.abs(dark - drawn(other)).max(axis=-1)
    self.assertLess((apart > 40).mean(), 0.002)
    self.assertGreater((np.abs(light - dark).max(axis=-1) > 40).mean(), 0.9)

  def test_tab_goes_through_everything_and_is_seen(self):
    page = self.open()
    passed = []
    for _ in range(150):
      page.keyboard.press('Tab')
      at = page.evaluate(_FOCUSED)
      if at['body'] or (passed and at['name'] == passed[0]):
        break
      passed.append(at['name'])
      self.assertTrue(at['seen'] and at['marked'], at)
    else:
      self.fail('Tab never comes round')
    self.assertEqual(passed[0], 'Skip to the view')
    all_ = page.locator('button:visible, input:visible, select:visible')
    names = all_.evaluate_all(
      "all => all.map((e) => e.getAttribute('aria-label') || e.textContent"
      ' || e.placeholder)'
    )
    self.assertContainsSubset([n for n in names if n.strip()], passed)

  def test_from_a_search_to_a_bridge_and_a_file_by_keys_alone(self):
    page = self.open()
    keys = page.keyboard
    keys.press('/')
    keys.type('dog')
    keys.press('Enter')
    self.settle(page)
    chosen = self.state(page)['c']
    self.walk(page, lambda at: at['name'].startswith('Bridge '))
    keys.press('Enter')
    page.locator('.bridge-page .contingency').wait_for()
    self.assertIn(chosen, self.state(page)['b'])
    self.walk(page, lambda at: at['name'] == 'Map', 'Shift+Tab')
    keys.press('Enter')
    self.until(page, "window.__explorer.state().view === 'map'")
    self.assertEqual(self.state(page)['c'], chosen)
    self.walk(page, lambda at: at['name'] == 'Concepts')
    keys.press('Enter')
    page.get_by_role('grid').wait_for()
    self.walk(page, lambda at: 'row' in at['class'].split())
    keys.press('Home')
    keys.press('ArrowDown')
    keys.press('Enter')
    second = page.locator('[role=grid] .rows [aria-rowindex="3"]')
    self.assertEqual(second.get_attribute('aria-selected'), 'true')
    self.assertNotEqual(self.state(page)['c'], None)
    self.walk(page, lambda at: at['name'] == 'CSV', 'Shift+Tab')
    with page.expect_download() as saved:
      keys.press('Enter')
    self.assertEndsWith(saved.value.suggested_filename, '-concepts.csv')

  def walk(self, page, there, key: str = 'Tab') -> None:
    """Tabs to what is looked for."""
    for _ in range(120):
      page.keyboard.press(key)
      if there(page.evaluate(_FOCUSED)):
        return
    self.fail('Tab does not lead there')


if __name__ == '__main__':
  absltest.main()
