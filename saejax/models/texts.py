"""The tokenizer of a model folder, and texts as rows of token ids."""

import json
import os

import numpy as np
import transformers

from saejax import errors

CONFIG = 'tokenizer_config.json'
_OF_TYPE = {
  'clip': 'CLIPTokenizer',
  'aimv2': 'CLIPTokenizer',
  'siglip': 'SiglipTokenizer',
  'siglip2': 'Siglip2Tokenizer',
  'llava_next': 'LlamaTokenizer',
}
# What folders name, and what is meant. SigLIP 2 was trained on lower case,
# which a plain Gemma tokenizer keeps; its models of one resolution are of type
# 'siglip'. The others say no more than that tokenizer.json is all there is.
_MEANT = {
  'GemmaTokenizer': 'Siglip2Tokenizer',
  'PreTrainedTokenizer': 'PreTrainedTokenizerFast',
  'TokenizersBackend': 'PreTrainedTokenizerFast',
}
_LENGTHS = 8  # Token lengths are padded to multiples of this.


def load(path: str, model_type: str) -> transformers.PreTrainedTokenizerBase:
  """Reads a folder's tokenizer; no code of the folder's is run.

  `transformers.AutoTokenizer` goes by the model's type, for 'siglip2' against
  what the folder says, and reads the model's config on its way, which warns of
  ids that only the defaults of 'siglip' have.

  Args:
    path: a model folder.
    model_type: of its `config.json`.

  Raises:
    UserError: there is no tokenizer, it is damaged, or needs a package that is
      not installed.
  """
  name = _class_name(path, model_type)
  try:
    kind = getattr(transformers, name, None)
    if kind is None:
      raise errors.UserError(
        f'{os.path.join(path, CONFIG)} asks for a {name}, which transformers '
        f'{transformers.__version__} does not have.'
      )
    # Of a class that lacks a package, the first attribute raises ImportError.
    files = kind.vocab_files_names.values()
    if not set(files) & set(os.listdir(path)):
      raise errors.UserError(
        f'{path} has no tokenizer: a {name} is read from '
        f'{" or ".join(sorted(files))}.'
      )
    return kind.from_pretrained(path, local_files_only=True)
  except errors.UserError:
    raise
  except ImportError:
    raise errors.UserError(
      f'{path} has a {name}, for which packages are missing: run pip install '
      'sentencepiece protobuf.'
    ) from None
  # Files may hold anything, and the parsers raise bare Exceptions too.
  except Exception as e:
    raise errors.UserError(
      f'{path}: the files of its {name} are damaged ({first_line(e)}).'
    ) from e


def first_line(e: Exception) -> str:
  """What an exception says first, without a full stop."""
  lines = str(e).strip().splitlines() or [type(e).__name__]
  return lines[0].rstrip('.')


def _class_name(path: str, model_type: str) -> str:
  """The class that reads the folder's tokenizer."""
  file = os.path.join(path, CONFIG)
  config = {}
  if os.path.exists(file):
    try:
      with open(file, encoding='utf-8') as f:
        config = dict(json.load(f))
    except (TypeError, ValueError) as e:
      raise errors.UserError(f'{file} is damaged: {first_line(e)}.') from None
  named = str(config.get('tokenizer_class') or _OF_TYPE[model_type])
  named = named.removesuffix('Fast')
  return _MEANT.get(named, named)


def encode(
  tokenizer: transformers.PreTrainedTokenizerBase,
  texts: list[str],
  most: int,
  whole: bool,
) -> np.ndarray:
  """Token ids int32 [N, T]; long texts are cut.

  Args:
    tokenizer: the model's.
    texts: N of them.
    most: the most tokens that the model takes.
    whole: T is `most`, and padding is on the tokenizer's own side; else T is
      the longest text, rounded up, and padding is on the right.
  """
  ids = tokenizer(texts, truncation=True, max_length=most)['input_ids']
  longest = most if whole else max(map(len, ids))
  length = min(-(-longest // _LENGTHS) * _LENGTHS, most)
  ids_NT = np.full((len(ids), length), tokenizer.pad_token_id, np.int32)
  on_left = whole and tokenizer.padding_side == 'left'
  for row, tokens in zip(ids_NT, ids, strict=True):
    start = length - len(tokens) if on_left else 0
    row[start : start + len(tokens)] = tokens
  return ids_NT
