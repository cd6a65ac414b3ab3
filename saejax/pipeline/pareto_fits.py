"""What `pareto` compares: dictionaries, fitted once and kept in its folder."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import os
import time

import numpy as np

from saejax import baselines
from saejax import encode
from saejax import io
from saejax import nn
from saejax import run
from saejax import store as store_lib
from saejax.data import batches
from saejax.pipeline import pareto_scores
from saejax.store import files
from saejax.store import manifest
from saejax.train import config as config_lib
from saejax.train import sweep

# Those with a k to meet, that read and reconstruct every row alike.
SAES = tuple(
  arch
  for arch, module in nn.ARCHITECTURES.items()
  if module.meets_k and arch not in ('modality_encoders', 'transcoder')
)
_TUNING = 1024  # Rows of val on which L1 weights are set.
_ARRAYS = ('w_SD', 'b_D', 'filter_SD', 'length_S')
Coded = Mapping[str, pareto_scores.Coded]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
  """A method at an L0, by one seed.

  Attributes:
    own: of held-out rows, by stream, by the method's own codes; None where it
      has none of this L0.
    common: the same by orthogonal matching pursuit; None where that is not
      asked for.
    atoms: how many there are.
    set_by: how own codes came to their sparsity.
    tried: settings among which val chose the fit; 1 where nothing was chosen.
  """

  own: Coded | None
  common: Coded | None
  atoms: int
  set_by: str
  tried: int = 1


def _common(held, w_SD, bias_of, l0: int, signed: bool) -> Coded:
  """Held-out rows by the encoder that is the same for all."""
  found = {}
  for name, x_nD in held.x.items():
    b_D = bias_of(held.streams[name])
    z_nS = baselines.pursue(w_SD, x_nD - b_D, l0, signed)
    found[name] = pareto_scores.coded(x_nD, z_nS, w_SD, b_D)
  return found


# Sparse autoencoders.


def _sae_codes(held: pareto_scores.Held, sae, variables) -> Coded:
  found = {}
  for name, stream in held.streams.items():
    encoded = encode.encode(sae, variables, stream, held.rows[name])
    active_n = encoded.z_nS.getnnz(axis=1)
    found[name] = pareto_scores.Coded(encoded.error_n, active_n)
  return found


def _sae_point(held, folder: str, l0: int, set_by: str, tried: int) -> Point:
  sae, variables = io.load(folder)
  w_SD = np.asarray(variables['params']['w_dec'])
  bias_of = lambda stream: encode.bias(sae, variables, stream)
  return Point(
    own=_sae_codes(held, sae, variables),
    common=_common(held, w_SD, bias_of, l0, sae.signed),
    atoms=sae.s,
    set_by=set_by,
    tried=tried,
  )


def sae_points(
  configs: Sequence[config_lib.TrainConfig],
  out: str,
  val: pareto_scores.Held,
  test: pareto_scores.Held,
  say: Callable[[str], None],
) -> dict[tuple[int, int], Point]:
  """Trains SAEs of one variant in one pass; by (L0, seed).

  Of several learning rates each L0 takes the one of best mean R² on val.
  """
  arch, start = configs[0].arch, time.perf_counter()
  folders = sweep.sweep(configs, out, os.path.exists(f'{out}/{run.RUN}'))
  say(f'{arch}: {len(configs)} in {time.perf_counter() - start:.1f} s')
  by_rate: dict[int, dict[float, dict[int, str]]] = {}
  for config, folder in zip(configs, folders, strict=True):
    rates = by_rate.setdefault(config.k, {})
    rates.setdefault(config.lr, {})[config.seed] = folder
  how = 'a loss towards L0' if arch == 'jumprelu' else 'k in training'
  found = {}
  for k, rates in by_rate.items():
    (lr,) = rates if len(rates) == 1 else (None,)
    if lr is None:
      quality = {
        rate: np.mean(
          [
            pareto_scores.r2(val, _sae_codes(val, *io.load(folder)))
            for folder in of_seed.values()
          ]
        )
        for rate, of_seed in rates.items()
      }
      lr = max(quality, key=quality.get)
    chosen = ' chosen on val' if len(rates) > 1 else ''
    set_by = f'{how}: {k}; lr {lr:g}{chosen}'
    for seed, folder in rates[lr].items():
      found[k, seed] = _sae_point(test, folder, k, set_by, len(rates))
  return found


# Other methods.


def write(path: str, dictionary: baselines.Dictionary, seconds: float) -> None:
  """Writes a dictionary to `path.safetensors`, then `path.json`."""
  os.makedirs(os.path.dirname(path), exist_ok=True)
  arrays = {name: getattr(dictionary, name) for name in _ARRAYS}
  files.write_arrays(
    f'{path}.safetensors', {n: a for n, a in arrays.items() if a is not None}
  )
  about = {'code': dictionary.code, 'signed': dictionary.signed}
  manifest.write_json(f'{path}.json', about | {'seconds': seconds})


def read(path: str) -> baselines.Dictionary | None:
  """The dictionary of `write`, if it is there."""
  if not os.path.exists(f'{path}.json'):
    return None
  about = manifest.read_json(f'{path}.json')
  arrays = files.map_arrays(f'{path}.safetensors')
  return baselines.Dictionary(
    code=about['code'],
    signed=about['signed'],
    **{name: np.array(array) for name, array in arrays.items()},
  )


def _tuning_rows(val: pareto_scores.Held) -> np.ndarray:
  """Rows of val as often of each stream as there are."""
  x_ND = np.concatenate([*val.x.values()])
  n = min(len(x_ND), _TUNING)
  return x_ND[np.sort(batches.permute(np.arange(n), len(x_ND), seed=0))]


def training_rows(store: store_lib.Store) -> np.ndarray:
  """All rows of train, images before texts."""
  streams = [store[name] for name in pareto_scores.STREAMS]
  return np.concatenate([s.take(s.rows('train')) for s in streams]).astype(
    np.float32, copy=False
  )


def _set_by(dictionary: baselines.Dictionary, sparsity: float | None) -> str:
  if dictionary.code == 'nearest':
    return 'one-hot: the nearest centroid'
  if dictionary.code == 'largest':
    return f'largest codes: {sparsity:g}; refitted'
  return f'L1 weight {sparsity:.3g} set on val; refitted'


def _own(dictionary, held, x_val_nD, l0: int) -> tuple[Coded, str]:
  """Held-out rows by a method's own codes, and how these are sparse."""
  sparsity = baselines.tune(dictionary, x_val_nD, l0)
  found = {}
  for name, x_nD in held.x.items():
    z_nS = baselines.encode(dictionary, x_nD, sparsity)
    found[name] = pareto_scores.coded(
      x_nD, z_nS, dictionary.w_SD, dictionary.b_D
    )
  return found, _set_by(dictionary, sparsity)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
  """What is asked of a method that is no SAE."""

  atoms: int
  l0s: Sequence[int]
  seeds: Sequence[int]
  steps: int


