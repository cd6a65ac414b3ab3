"""What concepts are interpreted from: activations by example, words, masks."""

from collections.abc import Sequence
import dataclasses
import re

import numpy as np
import scipy.sparse

from saejax import encode
from saejax import errors
from saejax import io
from saejax import nn
from saejax import store as store_lib
from saejax import types
from saejax.data import captions
from saejax.data import records
from saejax.data import render
from saejax.data import scenes
from saejax.data import specs

_TOKENS = re.compile(r'layer\d+\.(image|caption|text)')
_OBJECTS = ('colour', 'shape', 'size', 'pattern', 'pair')
_PATCHES = 8  # Pixels of a patch's side, when objects are drawn for masks.
_COVERED = 0.25  # Of a patch, for an object to be there.


@dataclasses.dataclass(frozen=True)
class Rows:
  """Rows of a split of a stream, by example.

  Attributes:
    x_nD: rows about the stream's mean in training.
    z_nS: codes.
    example_n: of each row, from 0.
    pair_N: what each example is in the data set.
    place_n: where in its image a row is, from 0; None of whole images.
    patch_n: which patch of the image it sees, −1 for none; None where the store
      does not say.
  """

  x_nD: np.ndarray
  z_nS: scipy.sparse.csr_matrix
  example_n: np.ndarray
  pair_N: np.ndarray
  place_n: np.ndarray | None
  patch_n: np.ndarray | None = None

  @property
  def n(self) -> int:
    return len(self.pair_N)

  def examples_that_fire(self) -> np.ndarray:
    """In how many examples each concept fires: [S]."""
    rows, s = self.z_nS.nonzero()
    once = np.unique(self.example_n[rows] * self.z_nS.shape[1] + s)
    return np.bincount(once % self.z_nS.shape[1], minlength=self.z_nS.shape[1])

  def pooled(self) -> np.ndarray:
    """The mean row of each example: [N, D]."""
    sum_ND = np.zeros((self.n, self.x_nD.shape[1]))
    np.add.at(sum_ND, self.example_n, self.x_nD)
    count_N = np.bincount(self.example_n, minlength=self.n)
    return sum_ND / np.maximum(count_N, 1)[:, None]


def load(path: str) -> tuple[nn.LinearSAE, types.ArrayTree]:
  """A dictionary whose codes are not negative."""
  sae, variables = io.load(path)
  if sae.signed:
    raise errors.UserError(
      f'{path} has codes of both signs; this needs activations that are not '
      'negative.'
    )
  return sae, variables


def choose_stream(
  store: store_lib.Store, sae_path: str, name: str | None
) -> store_lib.Stream:
  """The stream that is asked for; else the images that the SAE was trained on.

  Raises:
    UserError: there is none.
  """
  if name is not None:
    return store[name]
  made_by = io.read_config(sae_path).get('provenance', {}).get('config', {})
  trained = [s for s in made_by.get('streams') or () if s in store.streams]
  of_images = [s for s in trained if store[s].modality == 'image']
  if of_images or 'image' in store.streams:
    return store[(of_images or ['image'])[0]]
  raise errors.UserError(
    f'Which stream of {store.path} the concepts are to be read in cannot be '
    f'told: give --stream, one of {", ".join(store.streams)}.'
  )


def read(
  sae: nn.LinearSAE,
  variables: types.ArrayTree,
  stream: store_lib.Stream,
  split: str,
  most: int,
  seed: int,
) -> Rows:
  """Rows of at most so many examples of a split, with their codes.

  Raises:
    UserError: the split has none.
  """
  rows_n = stream.rows(split)
  if not len(rows_n):
    raise errors.UserError(
      f'Stream {stream.name} has no rows in {split}; this explains on train '
      'and scores on another split. Give its store larger splits.'
    )
  pair_n = stream.column('pair')[rows_n]
  pairs = np.unique(pair_n)
  pair_N = np.sort(np.random.default_rng(seed).permutation(pairs)[:most])
  is_in_n = np.isin(pair_n, pair_N)
  rows_n, pair_n = rows_n[is_in_n], pair_n[is_in_n]
  found = encode.encode(sae, variables, stream, rows_n)
  mean_D = np.asarray(stream.stats['train'].mean, np.float32)
  place_n = patch_n = None
  if 'position' in stream.spec.columns:
    position_N = stream.column('position')
    place_n = position_N[rows_n] - position_N.min()
  if 'patch' in stream.spec.columns:
    patch_n = stream.column('patch')[rows_n]
  return Rows(
    found.x_nD - mean_D, found.z_nS, np.searchsorted(pair_N, pair_n), pair_N,
    place_n, patch_n,
  )  # fmt: skip


