"""A judge that runs here is asked as one behind an endpoint, and kept alike."""

import dataclasses
import os
import sys
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from saejax import errors
from saejax.data import judge
from saejax.pipeline import interpreting
from saejax.pipeline import interpreting_explainers as explainers
from saejax.pipeline import interpreting_subject as subject
from saejax.pipeline import judges
from tests.data import stub_judge
from tests.models import parity
from tests.pipeline import planted_scenes
from tests.torch_bridge import tiny_judge

MOST = 5  # Tokens of an answer.
ASK = [{'role': 'user', 'content': 'fires red circle'}]


def spy(said: str, asked: list, cache: str) -> judges.Local:
  """A judge that runs here and always says the same."""

  def load(most: int):
    del most
    return lambda messages: (asked.append(list(messages)) or said, 1)

  return judges.Local('spy', cache, '0', 'auto', load)


class AlikeTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    store, sae = (os.path.join(folder, name) for name in ('store', 'sae'))
    planted_scenes.write_store(store, n=400)
    planted_scenes.write_sae(sae)
    cls.subject = subject.read(
      subject.InterpretConfig(sae=sae, store=store, concepts=4, strata=2)
    )
    own = cls.subject.sources[0]
    cls.prepared = [subject.prepare(cls.subject, own)]

  def interpret(self, who: judge.Judge):
    explainer = explainers.Judge(who)
    found = interpreting.interpret(self.subject, self.prepared, explainer)
    return found, explainer.spent

  def test_it_is_asked_what_an_endpoint_is(self):
    here: list = []
    cache = self.create_tempdir().full_path
    self.interpret(spy('red', here, cache))
    with stub_judge.serve(lambda _: 'red') as stub:
      self.interpret(judge.Endpoint(stub.url, 'small', cache))
    self.assertNotEmpty(here)
    self.assertEqual(here, [body['messages'] for body in stub.asked])

  @parity.needs_torch
  def test_junk_is_not_read_kept_and_gone_on_from(self):
    path = self.create_tempdir().full_path
    tiny_judge.write(path, template=tiny_judge.TEMPLATE)
    config = judges.JudgeConfig(judge_model=path)
    out = self.create_tempdir().full_path
    ready = lambda: dataclasses.replace(
      judges.open_judge(config, out), most=MOST
    )
    first, spent = self.interpret(ready())
    self.assertEqual(first.entries['judge/unread']['value'], 1)
    self.assertEqual(first.entries['sae/auroc']['value'], 0.5)
    self.assertEqual(first.entries['sae/balanced']['value'], 0.5)
    said = [row['explanation'] for row in first.rows]
    self.assertTrue(set(' '.join(said).split()) & set(tiny_judge.WORDS), said)
    cache = os.path.join(out, 'answers')
    names = sorted(os.listdir(cache))
    self.assertEqual(spent.calls, len(names))
    self.assertGreater(spent.tokens, 20 * spent.calls)
    # Half of the answers are lost: only these are given again.
    for name in names[::2]:
      os.remove(os.path.join(cache, name))
    again, spent = self.interpret(ready())
    self.assertEqual(spent.calls, len(names[::2]))
    self.assertEqual(again.entries, first.entries)
    self.assertEqual(again.rows, first.rows)
    self.assertEqual(sorted(os.listdir(cache)), names)
    cost = subject.cost(self.subject, self.prepared, ready())
    self.assertEqual(cost.known, 4)
    # All is known: the model is not even loaded.
    with mock.patch.object(
      judges.judge_torch, 'speaker', side_effect=AssertionError
    ):
      kept, spent = self.interpret(ready())
    self.assertEqual((kept.entries, spent.calls), (first.entries, 0))


