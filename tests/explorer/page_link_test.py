"""A link holds what is seen: opened elsewhere, loaded again, gone back to."""

import urllib.parse

from absl.testing import absltest

from tests.explorer import browser

_ODD = '-mod:text "a b" #&=+%25é <b>'


class LinkTest(browser.PageTest):
  def links(self) -> dict[str, dict]:
    """Links of every view, and what a page's state must hold of each."""
    ids, edges = self.first.id_N.tolist(), self.first.edges
    bridge = ids[edges.image_M[3]], ids[edges.text_M[3]]
    second = self.made.dictionaries[1].id_N.tolist()
    matched = (self.made.matches[0].index_N >= 0).argmax()
    asked = (
      {'c': ids[8], 'q': 'mod:image', 'layout': 'split', 'edges': 77}
      | {'x': 0.4, 'y': 0.6, 'z': 2.5, 'size': 'rate', 'fade': True},
      {'lasso': [0.2, 0.2, 0.8, 0.2, 0.8, 0.8], 'pics': False},
      {'view': 'table', 'sort': '-rate', 'q': 'dog', 'c': ids[20]},
      {'view': 'bridges', 'sort': 'cosine', 'only': 'cross,aligned'},
      {'view': 'missing', 'only': 'image', 'theme': 'dark'},
      {'view': 'bridge', 'b': list(bridge)},
      {'view': 'examples', 'picture': 4},
      {'view': 'examples', 'text': 40, 'theme': 'light'},
      {'view': 'compare', 'cmp': 'second', 'c': ids[matched]},
      {'view': 'bridges', 'tour': 0},
      {'view': 'about', 'q': _ODD},
      {'sae': 'second', 'c': second[5], 'z': 3.0},
    )
    return {self.link(of): of for of in asked}

  def link(self, asked: dict) -> str:
    def text(key, value):
      if isinstance(value, bool):
        return str(int(value))
      if isinstance(value, list):
        return ('-' if key == 'b' else ',').join(map(str, value))
      return str(value)

    of = {key: text(key, value) for key, value in asked.items()}
    return f'#{urllib.parse.urlencode(of)}'

  def seen(self, page) -> str:
    """All words of a view and its panel; but the map's, which come and go."""
    before, now = None, ''
    for _ in range(40):  # On a busy machine words come one shard at a time.
      self.settle(page)
      # Half a surrogate pair in a message would end pytest's other processes.
      now = page.evaluate(
        """() => {
          const copy = document.querySelector('.body').cloneNode(true);
          copy.querySelectorAll('.map, .tip').forEach((e) => e.remove());
          return copy.textContent.toWellFormed();
        }"""
      )
      if now == before:
        break
      before = now
      page.wait_for_timeout(200)
    return now

  def assertShows(self, page, state: dict, seen: str):
    """That a page comes to one state and one text, however slowly."""
    for _ in range(10):
      if self.state(page) == state and self.seen(page) == seen:
        return
      page.wait_for_timeout(500)
    self.assertEqual(self.state(page), state)
    self.assertEqual(self.seen(page), seen)

  def test_a_shared_link_shows_the_same_elsewhere(self):
    for link, asked in self.links().items():
      with self.subTest(link):
        page = self.open(link)
        seen, state = self.seen(page), self.state(page)
        self.assertEqual({key: state[key] for key in asked}, asked)
        page.get_by_role('button', name='Share', exact=True).click()
        shared = page.locator('.copyable pre').first.inner_text()
        page.context.close()
        other = self.open(shared)
        self.assertShows(other, state, seen)
        other.context.close()

  def test_a_page_shows_the_same_when_it_is_loaded_again(self):
    page = self.open()
    page.mouse.move(400, 400)
    page.mouse.wheel(0, -300)
    page.mouse.down()
    page.mouse.move(460, 380, steps=4)
    page.mouse.up()
    page.get_by_role('searchbox').fill('dog')
    page.get_by_role('slider', name='Bridges drawn').fill('90')
    page.get_by_role('combobox', name='Size of points').select_option('rate')
    page.get_by_label('Fade unreliable').check()
    page.get_by_role('button', name='Theme').click()
    state = self.state(page)
    self.assertGreater(state['z'], 1)
    self.assertNotEqual(state['x'], 0.5)
    self.assertNotIn(state['edges'], (0, 500))
    page.wait_for_timeout(600)  # Changes reach the link a moment later.
    hash_, seen = page.evaluate('location.hash'), self.seen(page)
    page.reload()
    page.evaluate('window.__explorer.ready')
    kept = self.state(page)
    for key in ('x', 'y', 'z'):  # A link rounds them.
      self.assertAlmostEqual(kept.pop(key), state.pop(key), delta=1e-3)
    self.assertEqual(kept, state)
    self.assertEqual(page.evaluate('location.hash'), hash_)
    self.assertEqual(self.seen(page), seen)

  def test_back_and_forth_go_through_what_was_seen(self):
    page = self.open()
    edges = self.first.edges
    index = int(edges.image_M[3])
    steps = [
      f"location.hash = '#c={self.first.id_N[index]}'",
      "document.querySelector('.bridge-list button.plain').click()",
      "document.querySelector('[data-view=table]').click()",
      "document.querySelector('[role=grid] .rows .row').click()",
    ]
    passed = [self.state(page)]
    for step in steps:
      page.evaluate(f'{{ {step} }}')
      self.settle(page)
      passed.append(self.state(page))
    self.assertLen({str(state) for state in passed}, len(passed))
    self.assertEqual(passed[2]['view'], 'bridge')
    for state in passed[-2::-1]:
      page.go_back()
      self.assertEqual(self.state(page), state)
    for state in passed[1:]:
      page.go_forward()
      self.assertEqual(self.state(page), state)

  def test_what_a_link_says_badly_is_as_at_first(self):
    page = self.open()
    state = self.state(page)
    link = '#view=nowhere&c=x&b=1&edges=many&z=&lasso=1,2&theme=<b>&__proto__=1'
    other = self.open(link)
    self.assertEqual(self.state(other), state)


if __name__ == '__main__':
  absltest.main()
