"""What may go wrong: damage, hostile words, no WebGL, no server."""

import json
import pathlib
import urllib.parse

from absl.testing import absltest

from saejax.explorer import single_file
from tests.explorer import browser
from tests.explorer import hostile


def one_bit_off(data: bytes) -> bytes:
  return data[:-1] + bytes([data[-1] ^ 1])


class SafetyTest(browser.PageTest):
  def damaged(self, file: str, body: bytes | None = None, link: str = ''):
    """The page of a site in which a file is damaged, or missing."""

    def answer(route):
      if body is None:
        route.fulfill(status=404, body='')
      else:
        route.fulfill(status=200, body=body)

    page = self.open('#view=about')
    page.context.route(f'**/{file}*', answer)
    page.goto('about:blank')
    page.goto(self.address + link)
    return page

  def bytes_of(self, file: str) -> bytes:
    return pathlib.Path(self.folder, file).read_bytes()

  def test_a_damaged_or_missing_file_is_named(self):
    for file, change, said in (
      ('data/first/points.bin', lambda b: b[:-8], 'bytes'),
      ('data/first/labels.json', lambda b: b[:-1] + b' ', 'SHA-256'),
      ('data/first/flags.bin', lambda b: None, 'HTTP 404'),
      ('data/index.json', lambda b: b[:50], 'JSON'),
      ('data/first/meta.json', lambda b: b'{"format":"x/9"}', 'x/9'),
    ):
      with self.subTest(file):
        page = self.damaged(file, change(self.bytes_of(file)))
        problem = page.locator('.problem')
        problem.wait_for()
        self.assertIn(file, problem.inner_text())
        self.assertIn(said, problem.inner_text())

  def test_a_damaged_shard_leaves_the_rest_at_work(self):
    file = 'data/first/concepts/0000.json'
    id_ = int(self.first.id_N[0])
    body = self.bytes_of(file).replace(b'"note":null', b'"note":true', 1)
    page = self.damaged(file, body, f'#c={id_}')
    problem = page.locator('.panel .problem')
    problem.wait_for()
    self.assertIn(file, problem.inner_text())
    page.get_by_role('button', name='Bridges', exact=True).click()
    page.get_by_role('grid').wait_for()

  def test_evidence_that_is_damaged_is_told_where_it_would_be(self):
    ids, edges = self.first.id_N, self.first.edges
    ends = ids[edges.image_M[0]], ids[edges.text_M[0]]
    for file, link in (
      ('data/first/bridges/0000.json', f'#view=bridge&b={ends[0]}-{ends[1]}'),
      ('text/0000.json', '#view=examples&text=40'),
      ('data/first/pictures.json', '#view=examples'),
      ('data/first/near.bin', f'#c={ids[0]}'),
    ):
      with self.subTest(file):
        page = self.damaged(file, one_bit_off(self.bytes_of(file)), link)
        problem = page.locator('.problem').first
        problem.wait_for()
        self.assertIn(file, problem.inner_text())
        self.assertIn('SHA-256', problem.inner_text())
        page.context.close()

  def test_a_damaged_picture_is_told_in_its_place(self):
    file = 'img/pack/000.bin'
    damage = one_bit_off(self.bytes_of(file))
    page = self.damaged(file, damage, '#view=examples')
    lost = page.locator('.gallery .lost').first
    lost.wait_for()
    self.assertIn('is damaged', lost.inner_text())

  def test_words_of_a_link_are_only_ever_text(self):
    page = self.open()
    for said in hostile.STRINGS[:8]:
      quoted = urllib.parse.quote(said)
      for key in ('q', 'sort', 'only', 'size', 'cmp', 'sae', 'c', 'theme'):
        page.evaluate(f'location.hash = {json.dumps(f"#{key}={quoted}")}')
      page.evaluate(f'location.hash = {json.dumps(f"#q=colour:{quoted}")}')
    page.get_by_role('searchbox').fill(f'colour:{hostile.STRINGS[1]}')
    self.assertIn('no column', page.locator('.searched').inner_text())
    self.check_nothing_ran(page)

  def check_nothing_ran(self, page) -> None:
    self.assertIsNone(page.evaluate('window.__hacked ?? null'))
    for tag in ('script[src="x"]', 'img[src="x"]', '#app i', '#app b'):
      self.assertEqual(page.locator(tag).count(), 0, tag)
    for tag in ('[onerror]', '[onload]', '[href^="javascript"]', 'iframe'):
      self.assertEqual(page.locator(tag).count(), 0, tag)

  def test_words_from_the_web_are_only_ever_text(self):
    said = hostile.STRINGS[0]
    index = self.first.labels.index(said)
    page = self.open(f'#c={self.first.id_N[index]}')
    page.locator('.card .details h3').first.wait_for()
    self.assertEqual(page.locator('.card h2').inner_text(), said)
    for view in ('map', 'table', 'bridges', 'missing', 'examples', 'about'):
      page.evaluate(f"location.hash = '#view={view}'")
      self.until(page, f"window.__explorer.state().view === '{view}'")
    for i in range(len(hostile.STRINGS)):
      page.evaluate(f"location.hash = '#c={self.first.id_N[i]}'")
      page.wait_for_timeout(50)
    self.check_nothing_ran(page)

  def test_a_sensitive_picture_waits_to_be_asked(self):
    page = self.open('#view=examples')
    hidden = page.locator('.gallery .blurred')
    hidden.first.wait_for()
    shown = len([i for i in self.made.pictures.sensitive if i < 60])
    self.assertEqual(hidden.count(), shown)

  def test_a_link_to_nothing_says_so(self):
    page = self.open('#c=999999&view=bridge&b=1-999999&sae=nothing')
    page.get_by_role('heading', name='No concept 999999').wait_for()
    page.get_by_role('heading', name='No such bridge').wait_for()

  def test_opened_as_a_file_it_says_what_it_needs(self):
    page = self.open(f'file://{self.folder}/index.html', ready=False)
    page.get_by_role('heading', name='needs a server').wait_for()

  def test_a_single_file_needs_no_server(self):
    path = pathlib.Path(self.folder).parent / 'one.html'
    path.write_text(single_file.combine(self.folder), encoding='utf-8')
    id_ = int(self.first.id_N[0])
    page = self.open(f'file://{path}#c={id_}')
    page.locator('.card .details h3').first.wait_for()
    self.assertEqual(page.evaluate('window.__explorer.stats().points'), 300)
    fetched = [url for url in self.requests if not url.startswith('blob:')]
    files = [u for u in fetched if not u.startswith('data:')]
    self.assertEqual([u.partition('#')[0] for u in files], [f'file://{path}'])

  def test_a_lost_graphics_context_is_survived(self):
    page = self.open()
    self.until(page, 'window.__explorer.stats().frames > 0')
    page.evaluate(
      "document.querySelector('.map canvas').getContext('webgl2')"
      ".getExtension('WEBGL_lose_context').loseContext()"
    )
    self.until(page, "window.__explorer.stats().renderer === 'canvas2d'")


class FallbackTest(browser.PageTest):
  arguments = browser.NO_WEBGL

  def test_without_webgl_a_plain_canvas_draws(self):
    page = self.open()
    self.until(page, 'window.__explorer.stats().frames > 0')
    stats = page.evaluate('window.__explorer.stats()')
    self.assertEqual(stats['renderer'], 'canvas2d')
    self.assertEqual(stats['edges'], 500)
    drawn = page.evaluate(
      """() => {
        const canvas = document.querySelector('.map canvas');
        const pen = canvas.getContext('2d');
        const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
        return data.filter((v, i) => i % 4 === 3 && v > 200).length;
      }"""
    )
    self.assertGreater(drawn, 3000)
    id_ = int(self.first.id_N[3])
    page.mouse.click(*self.place(page, id_))
    page.locator('.panel .card').wait_for()


if __name__ == '__main__':
  absltest.main()
