"""Llama and Mistral: parity with torch, the cache, and edits."""

from absl.testing import absltest
from absl.testing import parameterized
import jax.numpy as jnp
import numpy as np

from saejax import errors
from saejax.models import llama
from tests.models import llava_configs
from tests.models import parity

LLAMA = llava_configs.config()['text_config']
MISTRAL = llava_configs.config('mistral')['text_config']
CLASSES = {
  'llama': ('LlamaForCausalLM', 'LlamaConfig'),
  'mistral': ('MistralForCausalLM', 'MistralConfig'),
}


def ids(rows: int = 3, length: int = 40) -> np.ndarray:
  rng = np.random.default_rng(rows)
  return rng.integers(3, 120, (rows, length)).astype(np.int32)


def module(config: dict) -> llama.CausalLM:
  return llama.CausalLM(llama.LlamaConfig.from_dict(config))


def tokens(ids_BT=None, length_B=None, start_B=0) -> llama.Tokens:
  ids_BT = ids() if ids_BT is None else ids_BT
  return llama.tokens_of(jnp.asarray(ids_BT), length_B, start_B=start_B)


@parity.needs_torch
class ParityTest(parity.ParityTest, parameterized.TestCase):
  @parameterized.parameters(
    (LLAMA, {}),
    (MISTRAL, {}),
    (LLAMA, {'num_key_value_heads': 4, 'tie_word_embeddings': True}),
    (LLAMA, {'head_dim': 16, 'attention_bias': True, 'mlp_bias': True}),
    (LLAMA, {'rope_parameters': {'rope_type': 'linear', 'factor': 4.0,
                                 'rope_theta': 500.0}}),
  )  # fmt: skip
  def test_every_hidden_state_and_logit(self, config, changes):
    config = config | changes
    kind = config['model_type']
    theirs = parity.reference(*CLASSES[kind], config)
    ours = module(theirs.config.to_dict())
    state = parity.state(theirs)
    if config.get('tie_word_embeddings'):
      del state['lm_head.weight']
    variables = parity.load(ours, state, tokens())
    seen = self.record(theirs.model)
    length_B = np.array([40, 17, 31])
    mask_BT = np.arange(40) < length_B[:, None]
    expected = theirs(
      parity.ids(ids()),
      attention_mask=parity.ids(mask_BT),
      output_hidden_states=True,
    )
    logit_BTV, out, _ = parity.apply(ours, variables, tokens(None, length_B))
    *states, last = expected.hidden_states
    self.assertLen(states, 3)
    real = lambda a: np.asarray(a)[mask_BT]  # Of padding nothing is promised.
    for i, state in enumerate(states):
      layer = out[f'layers_{i}']
      self.assert_equal(real(layer['residual']), real(state), f'residual {i}')
      for part in ('attention', 'mlp'):
        self.assert_equal(real(layer[part]), real(seen[i, part]), f'{part} {i}')
    self.assert_equal(real(out['tokens']), real(last), 'tokens')
    self.assert_equal(real(logit_BTV), real(expected.logits), 'logits')


