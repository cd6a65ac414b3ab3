"""A language model of random weights, in a folder: it answers with junk."""

import json
import os

import transformers

from saejax.models import words
from tests.models import parity

WORDS = ('red', 'blue', 'circle', 'star', 'fires', 'silent', 'unit', 'of')
TEMPLATE = (
  '{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}'
  '{% if add_generation_prompt %}assistant {% endif %}'
)
NO_SYSTEM = (
  "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}"
  '{% endif %}' + TEMPLATE
)


def write(
  path: str, seed: int = 0, template: str | None = None, room: int = 4096
) -> None:
  """Saves a Llama and a tokenizer of whole words, as transformers does.

  Args:
    path: the folder.
    seed: of the weights.
    template: of chats, if it knows of any.
    room: tokens that it takes.
  """
  tokenizer = words.word_tokenizer(
    ('user', 'system', 'assistant', *WORDS), room, ends=False
  )
  tokenizer.chat_template = template
  tokenizer.save_pretrained(path)
  config = transformers.LlamaConfig(
    vocab_size=len(tokenizer), hidden_size=16, intermediate_size=24,
    num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
    max_position_embeddings=room, bos_token_id=1, eos_token_id=3,
    pad_token_id=0, initializer_range=0.6,
  )  # fmt: skip
  parity.torch.manual_seed(seed)
  transformers.LlamaForCausalLM(config).save_pretrained(path)


def change(path: str, name: str, **given) -> None:
  """Sets keys of a JSON file of the folder."""
  file = os.path.join(path, name)
  with open(file, encoding='utf-8') as f:
    data = json.load(f)
  with open(file, 'w', encoding='utf-8') as f:
    json.dump(data | given, f)
