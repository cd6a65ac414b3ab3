"""Reads the three contexts of a LLaVA store, example by example."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses

import numpy as np
import scipy.sparse

from saejax import encode
from saejax import errors
from saejax import io
from saejax import nn
from saejax import store as store_lib
from saejax import types
from saejax.data import captions
from saejax.data import scenes
from saejax.data import specs
from saejax.pipeline import trained_on

CONTEXTS = ('image', 'caption', 'text')
STRATUM = 10  # Examples of as many tokens, at least, where there are so many.


@dataclasses.dataclass(frozen=True)
class Dictionary:
  """An SAE of a layer."""

  layer: int
  path: str
  sae: nn.LinearSAE
  variables: types.ArrayTree

  @property
  def directions(self) -> np.ndarray:
    return np.asarray(self.variables['params']['w_dec'])


@dataclasses.dataclass(frozen=True)
class Tokens:
  """Some rows of a stream, and which example each is of, from 0."""

  rows_n: np.ndarray
  example_n: np.ndarray


@dataclasses.dataclass(frozen=True)
class Encoded:
  """Tokens of a context: rows about their training mean, and codes.

  `scale` is what the encoder multiplies the context's rows by: codes times it
  are on the scale on which the encoder chose them.
  """

  x_nD: np.ndarray
  z_nS: scipy.sparse.csr_matrix
  example_n: np.ndarray
  scale: float


def layers(store: store_lib.Store) -> list[int]:
  """Layers of which the store has every context, rising.

  Raises:
    UserError: there is none.
  """
  found: dict[int, set[str]] = {}
  for name in store.streams:
    if match := trained_on.STREAM.fullmatch(name):
      found.setdefault(int(match[1]), set()).add(match[2])
  whole = sorted(n for n, have in found.items() if have == set(CONTEXTS))
  if not whole:
    raise errors.UserError(
      f'{store.path} has no layer with the streams image, caption and text; '
      f'it has {", ".join(store.streams)}. cache_llava writes them.'
    )
  return whole


def stream(store: store_lib.Store, layer: int, context: str):
  return store[f'layer{layer:02d}.{context}']


def is_pooled(store: store_lib.Store) -> bool:
  """Whether rows are means over an example's positions."""
  first = stream(store, layers(store)[0], 'image')
  return 'position' not in first.spec.columns


def load(path: str, store: store_lib.Store) -> Dictionary:
  """An SAE, which says itself of what layer it is.

  Raises:
    UserError: it was trained on other streams, or has codes of both signs.
  """
  layer, _ = trained_on.layer(path)
  if layer not in layers(store):
    raise errors.UserError(
      f'{path} is of layer {layer}; {store.path} has the layers '
      f'{", ".join(map(str, layers(store)))}.'
    )
  sae, variables = io.load(path)
  if sae.signed:
    raise errors.UserError(
      f'{path} has codes of both signs; this needs activations that are not '
      'negative.'
    )
  d = stream(store, layer, 'image').d
  if sae.d != d:
    raise errors.UserError(
      f'{path} reads rows of width {sae.d}; those of {store.path} have {d}.'
    )
  return Dictionary(layer, path, sae, variables)


def choose(
  store: store_lib.Store, layer: int, split: str, most: int, seed: int
) -> np.ndarray:
  """Examples of a split that every context has, sorted; at most so many.

  Raises:
    UserError: there are fewer than four.
  """
  common = None
  for context in CONTEXTS:
    own = stream(store, layer, context)
    found = np.unique(own.column('pair')[own.rows(split)])
    common = found if common is None else np.intersect1d(common, found)
  if len(common) < 4:
    raise errors.UserError(
      f'{store.path} has {len(common)} examples in {split} with every context; '
      'this needs four at least. Give its store larger splits, or use '
      '--split=all.'
    )
  order = np.random.default_rng(seed).permutation(len(common))
  return np.sort(common[order[:most]])


def of_examples(
  store: store_lib.Store, layer: int, context: str, split: str, pair_N
) -> Tokens:
  """All tokens of the given examples, in order."""
  own = stream(store, layer, context)
  rows_n = own.rows(split)
  pair_n = own.column('pair')[rows_n]
  place_n = np.searchsorted(pair_N, pair_n)
  place_n = np.minimum(place_n, len(pair_N) - 1)
  is_in_n = pair_N[place_n] == pair_n
  return Tokens(rows_n[is_in_n], place_n[is_in_n])


