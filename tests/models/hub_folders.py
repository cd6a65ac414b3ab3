"""Small models in folders like those on the hub, made without a network.

Weights are random; processors and tokenizers are real ones of each family, of
small vocabularies.
"""

import io
import json
import os

import numpy as np
from PIL import Image
import tokenizers
from tokenizers import models
from tokenizers import normalizers
from tokenizers import pre_tokenizers
from tokenizers import processors
from tokenizers import trainers
import transformers

from tests.models import parity

CORPUS = (
  'a photo of two cats on the red mat',
  'a drawing of the old town by the river',
  'it is three in the morning and the town sleeps',
  'the quick brown fox jumps over the lazy dog',
  'what the dog saw, the cat had seen before; really?',
) * 8  # fmt: skip
TEXTS = (
  'a photo of two cats',
  'A PHOTO of Two Cats!',
  "It's 3 o'clock -- really?",
  'naïve café, 北京 ☕ Straße',
  '  spaced \t out  ',
  'x',
  '.',
  'the cat sat on the red mat ' * 40,
)


def _picture(width: int, height: int) -> np.ndarray:
  """Gradients and noise, which show a wrong filter or crop."""
  rng = np.random.default_rng(width)
  x = np.linspace(0, 1, width)[None, :, None]
  y = np.linspace(0, 1, height)[:, None, None]
  waves = 90 * x * [1, 0.3, 0] + 80 * y * [0, 1, 0.5] + 50 * np.sin(9 * x * y)
  noisy = 60 + waves + rng.normal(0, 20, (height, width, 3))
  return np.clip(noisy, 0, 255).astype(np.uint8)


def _encoded(image: Image.Image, kind: str) -> bytes:
  file = io.BytesIO()
  image.save(file, kind)
  return file.getvalue()


def pictures() -> list[bytes]:
  """Image files of sizes and modes that data sets have."""
  image = lambda *size: Image.fromarray(_picture(*size))
  return [
    _encoded(image(160, 90), 'JPEG'),
    _encoded(image(75, 140), 'JPEG'),
    _encoded(image(7, 5), 'JPEG'),
    _encoded(image(701, 463), 'JPEG'),
    _encoded(image(64, 64), 'JPEG'),
    _encoded(image(99, 101).convert('L'), 'JPEG'),
    _encoded(image(120, 80).convert('CMYK'), 'JPEG'),
    _encoded(image(88, 97).quantize(32), 'PNG'),
    _encoded(image(90, 70).convert('RGBA'), 'PNG'),
  ]


def _bpe(trainer, pre_tokenizer, normalizer) -> list[tuple[str, str]]:
  """Merges that are learned from the corpus."""
  found = tokenizers.Tokenizer(
    models.BPE(end_of_word_suffix=trainer.end_of_word_suffix or '')
  )
  found.pre_tokenizer, found.normalizer = pre_tokenizer, normalizer
  found.train_from_iterator(CORPUS, trainer)
  return [tuple(m) for m in json.loads(found.to_str())['model']['merges']]


def clip_tokenizer(**kwargs):
  alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
  merges = _bpe(
    trainers.BpeTrainer(
      vocab_size=360, end_of_word_suffix='</w>', show_progress=False
    ),
    pre_tokenizers.Sequence(
      [
        pre_tokenizers.WhitespaceSplit(),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
      ]
    ),
    normalizers.Lowercase(),
  )
  pieces = [
    *alphabet, *(f'{a}</w>' for a in alphabet), *(''.join(m) for m in merges),
    '<|startoftext|>', '<|endoftext|>',
  ]  # fmt: skip
  vocab = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
  return transformers.CLIPTokenizer(vocab=vocab, merges=merges, **kwargs)


def gemma_tokenizer(**kwargs):
  """As SigLIP 2 has it: it says that it is a plain Gemma one."""
  merges = _bpe(
    trainers.BpeTrainer(vocab_size=150, show_progress=False),
    pre_tokenizers.Split('▁', 'merged_with_next'),
    normalizers.Replace(' ', '▁'),
  )
  letters = sorted({*''.join(CORPUS), *'▁ABCDPT'} - {' '})
  pieces = [
    '<pad>', '<eos>', '<bos>', '<unk>', '<mask>',
    *(f'<0x{i:02X}>' for i in range(256)), *letters,
    *(''.join(m) for m in merges),
  ]  # fmt: skip
  vocab = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
  found = transformers.GemmaTokenizer(
    vocab=vocab, merges=merges, padding_side='right', **kwargs
  )
  found.backend_tokenizer.post_processor = processors.TemplateProcessing(
    single='$A <eos>', special_tokens=[('<eos>', vocab['<eos>'])]
  )
  return found


def sentencepiece_tokenizer(path: str, **kwargs):
  """SigLIP's; needs the package sentencepiece."""
  import sentencepiece

  file = os.path.join(path, 'spiece.model')
  with open(file, 'wb') as f:
    sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(CORPUS), model_writer=f, vocab_size=90,
      pad_id=0, eos_id=1, unk_id=2, bos_id=-1, hard_vocab_limit=False,
      minloglevel=2,
    )  # fmt: skip
  return transformers.SiglipTokenizer(file, **kwargs)


def save(
  path: str,
  model: str,
  config: dict,
  tokenizer,
  processor,
  in_one: bool = False,
) -> None:
  """Writes a folder with random weights.

  Args:
    path: the folder.
    model: the name of the class in transformers, as its config's but for
      'Config'.
    config: of both towers, without what the tokenizer says.
    tokenizer: of the model.
    processor: of images.
    in_one: as version 5 saves a processor, in one file for both.
  """
  text = config['text_config'] | {
    'vocab_size': len(tokenizer),
    'eos_token_id': tokenizer.eos_token_id,
    'bos_token_id': tokenizer.bos_token_id or 0,
    'pad_token_id': tokenizer.pad_token_id,
  }
  parity.reference(
    model, model.replace('Model', 'Config'), config | {'text_config': text}
  ).save_pretrained(path)
  tokenizer.save_pretrained(path)
  if in_one:
    kind = transformers.CLIPProcessor
    kind(processor, tokenizer).save_pretrained(path)
  else:
    processor.save_pretrained(path)