def world(store: store_lib.Store) -> specs.SceneSet | None:
  """The scenes that a store is of, if it is."""
  about = dict(store.about.get('dataset') or {})
  if about.pop('name', None) != 'scenes':
    return None
  return specs.SceneSet(**about | {'splits': tuple(about['splits'])})


Data = specs.SceneSet | records.Dataset


def open_data(store: store_lib.Store, dataset: str | None) -> Data | None:
  """What a store was made of: as it is said, or as a store of scenes tells."""
  return specs.parse(dataset) if dataset else world(store)


def _said(stream: store_lib.Stream, pair_N: np.ndarray) -> list[str] | None:
  """All captions that a stream keeps of each example, if it keeps any."""
  pair_n = stream.column('pair')
  rows_n = np.flatnonzero(np.isin(pair_n, pair_N))
  said: dict[int, dict[str, None]] = {}
  words = stream.words(rows_n)
  for pair, word in zip(pair_n[rows_n].tolist(), words, strict=True):
    if word.get('caption'):
      said.setdefault(pair, {})[word['caption']] = None
  return (
    [' / '.join(said.get(p, ())) for p in pair_N.tolist()] if said else None
  )


def describe(
  store: store_lib.Store,
  stream: store_lib.Stream,
  pair_N: np.ndarray,
  data: Data | None,
) -> list[str]:
  """What is known of each example, in words.

  Of captions those that were read. Of images, of scenes all that there is; of
  other data their captions, from the store or from the data set.

  Args:
    store: where the stream is.
    stream: that concepts fire in.
    pair_N: the examples.
    data: what the store was made of, if that is known.

  Raises:
    UserError: nothing is known.
  """
  own = _said(stream, pair_N) if stream.modality == 'text' else None
  if own:
    return own
  if isinstance(data, specs.SceneSet):
    whole = dataclasses.replace(data.world, captions='full')
    return captions.caption(whole, scenes.sample(whole, pair_N)).text
  if data is None:
    found = None
    if 'text' in store.streams:
      found = _said(store['text'], pair_N)
    if found is None:
      raise errors.UserError(
        f'{store.path} keeps no captions: give --dataset, what it was made of.'
      )
    return found
  return [_of_record(data, int(i)) for i in pair_N]


def record(data: records.Dataset, i: int) -> records.Record:
  """A record of what the store was made of.

  Raises:
    UserError: there is no such.
    RecordError: it cannot be read.
  """
  if i >= len(data):
    raise errors.UserError(
      f'--dataset has {len(data)} records, and the store has a number {i}: it '
      'was made of another one.'
    )
  return data.record(i)


def _of_record(data: records.Dataset, i: int) -> str:
  try:
    return ' / '.join(record(data, i).captions)
  except records.RecordError:
    return ''


def tokens_are(stream: store_lib.Stream) -> bool:
  """Whether rows are tokens of a language model, and not whole images."""
  return bool(_TOKENS.fullmatch(stream.name))


def side_of(places: int) -> int | None:
  """Patches of an image's side, from the positions of one that is one tile.

  The image as a whole and its only tile are p² each, and each row of the tile
  ends with a newline: 2p² + p.
  """
  p = round((np.sqrt(1 + 8 * places) - 1) / 4)
  return p if 2 * p * p + p == places else None


@dataclasses.dataclass(frozen=True)
class Masks:
  """Where each factor of objects is: [N, P, F], P patches row by row."""

  names: Sequence[str]
  mask_NPF: np.ndarray


