"""What the tests of parity with transformers' torch models share."""

from collections.abc import Mapping
import functools
from typing import Any

from absl.testing import absltest
from flax import linen as nn
import jax
import numpy as np

from saejax.models import weights

try:
  import torch
  import transformers
except ImportError:
  torch = transformers = None

# Sizes that differ wherever they may, so that none stands in for another.
VISION = {
  'hidden_size': 40,
  'intermediate_size': 56,
  'num_hidden_layers': 2,
  'num_attention_heads': 5,
  'image_size': 32,
  'patch_size': 8,
}
TEXT = {
  'hidden_size': 32,
  'intermediate_size': 48,
  'num_hidden_layers': 3,
  'num_attention_heads': 4,
  'vocab_size': 99,
  'max_position_embeddings': 16,
}

# The largest ‖a − b‖ / ‖b‖. A port that misses it has a mistake: find it.
TOLERANCE = 1e-5

needs_torch = absltest.skipIf(
  torch is None, 'torch is not here: ./launch.sh test --parity'
)


def reference(model_class: str, config_class: str, config: dict, **kwargs):
  """A model of transformers with every parameter away from its start."""
  torch.manual_seed(0)
  built = getattr(transformers, config_class)(**config, **kwargs)
  model = getattr(transformers, model_class)(built).eval()
  # Zero biases, unit scales and equal queries would hide what they multiply.
  with torch.no_grad():
    for parameter in model.parameters():
      parameter += 0.2 * torch.randn(parameter.shape)
  return model


def state(model) -> dict[str, np.ndarray]:
  return {name: t.numpy() for name, t in model.state_dict().items()}


def load(module: nn.Module, checkpoint: Mapping, *inputs) -> Any:
  """The checkpoint as the module's variables; nothing may be left over."""
  shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)
  return {'params': weights.load(checkpoint, shapes['params'], 'torch')}


def init(module: nn.Module, *inputs) -> Any:
  """Random variables. From NumPy: the module's own take longer to compile."""
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda leaf: 0.2 * rng.normal(size=leaf.shape).astype(np.float32),
    jax.eval_shape(module.init, jax.random.key(0), *inputs),
  )


def apply(module: nn.Module, variables, *inputs, **kwargs):
  """The module under jit, in full precision."""
  with jax.default_matmul_precision('highest'):
    call = jax.jit(
      lambda v, *x: module.apply(v, *x, **kwargs),
      # Each is called once: compiling takes all the time.
      compiler_options={'xla_backend_optimization_level': 0},
    )
    return jax.device_get(call(variables, *inputs))


def channels_first(image_BHWC: np.ndarray):
  return torch.tensor(image_BHWC.transpose(0, 3, 1, 2))


def ids(ids_BT: np.ndarray):
  return torch.tensor(ids_BT.astype(np.int64))


class ParityTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(torch.no_grad())

  def record(self, encoder, attention: str = 'self_attn', mlp: str = 'mlp'):
    """A dict that a torch encoder fills with what its layers' parts return."""
    seen = {}

    def hook(key, part, inputs, output):
      seen[key] = output[0] if isinstance(output, tuple) else output

    for i, layer in enumerate(encoder.layers):
      for key, name in (('attention', attention), ('mlp', mlp)):
        part = getattr(layer, name)
        handle = part.register_forward_hook(functools.partial(hook, (i, key)))
        self.addCleanup(handle.remove)
    return seen

  def assert_equal(self, ours, theirs, name: str) -> None:
    theirs = np.asarray(theirs)
    self.assertEqual(ours.shape, theirs.shape, name)
    error = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
    self.assertLess(error, TOLERANCE, name)

  def assert_tower(self, out, theirs, seen, **pooled: str) -> None:
    """Every hidden state and every part of a block; `pooled` names the rest.

    Args:
      out: our tower's intermediates.
      theirs: transformers' output with hidden states.
      seen: what `record` has of their encoder.
      **pooled: a name in `out` and that of theirs.
    """
    *states, last = theirs.hidden_states
    self.assertNotEmpty(states)
    for i, state in enumerate(states):
      self.assert_equal(out[f'layers_{i}']['residual'], state, f'residual {i}')
    self.assertNotIn(f'layers_{len(states)}', out)
    self.assert_equal(out['residual'], last, 'last residual')
    self.assert_equal(out['tokens'], theirs.last_hidden_state, 'tokens')
    self.assertLen(seen, 2 * len(states))
    for (i, key), expected in seen.items():
      self.assert_equal(out[f'layers_{i}'][key], expected, f'{key} {i}')
    for ours, name in pooled.items():
      self.assert_equal(out[ours], getattr(theirs, name), ours)
