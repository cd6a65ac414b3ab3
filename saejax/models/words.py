"""A tokenizer of whole words, in Hugging Face format."""

from collections.abc import Sequence

import tokenizers
from tokenizers import models
from tokenizers import pre_tokenizers
from tokenizers import processors
import transformers

_PAD, _BOS, _UNK, _EOS = '<pad>', '<bos>', '<unk>', '<eos>'


def word_tokenizer(
  words: Sequence[str], max_length: int, ends: bool = True
) -> transformers.PreTrainedTokenizerFast:
  """Maps words to ids, after a start and, if it `ends`, before an end token."""
  # The end token must not have id 2, which CLIP code takes for "unset".
  vocabulary = {w: i for i, w in enumerate((_PAD, _BOS, _UNK, _EOS, *words))}
  tokenizer = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token=_UNK))
  tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
  tokenizer.post_processor = processors.TemplateProcessing(
    single=f'{_BOS} $A {_EOS}' if ends else f'{_BOS} $A',
    special_tokens=[(_BOS, vocabulary[_BOS]), (_EOS, vocabulary[_EOS])],
  )
  return transformers.PreTrainedTokenizerFast(
    tokenizer_object=tokenizer,
    pad_token=_PAD,
    bos_token=_BOS,
    unk_token=_UNK,
    eos_token=_EOS,
    model_max_length=max_length,
  )