def masks(data: specs.SceneSet, pair_N: np.ndarray, p: int) -> Masks:
  """Masks of what objects are, from how scenes are drawn."""
  sampled = scenes.sample(data.world, pair_N)
  side = p * _PATCHES
  drawn_NOHW = render.masks(sampled, side)
  n, o = drawn_NOHW.shape[:2]
  blocks = drawn_NOHW.reshape(n, o, p, _PATCHES, p, _PATCHES)
  covered_NOP = (blocks.mean((3, 5)) >= _COVERED).reshape(n, o, p * p)
  names = [f for f in scenes.SHARED if f.split('=')[0] in _OBJECTS]
  mask_NPF = np.zeros((n, p * p, len(names)), bool)
  for f, name in enumerate(names):
    mask_NPF[..., f] = (covered_NOP & _is(sampled, name)[..., None]).any(1)
  return Masks(names, mask_NPF)


def _is(sampled: scenes.Scenes, name: str) -> np.ndarray:
  """Which objects of each scene are of a factor: [N, O]."""
  kind, value = name.split('=')
  values = {
    'colour': (sampled.colour_NO, list(scenes.COLOURS)),
    'shape': (sampled.shape_NO, scenes.SHAPES),
    'size': (sampled.size_NO, scenes.SIZES),
    'pattern': (sampled.pattern_NO, scenes.PATTERNS),
  }
  if kind == 'pair':
    colour, shape = value.split(' ')
    is_both = _is(sampled, f'colour={colour}') & _is(sampled, f'shape={shape}')
    return is_both
  found_NO, names = values[kind]
  return (found_NO == list(names).index(value)) & sampled.drawn_NO


def _of_one_tile(place_n: np.ndarray, p: int) -> np.ndarray:
  """Which patch each place of an image of one tile sees; −1 is a newline."""
  in_tile_n = place_n - p * p
  row_n, column_n = in_tile_n // (p + 1), in_tile_n % (p + 1)
  patch_n = np.where(in_tile_n < 0, place_n, row_n * p + column_n)
  return np.where((in_tile_n < 0) | (column_n < p), patch_n, -1)


def patches(
  rows: Rows, side: int | None
) -> tuple[int, np.ndarray] | tuple[None, None]:
  """Patches of an image's side, and which each row sees, −1 for none.

  None where that is not known, as of whole images.

  Args:
    rows: of images.
    side: what the store says of it, with `rows.patch_n`.
  """
  if rows.place_n is not None and rows.patch_n is not None and side:
    return side, rows.patch_n
  p = None if rows.place_n is None else side_of(int(rows.place_n.max()) + 1)
  return (None, None) if p is None else (p, _of_one_tile(rows.place_n, p))


def lit(
  z_n: np.ndarray, example_n: np.ndarray, patch_n: np.ndarray,
  examples_E: np.ndarray, p: int,
) -> np.ndarray:  # fmt: skip
  """At which patches of some examples a concept fires: bool [E, P].

  Args:
    z_n: its activations.
    example_n: of each row.
    patch_n: of each row, −1 for none.
    examples_E: those wanted, each once.
    p: patches a side.
  """
  at = np.flatnonzero((z_n > 0) & (patch_n >= 0))
  order = np.argsort(examples_E)
  e = np.searchsorted(examples_E[order], example_n[at])
  e = order[np.minimum(e, len(order) - 1)]
  is_wanted = examples_E[e] == example_n[at]
  lit_EP = np.zeros((len(examples_E), p * p), bool)
  lit_EP[e[is_wanted], patch_n[at[is_wanted]]] = True
  return lit_EP


def on_grid(
  z_nC: np.ndarray, rows: Rows, p: int
) -> tuple[np.ndarray, np.ndarray]:
  """Whether a concept fires at each patch, and which patches were kept.

  A patch is seen twice, in the whole image and in its tile; either counts.

  Returns:
    bool [N, P, C] and bool [N, P]: a store may keep some positions alone.
  """
  n, c = rows.n, z_nC.shape[1]
  patch_n = _of_one_tile(rows.place_n, p)
  at = np.flatnonzero(patch_n >= 0)
  place = rows.example_n[at], patch_n[at]
  fires_NPC = np.zeros((n, p * p, c), bool)
  np.logical_or.at(fires_NPC, place, z_nC[at] > 0)
  kept_NP = np.zeros((n, p * p), bool)
  kept_NP[place] = True
  return fires_NPC, kept_NP