def baseline_points(
  name: str,
  asked: Asked,
  out: str,
  x_ND: np.ndarray,
  val: pareto_scores.Held,
  test: pareto_scores.Held,
  say: Callable[[str], None],
) -> dict[tuple[int, int], Point]:
  """Fits a method, or reads what was fitted; by (L0, seed)."""
  method = baselines.METHODS[name]
  x_val_nD = _tuning_rows(val)
  found = {}
  for seed in asked.seeds if method.is_random else asked.seeds[:1]:
    for l0 in asked.l0s:
      part, given = f'seed{seed}', {}
      if method.for_l0:
        part, given = f'l0={l0}-{part}', {'l0': l0, 'steps': asked.steps}
      path = os.path.join(out, name, part)
      if (dictionary := read(path)) is None:
        start = time.perf_counter()
        dictionary = method.fit(x_ND, asked.atoms, seed, **given)
        seconds = time.perf_counter() - start
        write(path, dictionary, seconds)
        say(f'{name}/{part}: {seconds:.1f} s')
      is_one_hot = dictionary.code == 'nearest'
      own, set_by = (
        (None, '') if is_one_hot else _own(dictionary, test, x_val_nD, l0)
      )
      bias_of = lambda _, b_D=dictionary.b_D: b_D
      common = _common(test, dictionary.w_SD, bias_of, l0, dictionary.signed)
      found[l0, seed] = Point(
        own=own, common=common, atoms=dictionary.s, set_by=set_by
      )
    if is_one_hot:  # Its own codes have an L0 of 1, whatever was asked.
      own, set_by = _own(dictionary, test, x_val_nD, 1)
      at_1 = found.get((1, seed))
      found[1, seed] = Point(
        own=own,
        common=at_1.common if at_1 else None,
        atoms=dictionary.s,
        set_by=set_by,
      )
  return found
