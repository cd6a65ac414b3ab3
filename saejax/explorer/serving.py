"""Serves a site to this machine alone."""

from collections.abc import Callable
import contextlib
import functools
import http.server
import os
import socketserver

from saejax import errors
from saejax.explorer import schema

HOST = '127.0.0.1'
_TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.webp': 'image/webp',
  '.bin': 'application/octet-stream',
  '.txt': 'text/plain; charset=utf-8',
}


class _Handler(http.server.SimpleHTTPRequestHandler):
  extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | _TYPES

  def end_headers(self):
    self.send_header('Cache-Control', 'no-cache')  # A site is often remade.
    self.send_header('X-Content-Type-Options', 'nosniff')
    super().end_headers()

  def log_message(self, format, *args):
    del format, args


def make_server(site: str, port: int) -> socketserver.BaseServer:
  """A server of a site's folder on localhost; port 0 takes any that is free.

  Raises:
    UserError: there is no site, or the port cannot be had.
  """
  if not os.path.isfile(os.path.join(site, *schema.INDEX.split('/'))):
    raise errors.UserError(
      f'There is no site at {site}: it has no {schema.INDEX}. Give --analysis '
      'to make one.'
    )
  handler = functools.partial(_Handler, directory=site)
  try:
    return http.server.ThreadingHTTPServer((HOST, port), handler)
  except (OSError, OverflowError) as e:
    why = getattr(e, 'strerror', None) or e
    raise errors.UserError(
      f'--port={port} cannot be used: {why}. Choose another, or 0 for any.'
    ) from None


def _say(line: str) -> None:
  print(line, flush=True)  # Who reads through a pipe waits for the address.


def serve(site: str, port: int, say: Callable[[str], None] = _say) -> None:
  """Serves until interrupted; says where."""
  with make_server(site, port) as server:
    say(f'http://{HOST}:{server.server_address[1]}/   (Ctrl-C ends)')
    with contextlib.suppress(KeyboardInterrupt):
      server.serve_forever()