class DecoderTest(parameterized.TestCase):
  @parameterized.parameters((LLAMA,), (MISTRAL,))
  def test_the_cache_gives_what_the_whole_row_gives(self, config):
    ours = module(config)
    variables = parity.init(ours, tokens())
    whole, *_ = parity.apply(ours, variables, tokens())
    cache = llama.empty_cache(ours.config, 3, 44, jnp.float32)
    length_B = np.array([30, 25, 11])
    first = np.where(np.arange(30) < length_B[:, None], ids()[:, :30], 99)
    found, _, cache = parity.apply(
      ours, variables, tokens(first, length_B), cache
    )
    for b, length in enumerate(length_B):
      np.testing.assert_allclose(
        found[b, :length], whole[b, :length], rtol=2e-4, atol=2e-5
      )
    # Rows go on from where each of them ends, over what padding had written.
    for step in range(3):
      at_B = length_B + step
      next_B1 = ids()[np.arange(3), at_B][:, None]
      found, _, cache = parity.apply(
        ours, variables, tokens(next_B1, start_B=at_B), cache
      )
      np.testing.assert_allclose(
        found[:, 0], whole[np.arange(3), at_B], rtol=2e-4, atol=2e-5
      )

  def test_a_later_token_changes_nothing_before_it(self):
    ours = module(LLAMA)
    variables = parity.init(ours, tokens())
    changed = ids()
    changed[:, 20] = 5
    before, *_ = parity.apply(ours, variables, tokens())
    after, *_ = parity.apply(ours, variables, tokens(changed))
    np.testing.assert_array_equal(before[:, :20], after[:, :20])
    self.assertGreater(np.abs(before[:, 20:] - after[:, 20:]).max(), 1e-3)

  def test_a_window_hides_what_lies_before_it(self):
    config = LLAMA | {'model_type': 'mistral', 'sliding_window': 4,
                      'num_hidden_layers': 1}  # fmt: skip
    ours = module(config)
    variables = parity.init(ours, tokens())
    changed = ids()
    changed[:, 20] = 5
    before, *_ = parity.apply(ours, variables, tokens())
    after, *_ = parity.apply(ours, variables, tokens(changed))
    moved_T = np.abs(before - after).max(axis=(0, 2)) > 0
    np.testing.assert_array_equal(np.flatnonzero(moved_T), [20, 21, 22, 23])

  def test_edits_are_of_what_enters_a_block(self):
    ours = module(LLAMA)
    variables = parity.init(ours, tokens())
    _, plain, _ = parity.apply(ours, variables, tokens())
    shift = lambda x_BTD, at: x_BTD + at.ids_BT[..., None] * 1.0
    _, out, _ = parity.apply(ours, variables, tokens(), edits={1: shift})
    np.testing.assert_array_equal(
      out['layers_0']['residual'], plain['layers_0']['residual']
    )
    np.testing.assert_allclose(
      out['layers_1']['residual'],
      plain['layers_1']['residual'] + ids()[..., None],
      rtol=1e-6,
    )
    _, end, _ = parity.apply(ours, variables, tokens(), edits={3: shift})
    np.testing.assert_allclose(
      end['residual'], plain['residual'] + ids()[..., None], rtol=1e-6
    )

  def test_a_layer_that_is_not_there_is_told(self):
    ours = module(LLAMA)
    variables = parity.init(ours, tokens())
    with self.assertRaisesRegex(errors.UserError, 'no layer 7 to edit'):
      parity.apply(ours, variables, tokens(), edits={7: lambda x, _: x})


class ConfigTest(parameterized.TestCase):
  def test_what_files_leave_out(self):
    mistral = llama.LlamaConfig.from_dict({'model_type': 'mistral'})
    self.assertEqual(mistral.heads, (8, 4, 128))
    self.assertEqual(mistral.sliding_window, 4096)
    open_ = {'model_type': 'mistral', 'sliding_window': None}
    self.assertIsNone(llama.LlamaConfig.from_dict(open_).sliding_window)
    self.assertEqual(llama.LlamaConfig.from_dict({}).heads, (32, 1, 128))

  @parameterized.parameters(
    ({'rope_theta': 5e5}, 5e5, 1.0),
    ({'rope_parameters': {'rope_theta': 7.0}}, 7.0, 1.0),
    ({'rope_scaling': {'type': 'linear', 'factor': 2.0}}, 1e4, 2.0),
  )
  def test_positions_of_either_version(self, config, theta, factor):
    found = llama.LlamaConfig.from_dict(config)
    self.assertEqual((found.rope_theta, found.rope_factor), (theta, factor))

  @parameterized.parameters(
    ({'model_type': 'gemma'}, "type 'gemma'"),
    ({'rope_scaling': {'rope_type': 'yarn'}}, "type 'yarn'"),
  )
  def test_other_kinds_are_refused(self, config, message):
    with self.assertRaisesRegex(errors.UserError, message):
      llama.LlamaConfig.from_dict(config)


if __name__ == '__main__':
  absltest.main()
