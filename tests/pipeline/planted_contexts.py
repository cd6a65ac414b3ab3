"""Stores of tokens in three contexts, from known concepts, and their SAE.

Of N examples each has factors; a token carries one of its example's. A shared
plant has one direction a factor, whatever the context; a disjoint one has
another for texts; in an unpaired one the text is of another example; in a
chance one most tokens carry nothing and the others any factor. Examples are as
long as each other, or of 2 tokens to some most.
"""

import jax
import numpy as np

from saejax import io
from saejax import nn
from saejax import store

D, FACTORS, S = 32, 8, 24
LAYER = 5
_TOKENS = {'image': 6, 'caption': 4, 'text': 4}
_BASIS = np.linalg.qr(np.random.default_rng(1).normal(size=(D, D)))[0]
ATOMS = _BASIS[:S]  # 0 to 7 of factors; 8 to 15 of texts, where disjoint.
STREAMS = tuple(f'layer{LAYER:02d}.{c}' for c in _TOKENS)


def factors(n: int, seed: int = 0) -> np.ndarray:
  """Which factors each example has, at least one: bool [N, F]."""
  rng = np.random.default_rng(seed)
  has = rng.random((n, FACTORS)) < 0.25
  has[np.arange(n), rng.integers(0, FACTORS, n)] = True
  return has


def write_store(
  path: str,
  n: int = 240,
  kind: str = 'shared',
  layers=(LAYER,),
  seed: int = 0,
  longest: int | None = None,
  text_size: float = 1.0,
) -> np.ndarray:
  """Writes the store, texts so large; the examples' factors."""
  assert kind in ('shared', 'disjoint', 'unpaired', 'chance')
  has = factors(n, seed)
  rng = np.random.default_rng(seed + 1)
  names = {f'layer{layer:02d}.{c}': c for layer in layers for c in _TOKENS}
  spec = lambda c: store.StreamSpec(
    d=D,
    modality='image' if c == 'image' else 'text',
    columns=('group', 'split', 'pair', 'position', 'token_id'),
  )
  writer = store.StoreWriter(
    path, {k: spec(c) for k, c in names.items()},
    {'dataset': {'name': 'planted'}},
  )  # fmt: skip
  other = rng.permutation(n)
  long_N = rng.integers(2, longest + 1, size=n) if longest else None
  split_N = store.assign_splits(np.arange(n), (0.2, 0.2, 0.6))
  for name, context in names.items():
    own = has if context == 'image' or kind != 'unpaired' else has[other]
    x, columns = [], []
    for i in range(n):
      of = np.flatnonzero(own[i])
      tokens = _TOKENS[context] if long_N is None else int(long_N[i])
      for t in range(tokens):
        f = of[t % len(of)]
        if context != 'image' and kind == 'disjoint':
          f += FACTORS
        gap = 0.4 * _BASIS[-1] * (1 if context == 'image' else -1)
        noise = 0.03 * rng.normal(size=D)
        size = rng.uniform(0.8, 1.2)
        if kind == 'chance':
          f, size = rng.integers(FACTORS), size * (rng.random() < 0.3)
        times = 1.0 if context == 'image' else text_size
        x.append(times * (size * ATOMS[f] + gap + noise))
        columns.append((i, split_N[i], i, t, f))
    table = np.array(columns).T
    writer.write(
      name, 0, np.array(x, np.float32),
      dict(zip(spec(context).columns, table, strict=True)),
    )  # fmt: skip
  writer.finish()
  return has


def write_sae(
  path: str, layer: int = LAYER, streams=None, text_scale: float | None = None
) -> None:
  """A dictionary whose concepts are the atoms.

  With `text_scale` it reads each modality on its own scale, images on 1.
  """
  sae = nn.ReLU(d=D, s=S, k=2)
  if text_scale is not None:
    sae = nn.ReLU(d=D, s=S, k=2, modalities=('image', 'text'))
  variables = sae.init(jax.random.key(0), method=lambda module: module.w_dec)
  params = dict(variables['params'])
  params |= {'w_enc': ATOMS.astype(np.float32)}
  params |= {'w_dec': ATOMS.astype(np.float32)}
  params |= {'b_enc': np.full(S, -0.3, np.float32)}
  constants = dict(variables['constants'])
  if text_scale is not None:
    constants['scale'] = np.array([1, text_scale], np.float32)
  named = streams or [f'layer{layer:02d}.{c}' for c in _TOKENS]
  io.save(
    path, sae, {'params': params, 'constants': constants},
    {'config': {'streams': named}},
  )  # fmt: skip