def in_strata(count_N: np.ndarray, least: int = STRATUM) -> np.ndarray:
  """Counts lowered to few, each of which so many examples have at least: [N].

  Rising, a count is lowered to that of the stratum before it until there are
  enough; what is left at the end goes with the last. Zeros stay.
  """
  value_V, size_V = np.unique(count_N, return_counts=True)
  start, held, to = None, 0, {0: 0}
  left = int(size_V[value_V > 0].sum())
  for value, size in zip(value_V.tolist(), size_V.tolist(), strict=True):
    if value == 0:
      continue
    if start is None or (held >= least and left >= least):
      start, held = value, 0
    to[value] = start
    held, left = held + size, left - size
  return np.array([to[v] for v in count_N.tolist()], int)


def equalise(
  found: Mapping[str, Tokens], n: int, seed: int
) -> dict[str, Tokens]:
  """As many tokens of an example in every context, drawn at random.

  So neither long captions nor large images count for more. Between examples
  numbers differ, but each is had by `STRATUM` at least, among which alone
  `analysis.sharing` compares: a long example has more of everything. As many
  tokens in all examples would leave those of the shortest; here an example
  loses only what it has more than the shortest of its stratum.
  """
  least_N = in_strata(
    np.min(
      [np.bincount(t.example_n, minlength=n) for t in found.values()], axis=0
    )
  )
  rng = np.random.default_rng(seed)
  equal = {}
  for context, tokens in found.items():
    order = np.lexsort((rng.random(len(tokens.rows_n)), tokens.example_n))
    example_n = tokens.example_n[order]
    first_N = np.searchsorted(example_n, np.arange(n))
    rank_n = np.arange(len(order)) - first_N[example_n]
    kept = np.sort(order[rank_n < least_N[example_n]])
    equal[context] = Tokens(tokens.rows_n[kept], tokens.example_n[kept])
  return equal


def encoded(
  dictionary: Dictionary, store: store_lib.Store, context: str, tokens: Tokens
) -> Encoded:
  """Codes of tokens, and their rows about the context's mean in training."""
  own = stream(store, dictionary.layer, context)
  found = encode.encode(
    dictionary.sae, dictionary.variables, own, tokens.rows_n
  )
  mean_D = np.asarray(own.stats['train'].mean, np.float32)
  return Encoded(
    found.x_nD - mean_D,
    found.z_nS,
    tokens.example_n,
    encode.scale(dictionary.sae, dictionary.variables, own),
  )


def pooled(
  store: store_lib.Store, layer: int, context: str, tokens: Tokens, n: int
) -> np.ndarray:
  """The mean row of each example: float64 [N, D]."""
  own = stream(store, layer, context)
  x_nD = own.take(tokens.rows_n).astype(np.float64)
  sum_ND = np.zeros((n, own.d))
  np.add.at(sum_ND, tokens.example_n, x_nD)
  count_N = np.bincount(tokens.example_n, minlength=n)
  return sum_ND / np.maximum(count_N, 1)[:, None]


def halves(tokens: Tokens, n: int, seed: int) -> tuple[Tokens, Tokens]:
  """An example's tokens in two parts, as nearly equal as can be."""
  rng = np.random.default_rng(seed)
  order = np.lexsort((rng.random(len(tokens.rows_n)), tokens.example_n))
  example_n = tokens.example_n[order]
  first_N = np.searchsorted(example_n, np.arange(n))
  is_odd_n = (np.arange(len(order)) - first_N[example_n]) % 2 == 1
  part = lambda at: Tokens(tokens.rows_n[at], tokens.example_n[at])
  return part(order[~is_odd_n]), part(order[is_odd_n])


@dataclasses.dataclass(frozen=True)
class Classes:
  """Known factors: what images show, and what their captions mention."""

  names: Sequence[str]
  shown_NC: np.ndarray
  told_NC: np.ndarray


def classes(store: store_lib.Store, pair_N: np.ndarray) -> Classes | None:
  """Factors of scenes that both images and captions can have; else None."""
  about = dict(store.about.get('dataset') or {})
  if about.pop('name', None) != 'scenes':
    return None
  about['splits'] = tuple(about['splits'])
  data = specs.SceneSet(**about)
  sampled = scenes.sample(data.world, pair_N)
  shared = [scenes.column(name) for name in scenes.SHARED]
  return Classes(
    scenes.SHARED,
    scenes.present(sampled)[:, shared],
    captions.caption(data.world, sampled).mentioned_NF[:, shared],
  )
