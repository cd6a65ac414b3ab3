"""A language model of transformers that answers questions, greedily, on torch.

Weights are read from safetensors alone, and no code of a model's is run.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
from typing import Any

from saejax import errors

Messages = Sequence[Mapping[str, Any]]
_ANSWER = '\n\nAnswer:'  # To a model that knows of no chats.


def check_kind(path: str) -> None:
  """UserError unless a folder's config is of a language model."""
  import transformers

  with _quiet():
    try:
      config = transformers.AutoConfig.from_pretrained(
        path, local_files_only=True, trust_remote_code=False
      )
    except Exception as e:  # Files may hold anything.
      raise errors.UserError(
        f'transformers cannot read the config of {path} ({_why(e)}).'
      ) from e
  known = transformers.AutoModelForCausalLM._model_mapping
  if type(config) not in known:
    raise errors.UserError(
      f'{path} is of type {config.model_type}, which is no language model that '
      'transformers knows: give --judge_model a causal one.'
    )


def _why(e: Exception) -> str:
  lines = str(e).strip().splitlines() or [type(e).__name__]
  return lines[0].rstrip('.')


@contextlib.contextmanager
def _quiet():
  """Without the library's advice and bars."""
  import transformers

  logging = transformers.utils.logging
  before = logging.get_verbosity()
  logging.set_verbosity_error()
  logging.disable_progress_bar()
  try:
    yield
  finally:
    logging.set_verbosity(before)
    logging.enable_progress_bar()


def _load(path: str, dtype: str, device: str) -> tuple[Any, Any]:
  """The tokenizer and the model of a folder, ready to run."""
  import transformers

  safe = {'local_files_only': True, 'trust_remote_code': False}
  try:
    tokenizer = transformers.AutoTokenizer.from_pretrained(path, **safe)
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
      path,
      dtype=dtype,
      use_safetensors=True,
      output_loading_info=True,
      **safe,
    )
    model = model.eval().to(device)
  except Exception as e:  # Files may hold anything.
    raise errors.UserError(
      f'The judge {path} cannot be loaded ({_why(e)}).'
    ) from e
  absent = sorted(map(str, info.get('missing_keys') or ()))
  if absent or info.get('mismatched_keys'):
    odd = absent or [str(k) for k in info['mismatched_keys']]
    raise errors.UserError(
      f'{path} lacks the tensor {odd[0]}, or has it of another shape '
      f'({len(odd)} such).'
    )
  return tokenizer, model


def _merged(messages: Messages) -> list[dict[str, str]]:
  """All as one message: some templates know of no system."""
  words = '\n\n'.join(m['content'] for m in messages)
  return [{'role': 'user', 'content': words}]


def prompt_ids(tokenizer: Any, messages: Messages) -> list[int]:
  """A question as the model reads it.

  By its chat template where it has one; else the words, and that an answer
  follows.

  Raises:
    UserError: its template takes no such question.
  """
  (whole,) = _merged(messages)
  if not getattr(tokenizer, 'chat_template', None):
    return tokenizer(whole['content'] + _ANSWER)['input_ids']
  for said in (list(messages), [whole]):
    try:
      found = tokenizer.apply_chat_template(
        said,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        enable_thinking=False,  # Some would use up the answer by that.
      )
      return list(found['input_ids'])
    except Exception as e:  # A template raises what it likes.
      why = e
  raise errors.UserError(
    f"The judge's chat template takes no question ({_why(why)})."
  ) from why


def own_answer(tokenizer: Any, said: str) -> str:
  """What was said, less the questions of its own that a model which knows of no
  chats goes on with."""
  said = said.strip()
  has_chats = getattr(tokenizer, 'chat_template', None)
  return said if has_chats else said.split('\n\n')[0]


def _greedy(model: Any, tokenizer: Any, most: int) -> Any:
  """How to generate: of the folder's own settings only where answers end."""
  import transformers

  own = model.generation_config
  ends = own.eos_token_id
  ends = tokenizer.eos_token_id if ends is None else ends
  pad = tokenizer.pad_token_id
  first = ends[0] if isinstance(ends, list) and ends else ends
  return transformers.GenerationConfig(
    do_sample=False,
    num_beams=1,
    max_new_tokens=most,
    eos_token_id=ends,
    pad_token_id=first if pad is None else pad,
  )


def speaker(
  path: str, dtype: str, device: str, most: int
) -> Callable[[Messages], tuple[str, int]]:
  """A function from a question to an answer and the tokens of both.

  Args:
    path: a folder in Hugging Face layout.
    dtype: of parameters and computation; 'auto' is that of the files.
    device: where torch computes.
    most: tokens of an answer.

  Raises:
    UserError: the folder cannot be read, or lacks something; of the function,
      a question is too long.
  """
  import torch

  with _quiet():
    tokenizer, model = _load(path, dtype, device)
  # Else what its folder says of sampling would be taken up, and warned of.
  model.generation_config = _greedy(model, tokenizer, most)
  text = model.config.get_text_config()
  room = getattr(text, 'max_position_embeddings', None)

  def say(messages: Messages) -> tuple[str, int]:
    ids = prompt_ids(tokenizer, messages)
    if room is not None and len(ids) + most > room:
      raise errors.UserError(
        f'A question has {len(ids)} tokens and its answer up to {most}; the '
        f'judge {path} has room for {room}: give another.'
      )
    ids_1T = torch.tensor([ids], device=device)
    try:
      with torch.inference_mode(), _quiet():
        out_1T = model.generate(
          input_ids=ids_1T, attention_mask=torch.ones_like(ids_1T)
        )
    except torch.OutOfMemoryError as e:
      raise errors.UserError(
        f'--judge_device={device} has no room for the judge: try '
        '--judge_dtype=bfloat16, or a smaller one.'
      ) from e
    said = tokenizer.decode(out_1T[0, len(ids) :], skip_special_tokens=True)
    return own_answer(tokenizer, said), out_1T.shape[1]

  return say
