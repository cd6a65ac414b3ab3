"""An OpenAI-compatible endpoint on this machine that tests start."""

import base64
from collections.abc import Callable
import contextlib
import http.server
import io
import json
import threading
from typing import Any

import numpy as np
from PIL import Image


class Stub:
  """What was asked of it, and where it is."""

  def __init__(self, url: str):
    self.url = url
    self.asked: list[dict[str, Any]] = []
    self.keys: list[str | None] = []


def pixels(part: dict[str, Any]) -> np.ndarray:
  """The image [H, W, 3] of a part of a message."""
  head, _, data = part['image_url']['url'].partition(',')
  assert head == 'data:image/jpeg;base64', head
  with Image.open(io.BytesIO(base64.b64decode(data, validate=True))) as image:
    return np.asarray(image)


@contextlib.contextmanager
def serve(answer: Callable[..., Any], fails: list[int] | None = None):
  """Serves until the block ends; gives a `Stub`.

  Args:
    answer: from the words of the last message, and its images if it has any,
      to the answer's; an exact response if it gives bytes.
    fails: codes that the first requests are answered by.
  """
  fails = list(fails or [])

  class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
      del args

    def do_POST(self):
      length = int(self.headers['Content-Length'])
      body = json.loads(self.rfile.read(length))
      stub.asked.append(body)
      stub.keys.append(self.headers.get('Authorization'))
      code = fails.pop(0) if fails else 200
      content = body['messages'][-1]['content']
      images = []
      if not isinstance(content, str):
        images = [[pixels(p) for p in content if 'image_url' in p]]
        content = ''.join(part.get('text', '') for part in content)
      found = answer(content, *images)
      if not isinstance(found, bytes):
        found = json.dumps(
          {
            'choices': [{'message': {'content': found}}],
            'usage': {'total_tokens': 7},
          }
        ).encode()
      if self.path != '/v1/chat/completions':
        code = 404
      self.send_response(code)
      self.end_headers()
      self.wfile.write(found)

  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
  stub = Stub(f'http://127.0.0.1:{server.server_address[1]}/v1')
  thread = threading.Thread(target=server.serve_forever, daemon=True)
  thread.start()
  try:
    yield stub
  finally:
    server.shutdown()
    server.server_close()
    thread.join()
