"""Stores of token rows by layer, in which a class is where it was planted.

In layer 0 no class can be told; in layer 1 each has a direction at the image,
and the same in texts, which lie elsewhere.
"""

import numpy as np

from saejax import store as store_lib

D, CLASSES, TOKENS = 12, 3, 4
WIDER = 5  # A vision tower's rows, by so much.
NAMES = ('red', 'green', 'blue')
_COLUMNS = ('group', 'split', 'pair', 'position', 'token_id', 'label')


def directions() -> np.ndarray:
  return np.linalg.qr(np.random.default_rng(5).normal(size=(D, D)))[0][:CLASSES]


def write(
  path: str,
  n: int = 120,
  pool: bool = False,
  strength: float = 3.0,
  tower: float | None = None,
  splits: tuple[int, ...] = (0, 0, 0, 1, 2),
):
  """Writes n examples of TOKENS tokens, or their means; the path.

  Args:
    path: of the store.
    n: examples.
    pool: whether rows are means.
    strength: of the classes in layer 1.
    tower: of the classes in what a vision tower gives, where rows are wider;
      None for no such stream.
    splits: codes of splits, which go round.
  """
  example_N = np.repeat(np.arange(n), TOKENS)
  label_n = np.arange(n) % CLASSES
  split_n = np.array(splits)[np.arange(n) // CLASSES % len(splits)]
  label_N = label_n[example_N]
  rng = np.random.default_rng(0)
  names = tuple(f'colour={c}' for c in NAMES)
  spec = lambda modality, d=D: store_lib.StreamSpec(
    d=d,
    modality=modality,
    columns=('group', 'split', 'pair') if pool else _COLUMNS,
    labels=names if pool else (),
  )
  streams = {
    f'layer{layer:02d}.{context}': spec(context)
    for layer in (0, 1)
    for context in ('image', 'text')
  }
  if tower is not None:
    streams['tower.image'] = spec('image', D + WIDER)
  about = {'dataset': {'name': 'by hand', 'classes': list(NAMES)}}
  writer = store_lib.StoreWriter(path, streams, about)
  for name in streams:
    x_ND = rng.normal(size=(len(example_N), D)) + 5.0 * name.endswith('text')
    x_ND += strength * directions()[label_N] * name.startswith('layer01')
    if name == 'tower.image':
      wide_ND = rng.normal(size=(len(example_N), WIDER))
      x_ND = np.hstack([x_ND + tower * directions()[label_N], wide_ND])
    columns = {
      'group': example_N,
      'split': split_n[example_N],
      'pair': example_N,
      'position': np.tile(np.arange(TOKENS), n),
      'token_id': np.zeros(len(x_ND), int),
      'label': label_N,
    }
    if pool:
      x_ND = x_ND.reshape(n, TOKENS, -1).mean(1)
      columns = {k: columns[k][::TOKENS] for k in ('group', 'split', 'pair')}
      columns['labels'] = np.eye(CLASSES, dtype=np.uint8)[label_n]
    writer.write(name, 0, x_ND.astype(np.float32), columns)
  writer.finish()
  return path
