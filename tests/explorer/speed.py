"""How long the page of a large site takes, in headless Chromium.

PYTHONPATH=. python -m tests.explorer.speed [CONCEPTS [BRIDGES]]
"""

import contextlib
import os
import sys
import tempfile
import time

import numpy as np

from saejax.explorer import writing
from tests.explorer import browser
from tests.explorer import synthetic

_QUERIES = (
  'red', 'dog', 'photo', 'snow beach', 'mod:image', 'mod:text bridge:>0.3',
  'red mod:shared', '1234', 'painted energy:>0.01', 'zzz',
)  # fmt: skip
_TIMES = 3
_SIZE = {'width': 1280, 'height': 800}


def _size(folder: str) -> int:
  """Bytes of all files."""
  return sum(
    os.path.getsize(os.path.join(at, name))
    for at, _, names in os.walk(folder)
    for name in names
  )


def _pan(page) -> None:
  """Drags the map; each move asks for a frame."""
  page.mouse.move(640, 400)
  page.mouse.down()
  for i in range(40):
    page.mouse.move(640 + 3 * i, 400 + 2 * i)
  page.mouse.up()


def measure(chromium, address: str) -> dict[str, float]:
  """Medians over fresh visits: ms of the first view, a search and a frame."""
  found: dict[str, list[float]] = {}
  for _ in range(_TIMES):
    with contextlib.closing(chromium.new_context(viewport=_SIZE)) as around:
      page = around.new_page()
      page.goto(address)
      page.evaluate('window.__explorer.ready')
      while not page.evaluate('window.__explorer.stats()?.frames > 0'):
        page.wait_for_timeout(5)
      now = page.evaluate('performance.now()')
      found.setdefault('first view, ms', []).append(now)
      for query in _QUERIES:
        ms = page.evaluate('q => window.__explorer.search(q).ms', query)
        found.setdefault('search, ms', []).append(ms)
      _pan(page)
      stats = page.evaluate('window.__explorer.stats()')
      found.setdefault('frame, ms of the main thread', []).append(
        stats['submit']
      )
  most = {'slowest search, ms': max(found['search, ms'])}
  return {k: float(np.median(v)) for k, v in found.items()} | most


def main() -> None:
  n, m = map(int, (*sys.argv[1:], '50000', '100000')[:2])
  api, path = browser.find()
  with tempfile.TemporaryDirectory() as root:
    folder, start = os.path.join(root, 'site'), time.process_time()
    synthetic.write(folder, writing.static_folder(), n=n, m=m, twice=False)
    print(f'{n:,} concepts, {m:,} bridges: {_size(folder) / 1e6:.0f} MB')
    print(f'written in {time.process_time() - start:.0f} s of CPU')
    with browser.serve(root) as origin, api.sync_playwright() as playwright:
      chromium = playwright.chromium.launch(
        executable_path=path, args=['--no-sandbox']
      )
      for name, value in measure(chromium, f'{origin}/site/').items():
        print(f'{name}: {value:.1f}')
      chromium.close()


if __name__ == '__main__':
  main()
