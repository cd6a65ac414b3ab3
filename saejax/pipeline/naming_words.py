"""Words that may name concepts: who says them, and where a model puts them."""

from collections.abc import Sequence
import dataclasses
import os

import jax
import numpy as np
import scipy.sparse

from saejax import errors
from saejax import pretrained
from saejax import sharding
from saejax import store as store_lib
from saejax.analysis import factors
from saejax.analysis import naming
from saejax.analysis import retrieval
from saejax.analysis import zero_shot
from saejax.data import prompts
from saejax.data import sources
from saejax.models import folder
from saejax.pipeline import embedders
from saejax.pipeline import findings
from saejax.pipeline import sides

NO_MODEL = 'none'
_LENGTHS = (1, 2)  # Words and bigrams.
_MOST = 10_000  # Entries of a vocabulary taken from captions.
TEMPLATES = ('there is a {}',)
_TRIED, _SAME = 8, 0.95  # Captions that a model is asked for; their cosine.
Held = tuple[scipy.sparse.csr_matrix, scipy.sparse.csr_matrix]


@dataclasses.dataclass(frozen=True)
class Source:
  """Names to choose from, and which images and which texts hold them: 0, 1.

  `val` and `test` are [n, W] of images, whose captions hold a name, and texts.
  """

  names: Sequence[str]
  val: Held
  test: Held


def captions(side: sides.Side) -> list[str]:
  """Captions of the rows of texts, '' where none is known."""
  return [words.get('caption', '') for words in side.stream.words(side.rows_n)]


def _owners(image: sides.Side, text: sides.Side) -> scipy.sparse.csr_matrix:
  """Which texts are of which images: 0 and 1, [images, texts]."""
  order = np.argsort(image.pair_n, kind='stable')
  at = np.searchsorted(image.pair_n[order], text.pair_n)
  own_n = order[np.minimum(at, len(order) - 1)]
  has = np.flatnonzero(image.pair_n[own_n] == text.pair_n)
  return scipy.sparse.csr_matrix(
    (np.ones(len(has)), (own_n[has], has)),
    shape=(len(image.rows_n), len(text.rows_n)),
  )


def _held(
  pair: tuple[sides.Side, sides.Side], said: list[str], names: Sequence[str]
) -> Held:
  has_nW = naming.presence(said, names)
  of_images = _owners(*pair) @ has_nW
  of_images.data[:] = 1
  return of_images.tocsr(), has_nW


def spoken(s: findings.Subject, path: str | None) -> Source | None:
  """Words of a file, or else the words and bigrams that captions of val share.

  None where the store has no captions.

  Raises:
    UserError: the file cannot be read, or nothing could be scored by it.
  """
  listed = path and list(
    dict.fromkeys(sources.read_lines(path, 'a word or phrase a line'))
  )
  val, test = captions(s.val[1]), captions(s.test[1])
  if not any(val):
    if path:
      raise errors.UserError(
        f'--vocabulary={path}: {s.store.path} has no captions to score names '
        'by. Leave it out.'
      )
    return None
  names = listed or naming.common_n_grams(
    val, _LENGTHS, factors.LEAST_POSITIVES, _MOST
  )
  if not names:
    return None
  return Source(names, _held(s.val, val, names), _held(s.test, test, names))


def labelled(s: findings.Subject) -> Source | None:
  """The store's own labels; None where images and texts do not share any."""
  image, text = (side.stream.labels for side in s.test)
  if not image or image != text:
    return None
  sparse = lambda side: scipy.sparse.csr_matrix(side.labels(), dtype=float)
  return Source(
    s.test[0].stream.labels,
    tuple(map(sparse, s.val)),
    tuple(map(sparse, s.test)),
  )


def model_name(asked: str | None, store: store_lib.Store) -> str | None:
  """The model that words are embedded with: the one asked for, or the store's.

  None where neither tells, or NO_MODEL is asked for.
  """
  name = asked or store.about.get('model')
  return None if name in (None, '', NO_MODEL) else str(name)


def load_model(
  name: str, revision: str | None, offline: bool
) -> embedders.Embedder:
  """The towers of a model that ships, of a folder, or of the hub."""
  mesh = sharding.make_mesh(None, jax.local_devices())
  ships = name in pretrained.names() and not os.path.isdir(name)
  vlm = folder.load(
    pretrained.path(name) if ships else name,
    revision=revision,
    offline=offline,
    mesh=mesh,
  )
  return embedders.embedder(vlm, mesh)


def check_model(model: embedders.Embedder, text: sides.Side) -> None:
  """UserError unless a model gives the rows of texts that the store holds."""
  remedy = (
    'Give --model the one that made the store, or --model=none to do without.'
  )
  if model.text.d != text.stream.d:
    raise errors.UserError(
      f'{model.vlm.name} gives rows of width {model.text.d}, the store holds '
      f'width {text.stream.d}. {remedy}'
    )
  said = captions(text)
  at = [i for i, caption in enumerate(said) if caption][:_TRIED]
  if not at:
    return
  again_nD, _ = model.texts([said[i] for i in at])
  unit = retrieval.unit_rows
  cosine = (unit(again_nD) * unit(text.x_nD[at])).sum(1).mean()
  if not cosine >= _SAME:
    raise errors.UserError(
      f"{model.vlm.name} does not give the store's rows for its captions (mean "
      f'cosine {cosine:.2f}). {remedy}'
    )


def embed(
  model: embedders.Embedder, names: Sequence[str], templates: str | None
) -> np.ndarray:
  """A unit row for each name, from all templates: [W, D]."""
  filled = prompts.read(templates) if templates else TEMPLATES
  texts = [text for name in names for text in prompts.fill(filled, name)]
  row_nD, _ = model.texts(texts)
  label_n = np.repeat(np.arange(len(names)), len(filled))
  return zero_shot.class_rows(row_nD, label_n)