@parity.needs_torch
class OpenTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.path = self.create_tempdir().full_path
    tiny_judge.write(self.path)

  def open(self, path: str = '', **changes) -> judges.Local:
    config = judges.JudgeConfig(judge_model=path or self.path, **changes)
    return judges.open_judge(config, '/out')

  def test_what_an_answer_depends_on_is_in_its_name(self):
    name = judge.path_of(self.open(), ASK)
    self.assertStartsWith(name, '/out/answers/')
    again = self.create_tempdir().full_path
    tiny_judge.write(again)
    self.assertEqual(judge.path_of(self.open(again), ASK), name)
    other = self.create_tempdir().full_path
    tiny_judge.write(other, seed=1)
    chatty = self.create_tempdir().full_path
    tiny_judge.write(chatty, template=tiny_judge.TEMPLATE)
    different = [
      judge.path_of(self.open(other), ASK),
      judge.path_of(self.open(chatty), ASK),
      judge.path_of(self.open(judge_dtype='bfloat16'), ASK),
      judge.path_of(self.open(), [*ASK, *ASK]),
      judge.path_of(dataclasses.replace(self.open(), most=9), ASK),
    ]
    self.assertLen({name, *different}, 6)
    elsewhere = judge.path_of(self.open(answers='/kept'), ASK)
    self.assertEqual(elsewhere, name.replace('/out/answers', '/kept'))

  def test_nothing_is_written_before_it_is_asked(self):
    out = self.create_tempdir().full_path
    config = judges.JudgeConfig(judge_model=self.path)
    found = judges.open_judge(config, out)
    self.assertFalse(judge.is_known(found, ASK))
    self.assertEmpty(os.listdir(out))
    found = dataclasses.replace(found, most=MOST)
    first, again = judge.ask(found, ASK), judge.ask(found, ASK)
    self.assertEqual((first.text, True, False), (
      again.text, first.is_new, again.is_new))  # fmt: skip

  def test_without_torch_it_is_told(self):
    with (
      mock.patch.dict(sys.modules, {'torch': None}),
      self.assertRaisesRegex(errors.UserError, 'needs torch, which is not'),
    ):
      self.open()

  def test_weights_must_be_safetensors(self):
    os.rename(
      os.path.join(self.path, 'model.safetensors'),
      os.path.join(self.path, 'pytorch_model.bin'),
    )
    with self.assertRaisesRegex(
      errors.UserError, 'has no weights: looked for model.safetensors, whole'
    ):
      self.open()

  @parameterized.parameters(
    ({'judge_device': 'quux'}, '--judge_device=quux cannot be used by torch'),
    ({'judge_revision': 'v2'}, 'is a folder, which has no revision v2'),
  )
  def test_mistakes(self, changes, message):
    with self.assertRaisesRegex(errors.UserError, message):
      self.open(**changes)


class EndpointTest(absltest.TestCase):
  def test_flags_of_an_endpoint(self):
    given = {'judge_url': 'http://localhost:1/v1', 'judge_model': 'small'}
    with mock.patch.dict(os.environ, {'MY_KEY': 'secret'}):
      found = judges.open_judge(
        judges.JudgeConfig(judge_key='MY_KEY', **given), '/out'
      )
    self.assertEqual(
      found,
      judge.Endpoint(given['judge_url'], 'small', '/out/answers', 'secret'),
    )
    self.assertIsNone(judges.open_judge(judges.JudgeConfig(), '/out'))

  def test_a_model_that_is_not_there(self):
    for given, message in (
      ({}, 'There is no model none: expected a folder, or an id'),
      ({'offline': True}, 'There is no model none: expected a folder, or'),
    ):
      config = judges.JudgeConfig(judge_model='none', **given)
      with self.assertRaisesRegex(errors.UserError, message):
        judges.open_judge(config, '/out')
    config = judges.JudgeConfig(judge_model='org/none', offline=True)
    with self.assertRaisesRegex(errors.UserError, 'the network is not asked'):
      judges.open_judge(config, '/out')


if __name__ == '__main__':
  absltest.main()
