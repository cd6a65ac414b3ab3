"""Journeys through the page: by mouse, by keyboard alone, by link."""

import csv
import io
import pathlib

from absl.testing import absltest
import numpy as np

from saejax.explorer import schema
from tests.explorer import browser

_FOCUSED = "document.activeElement.getAttribute('class') ?? ''"


class JourneyTest(browser.PageTest):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    xy_N2 = cls.first.place_N4[:, :2]
    far_NN = np.linalg.norm(xy_N2[:, None] - xy_N2[None], axis=-1)
    np.fill_diagonal(far_NN, np.inf)
    ends = {*cls.first.edges.image_M.tolist(), *cls.first.edges.text_M.tolist()}
    named = [i for i in ends if cls.first.labels[i].strip()]
    cls.index = max(named, key=lambda i: far_NN[i].min())  # Stands alone.
    cls.id = int(cls.first.id_N[cls.index])

  def containing(self, word: str) -> int:
    return sum(word in label.lower() for label in self.first.labels)

  def test_by_mouse(self):
    page = self.open()
    page.mouse.click(*self.place(page, self.id))
    card = page.locator('.panel .card')
    card.locator('.kicker').wait_for()
    self.assertIn(f'concept {self.id}', card.locator('.kicker').inner_text())
    card.get_by_role('button', name='Bridge ', exact=False).first.click()
    page.locator('.bridge-page .contingency').wait_for()
    self.assertEqual(page.locator('.contingency .cell').count(), 4)
    ends = self.state(page)['b']
    self.assertIn(self.id, ends)
    page.go_back()
    self.until(page, "window.__explorer.state().view === 'map'")
    self.assertEqual(self.state(page)['c'], self.id)
    page.get_by_role('button', name='Close the card').click()
    self.assertIsNone(self.state(page)['c'])

  def test_a_search_narrows_map_table_and_csv_alike(self):
    page = self.open()
    page.get_by_role('searchbox').fill('dog')
    page.locator('.results').wait_for()
    n = self.containing('dog')
    self.assertIn(f'{n} concepts', page.locator('.results').inner_text())
    page.get_by_role('button', name='Concepts', exact=True).click()
    grid = page.get_by_role('grid')
    self.assertEqual(grid.get_attribute('aria-rowcount'), str(n + 1))
    page.get_by_role('columnheader').get_by_role(
      'button', name='energy'
    ).click()
    with page.expect_download() as saved:
      page.get_by_role('button', name='CSV').click()
    text = pathlib.Path(saved.value.path()).read_text(encoding='utf-8')
    rows = list(csv.DictReader(io.StringIO(text)))
    self.assertLen(rows, n)
    energy = [float(row['energy']) for row in rows]
    self.assertEqual(energy, sorted(energy, reverse=True))
    columns = {c.name: c.values for c in self.first.columns}
    of = dict(zip(self.first.id_N.tolist(), columns['energy'], strict=True))
    for row in rows:
      self.assertAlmostEqual(
        float(row['energy']) / of[int(row['id'])], 1, delta=1e-3
      )
    page.get_by_role('row').nth(1).click()
    self.assertEqual(self.state(page)['c'], int(rows[0]['id']))

  def test_a_mistake_in_a_search_is_told(self):
    page = self.open('#q=colour:red')
    self.assertIn('no column', page.locator('.searched').inner_text())

  def test_by_keyboard_alone(self):
    page = self.open()
    keys, status = page.keyboard, page.locator('.shell > [role=status]')
    keys.press('/')
    keys.type('dog')
    keys.press('Enter')
    first = self.state(page)['c']
    index = self.first.id_N.tolist().index(first)
    self.assertIn('dog', self.first.labels[index].lower())
    keys.press('Escape')
    keys.press(']')
    self.assertNotIn(self.state(page)['c'], (first, None))
    keys.press('[')
    self.assertEqual(self.state(page)['c'], first)
    keys.press('Escape')
    keys.press('Escape')
    self.assertEqual(self.state(page)['q'], '')
    for _ in range(60):
      keys.press('Tab')
      if 'surface' in page.evaluate(_FOCUSED):
        break
    self.assertIn('surface', page.evaluate(_FOCUSED))
    keys.press('ArrowRight')
    said = status.inner_text()
    keys.press('ArrowRight')
    self.assertStartsWith(status.inner_text(), 'Concept ')
    self.assertNotEqual(status.inner_text(), said)
    keys.press('Enter')
    page.locator('.panel .card').wait_for()
    keys.press('+')
    self.assertGreater(self.state(page)['z'], 1)
    keys.press('0')
    self.assertEqual(self.state(page)['z'], 1)
    keys.press('?')
    page.get_by_role('dialog').wait_for()
    keys.press('Escape')
    self.assertEqual(page.get_by_role('dialog').count(), 0)
    self.assertIsNotNone(self.state(page)['c'])

  def test_b_goes_from_bridge_to_bridge(self):
    page = self.open(f'#c={self.id}')
    page.locator('.surface').focus()
    edges = self.first.edges
    own = np.flatnonzero(
      (edges.image_M == self.index) | (edges.text_M == self.index)
    )
    page.keyboard.press('b')
    said = page.locator('.shell > [role=status]').inner_text()
    self.assertStartsWith(said, f'Bridge 1 of {len(own)}')
    ends = int(edges.image_M[own[0]]), int(edges.text_M[own[0]])
    other = ends[1] if ends[0] == self.index else ends[0]
    page.keyboard.press('Enter')
    self.assertEqual(self.state(page)['c'], self.first.id_N[other])

  def test_image_concepts_are_on_the_left_of_the_other_layout(self):
    page = self.open('#layout=split')
    of = schema.CLASSES.index
    middles = {}
    for name in ('image', 'text'):
      ids = self.first.id_N[self.first.class_N == of(name)][:4]
      middles[name] = np.mean([self.place(page, int(i))[0] for i in ids])
    self.assertLess(middles['image'] + 300, middles['text'])

  def test_a_lasso_keeps_what_it_holds(self):
    page = self.open()
    x, y = self.place(page, self.id)
    page.keyboard.down('Shift')
    page.mouse.move(x - 90, y - 90)
    page.mouse.down()
    for corner in ((90, -90), (90, 90), (-90, 90), (-90, -90)):
      page.mouse.move(x + corner[0], y + corner[1], steps=6)
    page.mouse.up()
    page.keyboard.up('Shift')
    page.get_by_role('heading', name='Inside the lasso').wait_for()
    found = page.locator('.panel .found .concept-link').count()
    places = page.evaluate(
      '(ids) => ids.map((id) => window.__explorer.project(id))',
      self.first.id_N.tolist(),
    )
    inside = sum(abs(u - x) < 88 and abs(v - y) < 88 for u, v in places)
    self.assertAlmostEqual(found, inside, delta=3)
    self.assertIn('lasso=', page.evaluate('location.hash'))

  def test_a_link_holds_everything(self):
    link = (
      f'#c={self.id}&q=mod:image&layout=split&edges=77&x=0.4&y=0.6&z=2.5'
      '&theme=dark&size=rate&fade=1'
    )
    page = self.open(link)
    state, place = self.state(page), self.place(page, self.id)
    page.get_by_role('button', name='Share', exact=True).click()
    shared = page.locator('.copyable pre').first.inner_text()
    other = self.open(shared)
    self.assertEqual(self.state(other), state)
    self.assertEqual(self.place(other, self.id), place)
    self.assertEqual(state['edges'], 77)

  def test_a_picture_and_a_drawing_of_the_map(self):
    page = self.open()
    page.get_by_role('button', name='Share', exact=True).click()
    heads = {'PNG': b'\x89PNG', 'SVG': b'<svg'}
    for name, head in heads.items():
      with page.expect_download() as saved:
        page.get_by_role('button', name=f'{name} of the map').click()
      data = pathlib.Path(saved.value.path()).read_bytes()
      self.assertStartsWith(data, head)
      self.assertGreater(len(data), 10_000)

  def test_two_dictionaries_side_by_side(self):
    page = self.open('#view=compare')
    page.locator('.compare canvas').nth(1).wait_for()
    rows = page.get_by_role('grid')
    matched = int((self.made.matches[0].index_N >= 0).sum())
    self.assertEqual(rows.get_attribute('aria-rowcount'), str(matched + 1))
    page.get_by_role('row').nth(1).click()
    page.locator('.partner .card').wait_for()
    page.get_by_role('combobox', name='Dictionary').select_option('second')
    self.until(page, "window.__explorer.state().sae === 'second'")
    page.locator('.compare canvas').nth(1).wait_for()

  def test_examples_lead_to_concepts(self):
    page = self.open('#view=examples')
    page.locator('.gallery .tile').first.click()
    page.locator('.panel .bars li').first.wait_for()
    self.assertEqual(page.locator('.panel .bars li').count(), 6)

  def test_the_tour_is_walked(self):
    page = self.open()
    page.get_by_role('button', name='Take the tour').click()
    page.get_by_role('heading', name='First').wait_for()
    self.assertEqual(self.state(page)['view'], 'bridges')
    page.get_by_role('button', name='Done').click()
    self.assertFalse(page.locator('.tour').is_visible())


if __name__ == '__main__':
  absltest.main()
