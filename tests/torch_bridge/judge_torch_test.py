"""A model that runs here answers greedily, and no code of its folder runs."""

import os

from absl.testing import absltest
from absl.testing import parameterized
import transformers

from saejax import errors
from saejax.torch_bridge import judge_torch
from tests.models import parity
from tests.torch_bridge import tiny_judge

torch = parity.torch
ASK = [
  {'role': 'system', 'content': 'unit of red'},
  {'role': 'user', 'content': 'fires circle'},
]
MOST = 12


@parity.needs_torch
class JudgeTorchTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.path = self.create_tempdir().full_path
    tiny_judge.write(self.path)

  def speaker(self, most: int = MOST):
    return judge_torch.speaker(self.path, 'float32', 'cpu', most)

  def tokenizer(self, template: str | None):
    path = self.create_tempdir().full_path
    tiny_judge.write(path, template=template)
    return transformers.AutoTokenizer.from_pretrained(path)

  def greedy(self) -> tuple[list[int], list[int]]:
    """The question's tokens, and the likeliest next ones, one by one."""
    model = transformers.LlamaForCausalLM.from_pretrained(self.path).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(self.path)
    ids = judge_torch.prompt_ids(tokenizer, ASK)
    said: list[int] = []
    while len(said) < MOST and 3 not in said:
      with torch.inference_mode():
        logits = model(torch.tensor([[*ids, *said]])).logits
      said.append(int(logits[0, -1].argmax()))
    return ids, said

  def test_answers_are_the_likeliest_words(self):
    ids, said = self.greedy()
    tokenizer = transformers.AutoTokenizer.from_pretrained(self.path)
    text, used = self.speaker()(ASK)
    self.assertEqual(text, tokenizer.decode(said, skip_special_tokens=True))
    self.assertEqual(used, len(ids) + len(said))
    self.assertNotEmpty(text)

  def test_what_a_folder_says_of_sampling_is_left(self):
    first = self.speaker()(ASK)
    tiny_judge.change(
      self.path, 'generation_config.json', do_sample=True, temperature=9.0,
      top_p=0.5, repetition_penalty=5.0, max_length=3,
    )  # fmt: skip
    self.assertEqual([self.speaker()(ASK) for _ in range(3)], [first] * 3)

  def test_an_answer_ends_where_the_folder_says(self):
    _, said = self.greedy()
    end = said[2]
    tiny_judge.change(
      self.path, 'generation_config.json', eos_token_id=[3, end]
    )
    _, used = self.speaker()(ASK)
    whole = len(self.greedy()[0]) + said.index(end) + 1
    self.assertEqual(used, whole)

  def test_a_chat_template_is_used(self):
    found = judge_torch.prompt_ids(self.tokenizer(tiny_judge.TEMPLATE), ASK)
    words = 'system unit of red user fires circle assistant'
    plain = self.tokenizer(None)
    self.assertEqual(plain.decode(found, skip_special_tokens=True), words)
    # Where there is none, the words alone, and that an answer follows.
    self.assertEqual(
      judge_torch.prompt_ids(plain, ASK),
      plain('unit of red\n\nfires circle\n\nAnswer:')['input_ids'],
    )

  def test_what_knows_of_no_chats_answers_one_question(self):
    said = ' red\nor so\n\nWhat is it?\n\nAnswer: blue\n'
    plain, chats = self.tokenizer(None), self.tokenizer(tiny_judge.TEMPLATE)
    self.assertEqual(judge_torch.own_answer(plain, said), 'red\nor so')
    self.assertEqual(judge_torch.own_answer(chats, said), said.strip())

  def test_a_template_without_system_gets_one_message(self):
    tokenizer = self.tokenizer(tiny_judge.NO_SYSTEM)
    self.assertEqual(
      tokenizer.decode(
        judge_torch.prompt_ids(tokenizer, ASK), skip_special_tokens=True
      ),
      'user unit of red fires circle assistant',
    )
    tokenizer.chat_template = "{{ raise_exception('never') }}"
    with self.assertRaisesRegex(errors.UserError, 'takes no question .never'):
      judge_torch.prompt_ids(tokenizer, ASK)

  def test_a_question_that_is_too_long_is_told(self):
    tiny_judge.write(self.path, room=20)
    self.assertIsInstance(self.speaker(10)(ASK)[0], str)
    with self.assertRaisesRegex(
      errors.UserError, 'has 7 tokens and its answer up to 14; .* room for 20'
    ):
      self.speaker(14)(ASK)

  def test_only_safetensors_are_read(self):
    os.rename(
      os.path.join(self.path, 'model.safetensors'),
      os.path.join(self.path, 'pytorch_model.bin'),
    )
    with self.assertRaisesRegex(errors.UserError, 'judge .* cannot be loaded'):
      self.speaker()

  def test_no_code_of_the_folder_runs(self):
    ran = os.path.join(self.path, 'ran')
    with open(os.path.join(self.path, 'own.py'), 'w', encoding='utf-8') as f:
      f.write(f'open({ran!r}, "w").close()\n')
    tiny_judge.change(
      self.path, 'config.json', model_type='own',
      auto_map={'AutoConfig': 'own.C', 'AutoModelForCausalLM': 'own.M'},
    )  # fmt: skip
    with self.assertRaisesRegex(errors.UserError, 'cannot read the config'):
      judge_torch.check_kind(self.path)
    with self.assertRaisesRegex(errors.UserError, 'cannot be loaded'):
      self.speaker()
    self.assertFalse(os.path.exists(ran))

  def test_a_tensor_that_is_not_there_is_told(self):
    tiny_judge.change(self.path, 'config.json', num_hidden_layers=3)
    with self.assertRaisesRegex(errors.UserError, 'lacks the tensor model.lay'):
      self.speaker()

  def test_what_is_no_language_model_is_told(self):
    judge_torch.check_kind(self.path)
    tiny_judge.change(self.path, 'config.json', model_type='siglip')
    with self.assertRaisesRegex(
      errors.UserError, 'is of type siglip, which is no language model'
    ):
      judge_torch.check_kind(self.path)


if __name__ == '__main__':
  absltest.main()
