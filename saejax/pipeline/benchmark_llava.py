"""How fast a LLaVA-NeXT reads prompts and goes on, with an edit and without.

Beside it transformers' model on torch, with the same edits by hooks, in turns
on the same cores. Two edits, both of what enters the middle block, at the
image's positions of a prompt and at every new token: a direction that is added,
and an SAE's reconstruction that stands in for the residual.

What a row says is not looked at, and no token ends it: so the weights of all
but the model that ships may be random.
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from saejax import errors
from saejax import nn
from saejax import pretrained
from saejax.models import edits as edits_lib
from saejax.models import folder
from saejax.models import generation
from saejax.models import llava_folder
from saejax.models import llava_next
from saejax.pipeline import exporting
from saejax.pipeline import llava_models
from saejax.pipeline import timing
from saejax.torch_bridge import llava_edits
from saejax.torch_bridge import llava_export
from saejax.torch_bridge import llava_peer

SHIPPED = 'llava-scenes'
SIZES = 'llava-WIDTHxBLOCKS'  # Of a random model, such as llava-512x8.
EDITS = ('add', 'sae')
_SIZES = re.compile(r'llava-([1-9]\d*)x([1-9]\d*)')
_PROMPT = 'USER: <image> describe the image . ASSISTANT:'
_HEADS = 64  # Two heads, which share keys and values.
_EXPANSION, _K = 8, 32  # Of the SAE: width over the model's, active concepts.

Call = Callable[[], Any]


@dataclasses.dataclass(frozen=True)
class Subject:
  """A model on both sides, and the prompts that both read.

  Attributes:
    ours: with parameters on the device.
    theirs: of transformers; None where torch is left out.
    inputs: prompts of one image each, all of one length.
    given: the same as torch takes them.
    layer: whose input is edited.
  """

  ours: llava_folder.LLaVA
  theirs: Any
  inputs: llava_folder.Inputs
  given: dict[str, Any] | None
  layer: int


def is_name(name: str) -> bool:
  """Whether a model of this name is measured here.

  Raises:
    UserError: it names sizes that no model has.
  """
  if name == SHIPPED:
    return True
  sizes = _SIZES.fullmatch(name)
  if sizes and int(sizes[1]) % _HEADS:
    raise errors.UserError(
      f'--models: {name} must have a width that is a multiple of {_HEADS}.'
    )
  return sizes is not None


def _random(config: llava_models.LlavaConfig, dtype: str):
  """A model of random weights with the tower of the CLIP that ships."""
  tokenizer = llava_models.tokenizer()
  vision = folder.read_config(pretrained.path(llava_models.VISION))
  asked = llava_models.hf_config(config, tokenizer, vision['vision_config'])
  parsed = llava_next.LlavaNextConfig.from_dict(asked)
  module = llava_next.LlavaNext(parsed, jnp.dtype(dtype))
  rng = np.random.default_rng(0)
  make = lambda s: 0.02 * rng.standard_normal(s.shape, np.float32)
  model = llava_folder.LLaVA(
    module=module,
    params=jax.tree.map(
      lambda s: jnp.asarray(make(s), jnp.dtype(dtype)),
      llava_folder.abstract_params(module),
    ),
    tokenizer=tokenizer,
    processor=llava_models.processor(parsed),
    ends=(),
    name='random',
  )
  return model, asked


def _models(name: str, dtype: str, with_torch: bool):
  """Ours and theirs, by name."""
  if name == SHIPPED:
    path = pretrained.path(name)
    ours = llava_folder.load(path, dtype=jnp.dtype(dtype))
    params = jax.device_put(ours.params)
    theirs = llava_export.load(path, dtype) if with_torch else None
    return dataclasses.replace(ours, params=params), theirs
  width, blocks = map(int, _SIZES.fullmatch(name).groups())
  config = llava_models.LlavaConfig(text_width=width, text_layers=blocks)
  ours, asked = _random(config, dtype)
  return ours, llava_peer.random_model(asked, dtype) if with_torch else None


def subject(name: str, batch: int, dtype: str, with_torch: bool) -> Subject:
  """A model of a name, and prompts with images of two by two tiles."""
  ours, theirs = _models(name, dtype, with_torch)
  c = ours.module.config
  side = 2 * c.vision.image_size
  pixels = np.random.default_rng(0).integers(
    0, 256, (batch, side, side, 3), np.uint8
  )
  images = [[Image.fromarray(p)] for p in pixels]
  inputs = ours.prepare([_PROMPT] * batch, images)
  # Rows are of one length, so that nothing that pads them need be computed.
  n = int(np.asarray(inputs.tokens.is_real_BT)[0].sum())
  inputs = inputs.replace(
    tokens=jax.tree.map(lambda a: a[:, :n], inputs.tokens),
    image=inputs.image.replace(source_BT=inputs.image.source_BT[:, :n]),
  )
  given = None
  if theirs is not None:
    every = [image for of_row in images for image in of_row]
    given = llava_export.inputs(
      theirs,
      np.asarray(inputs.tokens.ids_BT),
      np.asarray(inputs.tokens.is_real_BT),
      ours.processor(every, return_tensors='np'),
    )
  layer = c.text.num_hidden_layers // 2
  return Subject(ours, theirs, jax.device_put(inputs), given, layer)


@dataclasses.dataclass(frozen=True)
class Edited:
  """What edits are made of.

  Attributes:
    direction_D: that is added.
    sae: that stands in.
    variables: its parameters and constants.
  """

  direction_D: np.ndarray
  sae: nn.LinearSAE
  variables: Any


def make_edited(d: int) -> Edited:
  sae = nn.TopK(d=d, s=_EXPANSION * d, k=_K, modalities=('image', 'text'))
  variables = sae.init(jax.random.key(0), method=lambda module: module.w_dec)
  direction_D = np.random.default_rng(0).standard_normal(d, np.float32)
  return Edited(direction_D, sae, variables)


def _ours(found: Subject, edited: Edited, edit: str | None, most: int):
  """Our generation as a function to jit, and what it is called with.

  What an edit is made of is an argument: as a constant it would be folded.
  """
  model = found.ours

  def run(params, inputs, direction_D, variables):
    act = {
      'add': lambda: edits_lib.add(direction_D),
      'sae': lambda: edits_lib.reconstruct(edited.sae, variables),
    }.get(edit)
    on_image = lambda: edits_lib.where(edits_lib.on_image, act())
    return generation.generate(
      model.module,
      params,
      inputs.tokens,
      inputs.image,
      most=most,
      ends=(),
      edits={found.layer: on_image()} if act else None,
      step_edits={found.layer: act()} if act else None,
    )

  held = jax.device_put((edited.direction_D, edited.variables))
  return jax.jit(run), (model.params, found.inputs, *held)


def _theirs(found: Subject, edited: Edited, edit: str | None, most: int):
  if edit is None:
    return llava_peer.caller(found.theirs, found.given, most, {}, {})
  act = {
    'add': lambda: llava_edits.add(edited.direction_D),
    'sae': lambda: llava_edits.reconstruct(
      exporting.torch_dictionary(edited.sae, edited.variables)
    ),
  }[edit]()
  on_image = llava_edits.where(llava_edits.on_image, act)
  return llava_peer.caller(
    found.theirs, found.given, most, {found.layer: on_image}, {found.layer: act}
  )


def _operations(run: Callable, held: tuple) -> float:
  return run.lower(*held).cost_analysis()['flops']


def calls(
  found: Subject, edited: Edited, most: int
) -> tuple[dict[tuple[str, str], Call], dict[str, float]]:
  """Calls by (edit or '', who), each of `most` tokens a row; the operations of
  ours by edit, as the compiler counts them."""
  made, operations = {}, {}
  for edit in ('', *EDITS):
    run, held = _ours(found, edited, edit or None, most)
    operations[edit] = _operations(run, held)
    made[edit, 'saejax'] = lambda run=run, held=held: run(*held)
  if found.theirs is not None:
    for edit in ('', *EDITS):
      made[edit, 'torch'] = _theirs(found, edited, edit or None, most)
  return made, operations


def _entries(
  seconds: Mapping[tuple[str, str], np.ndarray],
  operations: Mapping[str, float],
  tokens: int,
  counts_arithmetic: bool,
) -> dict[str, dict[str, Any]]:
  """Rates, ratios, and what edits cost, as shares of the time without."""
  entries = {}
  for (edit, who), seconds_R in seconds.items():
    place = f'{edit}/' if edit else ''
    entries[f'{place}{who}'] = {
      **timing.rate(seconds_R, tokens),
      'unit': 'tokens/s',
    }
    if edit:
      cost_R = seconds_R / seconds['', who] - 1
      entries[f'{place}{who}/cost'] = timing.spread(cost_R)
    if who == 'torch':
      times_R = seconds[edit, 'saejax'] / seconds_R
      entries[f'{place}ratio'] = {
        **timing.rate(times_R, 1.0),
        'unit': 'times torch',
      }
    elif edit and counts_arithmetic:
      share = operations[edit] / operations[''] - 1
      entries[f'{place}{who}/operations'] = {'value': share, 'n': 1}
  return entries


def measure(
  name: str,
  *,
  batch: int,
  rounds: int,
  dtype: str = 'float32',
  new_tokens: int = 32,
  with_torch: bool = True,
) -> dict[str, dict[str, Any]]:
  """Tokens a second of prompts that are read, and of what follows them.

  Args:
    name: see `is_name`.
    batch: rows a call.
    rounds: timed calls of each; the first is left out.
    dtype: of parameters and computation.
    new_tokens: that follow each prompt; their rate counts the prompt's time.
    with_torch: also time transformers' model, on the CPU.

  Returns:
    Entries NAME/prefill/… and NAME/generate/…, with …/add/… and …/sae/… for
    the edits: a rate of `saejax` and `torch`; `ratio`; of edits `cost`, the
    share of time that they add in the same round, and of ours `operations`,
    that of arithmetic, below which no cost can be expected.

  Raises:
    UserError: no model can have the size that `name` says.
  """
  found = subject(name, batch, dtype, with_torch)
  edited = make_edited(found.ours.module.config.text.hidden_size)
  prompt = int(np.asarray(found.inputs.tokens.is_real_BT).sum())
  entries = {}
  for way, most, tokens in (
    ('prefill', 1, prompt),
    ('generate', new_tokens, new_tokens * batch),
  ):
    made, operations = calls(found, edited, most)
    seconds = timing.in_turns(made, rounds, f'{name} {way}')
    # A loop's body is counted once, however often it runs.
    told = _entries(seconds, operations, tokens, counts_arithmetic=most == 1)
    entries |= {f'{name}/{way}/{key}': entry for key, entry in told.items()}
  return entries
