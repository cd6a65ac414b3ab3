"""A whole site inside one HTML file, which opens without a server."""

import base64
from collections.abc import Callable
import hashlib
import html
import os
import pathlib
import re

from saejax import errors
from saejax.explorer import content
from saejax.explorer import schema

MOST = 2000  # Concepts: more make a file that browsers are slow to open.
_FOLDERS = ('data', 'img', 'text')
_STYLE = re.compile(r'<link\b[^>]*\bhref=["\']app\.css[^>]*>')
_SCRIPT = re.compile(
  r'<script\b([^>]*?)\s+src=["\']app\.js[^"\']*["\']([^>]*)>\s*</script>'
)
_POLICY = re.compile(
  r'(<meta\b[^>]*http-equiv=["\']Content-Security-Policy["\'][^>]*'
  r'\bcontent=)(["\'])(.*?)\2',
  re.DOTALL,
)


def check(site: content.Site) -> None:
  """UserError if a site is too large for one file."""
  n = sum(len(d.id_N) for d in site.dictionaries)
  if n > MOST:
    raise errors.UserError(
      f'--single_file: the site has {n:,} concepts; one file holds {MOST:,} at '
      'most. Leave the flag out, and serve the folder.'
    )


def check_path(out: str) -> None:
  """UserError unless a file of this name may be written."""
  if not out.endswith('.html'):
    raise errors.UserError(
      f'--single_file: --out={out} must be the name of a file that ends in '
      '.html.'
    )
  if os.path.exists(out):
    raise errors.UserError(f'--out={out} is there already; choose another.')


def _hash(text: str) -> str:
  """How a policy names what is inline."""
  digest = hashlib.sha256(text.encode('utf-8')).digest()
  return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _policy(policy: str, script: str, style: str) -> str:
  """A policy under which just this script and this style run.

  Nothing is fetched any more; pictures are blobs.
  """
  rules = {}
  for rule in policy.split(';'):
    if words := rule.split():
      rules[words[0]] = words[1:]
  for name, text in (('script-src', script), ('style-src', style)):
    kept = [w for w in rules.get(name, []) if w != "'self'"]
    rules[name] = [*kept, _hash(text)]
  return '; '.join(' '.join([name, *words]) for name, words in rules.items())


def _inline(
  page: str, pattern: re.Pattern, new: Callable[[re.Match], str], what: str
) -> str:
  """The page with the one tag of a pattern replaced."""
  page, n = pattern.subn(new, page)
  if n != 1:
    raise errors.UserError(
      f'index.html has {n} {what}; expected one. Install saejax again.'
    )
  return page


def _files(folder: pathlib.Path) -> dict[str, str]:
  return {
    path.relative_to(folder).as_posix(): base64.b64encode(
      path.read_bytes()
    ).decode('ascii')
    for name in _FOLDERS
    for path in sorted((folder / name).rglob('*'))
    if path.is_file()
  }


def combine(folder: str) -> str:
  """The page of a written site with everything in it.

  Script and style stand inline, named by their hashes in the policy; all other
  files in `<script type="application/json" id="bundle">`, by path, in
  base64.
  """
  root = pathlib.Path(folder)
  read = lambda name: (root / name).read_text(encoding='utf-8')
  script, style, page = read('app.js'), read('app.css'), read('index.html')
  # Inside a script element this alone would end it.
  script = re.sub(r'</(script)', r'<\\/\1', script, flags=re.IGNORECASE)
  files = schema.dump(_files(root)).decode('ascii')
  page = _inline(
    page, _STYLE, lambda _: f'<style>{style}</style>', 'links to app.css'
  )
  page = _inline(
    page,
    _SCRIPT,
    lambda tag: (
      f'<script type="application/json" id="bundle">{files}</script>\n'
      f'<script{tag[1]}{tag[2]}>{script}</script>'
    ),
    'scripts app.js',
  )
  found = _POLICY.search(page)
  if found is None:
    return page
  policy = _policy(html.unescape(found[3]), script, style)
  quoted = html.escape(policy, quote=False).replace('"', '&quot;')
  start, end = found.span()
  return f'{page[:start]}{found[1]}"{quoted}"{page[end:]}'
