"""Sites of any size that never were a dictionary: for tests, and by hand.

PYTHONPATH=. python -m tests.explorer.synthetic OUT [CONCEPTS [BRIDGES]]
"""

import pathlib
import sys

import numpy as np
from PIL import Image

from saejax.explorer import content
from saejax.explorer import pictures as pictures_lib
from saejax.explorer import schema
from saejax.explorer import writing
from tests.explorer import hostile

STATIC = pathlib.Path(__file__).parent / 'static'
_TEXTS = 400
_SENSITIVE = (3, 7)
_STEER_EVERY = 5
_WORDS = (
  'red', 'dog', 'cat', 'running', 'on', 'grass', 'snow', 'beach', 'two',
  'photo of the', 'painted', 'blue', 'car', 'street', 'night', 'people',
)  # fmt: skip


def texts(n: int = _TEXTS) -> list[str]:
  """Hostile ones first, then ones that read as captions do."""
  rng = np.random.default_rng(7)
  said = [
    f'{" ".join(rng.choice(_WORDS, rng.integers(3, 12)))} {i}' for i in range(n)
  ]
  return [*hostile.STRINGS, *said][:n]


def pictures(count: int) -> content.Pictures:
  """Squares, each of its own colour and with a bar of its own."""

  def draw(ids, side):
    drawn = []
    for i in ids:
      colour = (i * 37 % 256, i * 91 % 256, i * 53 % 256)
      image = Image.new('RGB', (side, side * (3 + i % 2) // 4), colour)
      image.paste((255, 255, 255), (0, 0, 1 + i * 7 % side, side // 8))
      drawn.append(image)
    return drawn

  return content.Pictures(
    count=count,
    draw=draw,
    sensitive=[i for i in _SENSITIVE if i < count],
  )


def _columns(rng, modality_N: np.ndarray, class_N) -> list[schema.Column]:
  n = len(modality_N)
  undefined = lambda x, share: np.where(rng.random(n) < share, np.nan, x)
  rate_N = 10 ** rng.uniform(-4, -0.5, n)
  values = {
    'energy': 10 ** rng.uniform(-5, 0, n),
    'rate': rate_N,
    'rate_image': rate_N * modality_N * 2,
    'rate_text': rate_N * (1 - modality_N) * 2,
    'modality': undefined(modality_N, 0.02),
    'modality_low': np.clip(modality_N - 0.03, 0, 1),
    'modality_high': np.clip(modality_N + 0.03, 0, 1),
    'axis': rng.random(n) * 0.3,
    'bridge': rng.random(n) * (class_N > 0),
    'stability': undefined(rng.random(n), 0.3),
    'label_score': undefined(rng.uniform(0.5, 1, n), 0.2),
    'faithful': rng.random(n),
    'max_cosine': rng.uniform(0, 0.9, n),
  }
  return [
    schema.Column(
      name=name,
      label=name.replace('_', ' '),
      definition=f'What {name} is, in a sentence.',
      values=v,
      log=name in ('energy', 'rate'),
    )
    for name, v in values.items()
  ]


def _edges(rng, n: int, m: int, class_N: np.ndarray) -> content.Edges:
  image_M, text_M = rng.integers(0, n, (2, m))
  text_M[::50] = image_M[::50]  # Some of a concept with itself.
  excess_M = np.sort(10 ** rng.uniform(-6, -2, m))[::-1]
  values = {
    'excess': excess_M,
    'b': excess_M * 1.3,
    'b0': excess_M * 0.3,
    'cosine': rng.uniform(-0.2, 1, m),
    'joint': rng.integers(1, 900, m),
    'lift': rng.uniform(1, 60, m),
    'p': np.where(rng.random(m) < 0.1, np.nan, 10 ** rng.uniform(-40, 0, m)),
  }
  of = schema.CLASSES.index
  cross_M = (class_N[image_M] == of('image')) & (class_N[text_M] == of('text'))
  flags_M = (
    (rng.random(m) < 0.7) * schema.REPLICATED
    + cross_M * schema.CROSS
    + (rng.random(m) < 0.6) * schema.ALIGNED
    + (image_M == text_M) * schema.SELF
  )
  columns = [
    schema.Column(
      name=name,
      label=name,
      definition=f'What {name} is, in a sentence.',
      values=v,
      log=name in ('p', 'lift'),
    )
    for name, v in values.items()
  ]
  return content.Edges(
    image_M=image_M, text_M=text_M, columns=columns, flags_M=flags_M
  )


def _bands(rng, count: int, heats: str):
  """Examples by band; some bands empty, some rows with a heat-map."""
  if not count:
    return {name: [] for name in schema.BANDS}

  def heat(i):
    if heats == 'patches' and i % 2:
      q = rng.integers(0, 256, 16).tolist()
      return {'w': 4, 'h': 4, 'q': q}
    if heats == 'words' and i % 2:
      return {'tokens': ['a', '<b>', 'dog'], 'q': [0, 255, 90]}
    return None

  found = {}
  for place, name in enumerate(schema.BANDS):
    k = 0 if rng.random() < 0.1 else (8 if name == 'top' else 4)
    activation = 0 if name == 'none' else 3.0 / (place + 1)
    rows = rng.integers(0, count, k).tolist()
    found[name] = [
      [row, round(activation * (1 - 0.01 * i), 4), heat(i)]
      for i, row in enumerate(rows)
    ]
  return found


def _concept(index, id_N, edges_of, counts, labels, steer) -> dict:
  rng = np.random.default_rng(index)
  names = []
  if labels[index]:
    names.append(
      {'text': labels[index], 'source': 'captions', 'score': 0.91}
      | {'low': 0.85, 'high': 0.95, 'null': 0.5}
    )
    names.append(
      {'text': hostile.STRINGS[index % 8], 'source': 'vocabulary'}
      | {'score': None, 'low': None, 'high': None, 'null': None}
    )
  heats = ('patches', 'words') if index % 9 == 0 else ('', '')
  lists = rng.integers(0, max(counts[0], 1), (5, 6)).tolist()
  steered = steer and index % _STEER_EVERY == 0 and counts[0]
  return {
    'id': int(id_N[index]),
    'index': index,
    'labels': names,
    'histogram': {
      'edges': [float(f'{v:.4g}') for v in np.geomspace(0.01, 10, 25)],
      'image': rng.integers(0, 200, 24).tolist(),
      'text': rng.integers(0, 200, 24).tolist(),
    },
    'images': _bands(rng, counts[0], heats[0]),
    'texts': _bands(rng, counts[1], heats[1]),
    'bridges': edges_of.get(index, [])[: schema.CONCEPT_BRIDGES],
    'stability': {'value': 0.7, 'over': '4 other runs', 'all': [0.6, 0.8]}
    if index % 3
    else None,
    'steer': {'query': int(index % counts[1]), 'pictures': lists}
    if steered
    else None,
    'note': None,
    **({'heat_scale': {'images': 3.0, 'texts': 3.0}} if heats[0] else {}),
  }


def _bridge(edge: int, edges: content.Edges, id_N, counts) -> dict:
  rng = np.random.default_rng(edge)
  table = dict(zip(schema.CELLS, rng.integers(0, 500, 4).tolist(), strict=True))
  draw = lambda k: int(rng.integers(k)) if k else -1
  cell = lambda: [
    [draw(counts[0]), draw(counts[1]), 1.5, 0.5]
    for _ in range(int(rng.integers(0, 7)))
  ]
  return {
    'edge': edge,
    'image': int(id_N[edges.image_M[edge]]),
    'text': int(id_N[edges.text_M[edge]]),
    'table': table | {'pairs': sum(table.values())},
    'null': {'expected': 3.2, 'low': 1, 'high': 7, 'how': 'shuffled pairs'},
    'rank': edge + 1,
    **{name: cell() for name in schema.CELLS},
  }


def _clusters(rng, labels) -> list[dict]:
  return [
    {
      'level': level,
      'name': labels[i % len(labels)] or f'cluster {level}.{i}',
      'joint': rng.random(2).round(4).tolist(),
      'split': rng.random(2).round(4).tolist(),
      'size': int(rng.integers(2, 90)),
    }
    for level, k in enumerate((4, 12, 36))
    for i in range(k)
  ]


def _about(id_: str, n: int) -> dict:
  return {
    'title': f'Synthetic {id_} <i>not markup</i>',
    'latents': 2 * n,
    'k': 16,
    'model': 'no model',
    'dataset': 'no data',
    'arch': 'topk',
    'split': 'test',
    'rows': {'image': 5000, 'text': 25000},
    'reads': 'pooled',
    'cuts': {'image': 0.9, 'text': 0.1},
    'bands': [{'name': b, 'rule': f'rows of {b}'} for b in schema.BANDS],
    'sampling': 'Rows were drawn by a seed.',
    'steering': {'strengths': [-2, -1, 0, 1, 2], 'what': 'A query changed.'},
    'python': 'import saejax\nsae, params = saejax.load("sae")  # {id}',
    'bibtex': '@misc{x, title={y}}',
    'provenance': {'commit': 'abc'},
  }


def dictionary(
  id_: str, n: int, m: int, count: int, seed: int = 0
) -> content.Dictionary:
  """n concepts and m bridges; the first labels are hostile."""
  rng = np.random.default_rng(seed)
  id_N = np.sort(rng.choice(2 * n, n, replace=False))
  modality_N = rng.beta(0.3, 0.3, n)
  of = schema.CLASSES.index
  class_N = np.select(
    [modality_N > 0.9, modality_N < 0.1],
    [of('image'), of('text')],
    of('shared'),
  )
  class_N[rng.random(n) < 0.1] = of('unclassified')
  said = texts(n + len(hostile.STRINGS))
  labels = [said[i] if i % 7 != 6 else '' for i in range(n)]
  edges = _edges(rng, n, m, class_N)
  edges_of: dict[int, list[int]] = {}
  for e, ends in enumerate(
    zip(edges.image_M.tolist(), edges.text_M.tolist(), strict=True)
  ):
    for end in set(ends):
      edges_of.setdefault(end, []).append(e)
  near_N8 = rng.integers(0, n, (n, schema.NEAR))
  near_N8[rng.random(n) < 0.05, -1] = -1
  place_N4 = rng.random((n, 4))
  place_N4[:, 2] = modality_N
  counts = count, _TEXTS
  flags_N = np.array([schema.LABELLED if label else 0 for label in labels])
  flags_N[::9] |= schema.HEAT
  flags_N[5::40] |= schema.SENSITIVE
  sample = lambda k: [
    [i, [[int(c), 1.25] for c in rng.integers(0, n, 6)]] for i in range(k)
  ]
  return content.Dictionary(
    id=id_,
    about=_about(id_, n),
    id_N=id_N,
    place_N4=place_N4,
    columns=_columns(rng, modality_N, class_N),
    class_N=class_N,
    flags_N=flags_N,
    edges=edges,
    near_N8=near_N8,
    near_cosine_N8=rng.uniform(-1, 1, (n, schema.NEAR)),
    labels=labels,
    source_N=np.zeros(n, int),
    sources=[{'name': 'captions', 'how': 'Words of its captions.'}],
    clusters=_clusters(rng, labels),
    medoid_N=np.where(np.arange(n) % 4 == 3, -1, np.arange(n) % max(count, 1))
    if count
    else np.full(n, -1),
    concept=lambda i: _concept(i, id_N, edges_of, counts, labels, count),
    bridge=lambda e: _bridge(e, edges, id_N, counts),
    shown_bridges=min(m, schema.SHOWN_BRIDGES),
    examples={'pictures': sample(min(count, 60)), 'texts': sample(60)},
  )


def site(
  n: int = 300, m: int = 600, count: int = 60, twice: bool = True
) -> content.Site:
  """A site of one dictionary, or of two with matched concepts."""
  saes = [dictionary('first', n, m, count)]
  matches = []
  if twice:
    saes.append(dictionary('second', max(n // 2, 8), m // 2, count, seed=1))
    rng = np.random.default_rng(3)
    for a, b in ((0, 1), (1, 0)):
      index_N = rng.integers(-1, len(saes[b].id_N), len(saes[a].id_N))
      matches.append(
        content.Match(
          a=saes[a].id,
          b=saes[b].id,
          method='correlation of codes',
          index_N=index_N,
          correlation_N=rng.random(len(index_N)),
        )
      )
  card = {
    'dataset': 'synthetic',
    'licence': 'CC0-1.0',
    'citation': 'none',
    'pictures_from': 'drawn',
    'made_with': 'saejax',
    'commit': 'abc',
    'notes': ['<b>A note.</b>'],
  }
  return content.Site(
    title='A synthetic site',
    dictionaries=saes,
    card=card,
    texts=texts(),
    pictures=pictures(count),
    matches=matches,
    tour=[{'title': 'First', 'text': 'Look here.', 'hash': '#view=bridges'}],
  )


def write(out: str, static: pathlib.Path = STATIC, **asked) -> str:
  """Writes a site with the given page, by default one that is next to none."""
  made = site(**asked)
  with writing.whole(out) as folder:
    packs = list(pictures_lib.packs(made.pictures, 128))
    writing.write_data(made, folder, 128, packs)
    writing.write_page(folder, static)
  return out


if __name__ == '__main__':
  built = writing.static_folder()
  numbers = dict(zip(('n', 'm'), map(int, sys.argv[2:]), strict=False))
  write(
    sys.argv[1],
    built if (built / 'index.html').is_file() else STATIC,
    **numbers,
  )
