"""The page on a phone: fingers alone, a small screen, nothing too small."""

from absl.testing import absltest
import numpy as np

from tests.explorer import browser

_PHONE = {
  'viewport': {'width': 390, 'height': 844},
  'has_touch': True,
  'is_mobile': True,
  'device_scale_factor': 2,
}
_FINGER = 44  # Pixels that a target needs.
# Links within a line of text may be as high as it is.
_TARGETS = 'button:visible, select:visible, input:visible, summary:visible'


def concept_alone(dictionary) -> int:
  """The index of a named concept with a bridge, far from any other."""
  xy_N2 = dictionary.place_N4[:, :2]
  far_NN = np.linalg.norm(xy_N2[:, None] - xy_N2[None], axis=-1)
  np.fill_diagonal(far_NN, np.inf)
  ends = {*dictionary.edges.image_M.tolist()}
  named = [i for i in ends if dictionary.labels[i].strip()]
  return max(named, key=lambda i: far_NN[i].min())


class PhoneTest(browser.PageTest):
  def setUp(self):
    super().setUp()
    self.index = concept_alone(self.first)
    self.id = int(self.first.id_N[self.index])

  def fingers(self, page, *paths) -> None:
    """Fingers that go down together, along paths of equal length, and up."""
    session = page.context.new_cdp_session(page)
    send = lambda kind, points: session.send(
      'Input.dispatchTouchEvent', {'type': kind, 'touchPoints': points}
    )
    at = lambda step: [
      {'x': path[step][0], 'y': path[step][1], 'id': i}
      for i, path in enumerate(paths)
    ]
    send('touchStart', at(0))
    for step in range(1, len(paths[0])):
      send('touchMove', at(step))
    send('touchEnd', [])

  def test_from_a_point_to_its_bridge_by_touch(self):
    page = self.open(**_PHONE)
    page.touchscreen.tap(*self.place(page, self.id))
    page.locator('.panel .card').wait_for()
    self.assertEqual(self.state(page)['c'], self.id)
    low = page.locator('.panel').bounding_box()['height']
    page.locator('.grip').tap()
    page.wait_for_timeout(400)
    high = page.locator('.panel').bounding_box()['height']
    self.assertGreater(high, low + 200)
    page.locator('.bridge-list button.plain').first.tap()
    page.locator('.bridge-page .contingency').wait_for()
    self.assertIn(self.id, self.state(page)['b'])
    page.get_by_role('button', name='Close the card').tap()
    self.assertIsNone(self.state(page)['c'])
    self.assertFalse(page.locator('.panel').is_visible())
    page.get_by_role('button', name='Concepts', exact=True).tap()
    page.locator('[role=grid] .rows .row').nth(1).tap()
    page.locator('.panel .card').wait_for()

  def test_fingers_move_and_pinch_the_map_and_not_the_page(self):
    page = self.open(**_PHONE)
    before = self.place(page, self.id)
    self.fingers(page, [(150 + 10 * i, 420 + 8 * i) for i in range(11)])
    moved = self.place(page, self.id)
    # The first pixels, which may still be a tap, move nothing.
    np.testing.assert_allclose(np.subtract(moved, before), (100, 80), atol=20)
    self.assertEqual(self.state(page)['z'], 1)
    self.assertIsNone(self.state(page)['c'])
    steps = range(11)
    self.fingers(
      page,
      [(170 - 5 * i, 400) for i in steps],
      [(220 + 5 * i, 400) for i in steps],
    )
    self.assertAlmostEqual(self.state(page)['z'], 3, delta=0.5)  # 150 / 50.
    place = page.evaluate('[scrollX, scrollY, visualViewport.scale]')
    self.assertEqual(place, [0, 0, 1])

  def test_every_view_fits_and_its_targets_are_for_fingers(self):
    page = self.open(**_PHONE)
    ids, edges = self.first.id_N, self.first.edges
    ends = ids[edges.image_M[0]], ids[edges.text_M[0]]
    views = ('', 'table', 'bridges', 'missing', 'examples', 'compare', 'about')
    links = [f'#view={view}' for view in views]
    links += [f'#view=bridge&b={ends[0]}-{ends[1]}', f'#c={ids[0]}', '#q=dog']
    links += ['#view=examples&picture=4']
    for link in links:
      with self.subTest(link):
        page.evaluate(f"location.hash = '{link}'")
        self.settle(page)
        wide = page.evaluate('document.documentElement.scrollWidth')
        self.assertEqual(wide, 390)
        small = page.locator(_TARGETS).evaluate_all(
          """(all, least) => all
            .map((e) => [e, (e.closest('label') ?? e).getBoundingClientRect()])
            .filter(([, box]) => box.width && box.height < least)
            .map(([e, box]) => [e.outerHTML.slice(0, 120), box.height])""",
          _FINGER - 0.5,
        )
        self.assertEmpty(small)


if __name__ == '__main__':
  absltest.main()
