"""Answers are asked for once, kept, and told from what is none."""

import dataclasses
import json
import os
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from saejax import errors
from saejax.data import judge
from tests.data import stub_judge

ASK = [{'role': 'user', 'content': 'what is it'}]


class JudgeTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.cache = os.path.join(self.create_tempdir().full_path, 'answers')
    self.enter_context(mock.patch.object(judge, '_WAIT', 0.0))

  def endpoint(self, url: str, **changes) -> judge.Endpoint:
    return judge.Endpoint(url, 'small', self.cache, **changes)

  def test_an_answer_is_asked_for_once(self):
    with stub_judge.serve(lambda text: f'about {text}') as stub:
      e = self.endpoint(stub.url, key='secret')
      self.assertFalse(judge.is_known(e, ASK))
      first, again = judge.ask(e, ASK), judge.ask(e, ASK)
      self.assertEqual(first, judge.Answer('about what is it', 7, True))
      self.assertEqual(again, judge.Answer('about what is it', 0, False))
      self.assertLen(stub.asked, 1)
      self.assertEqual(stub.asked[0]['model'], 'small')
      self.assertEqual(stub.asked[0]['temperature'], 0)
      self.assertEqual(stub.keys, ['Bearer secret'])
      judge.ask(e, [{'role': 'user', 'content': 'another'}])
      self.assertLen(stub.asked, 2)
    # Without the endpoint, what is known still is; and nothing holds the key.
    self.assertEqual(judge.ask(e, ASK).text, 'about what is it')
    self.assertNotIn('secret', repr(e))
    for name in os.listdir(self.cache):
      with open(os.path.join(self.cache, name), encoding='utf-8') as f:
        self.assertNotIn('secret', f.read())

  def test_another_model_is_another_question(self):
    with stub_judge.serve(lambda _: 'yes') as stub:
      judge.ask(self.endpoint(stub.url), ASK)
      judge.ask(judge.Endpoint(stub.url, 'large', self.cache), ASK)
      self.assertLen(stub.asked, 2)

  def test_what_passes_is_tried_again(self):
    with stub_judge.serve(lambda _: 'yes', [503, 429]) as stub:
      self.assertEqual(judge.ask(self.endpoint(stub.url), ASK).text, 'yes')
      self.assertLen(stub.asked, 3)

  @parameterized.parameters(
    ([401], 'answers 401 .*: set the environment variable that --judge_key'),
    ([400], 'answers 400'),
    ([500] * 9, 'answers 500'),
  )
  def test_a_refusal_is_told_and_not_kept(self, fails, message):
    with stub_judge.serve(lambda _: 'yes', fails) as stub:
      with self.assertRaisesRegex(errors.UserError, message):
        judge.ask(self.endpoint(stub.url), ASK)
      self.assertFalse(judge.is_known(self.endpoint(stub.url), ASK))

  @parameterized.parameters(b'hello', b'{}', b'{"choices": []}', b'[]')
  def test_what_is_no_answer_is_told(self, raw):
    with (
      stub_judge.serve(lambda _: raw) as stub,
      self.assertRaisesRegex(errors.UserError, 'does not answer as chat'),
    ):
      judge.ask(self.endpoint(stub.url), ASK)

  def test_an_endpoint_that_is_not_there_is_told(self):
    with stub_judge.serve(lambda _: 'yes') as stub:
      url = stub.url
    with self.assertRaisesRegex(errors.UserError, 'cannot be reached'):
      judge.ask(self.endpoint(url), ASK)

  @parameterized.parameters(
    'localhost:8000', 'http://', 'http://localhost:abc/v1', 'http://a b/v1'
  )
  def test_what_is_no_address_is_told(self, url):
    judge.check('https://localhost:8000/v1')
    with self.assertRaisesRegex(errors.UserError, 'is no address'):
      judge.check(url)

  def test_what_was_cut_short_is_no_answer(self):
    reply = lambda why: json.dumps(
      {'choices': [{'message': {'content': 'so blue'}, 'finish_reason': why}]}
    ).encode()
    for why, text in (('length', ''), ('stop', 'so blue'), (None, 'so blue')):
      with stub_judge.serve(lambda _, why=why: reply(why)) as stub:
        e = dataclasses.replace(self.endpoint(stub.url), model=str(why))
        self.assertEqual(judge.ask(e, ASK).text, text)

  def test_a_torn_file_is_asked_again(self):
    with stub_judge.serve(lambda _: 'yes') as stub:
      e = self.endpoint(stub.url)
      judge.ask(e, ASK)
      with open(judge.path_of(e, ASK), 'w', encoding='utf-8') as f:
        f.write('{"text": ')
      self.assertTrue(judge.ask(e, ASK).is_new)

  def question(self, *parts: judge.Part) -> judge.Messages:
    return [{'role': 'user', 'content': judge.content(parts)}]

  def test_what_a_question_holds_is_counted(self):
    red = judge.Picture('data:' + 'b' * 4000)
    asked = self.question('a' * 30, red, 'a' * 6, 'a' * 4, red)
    self.assertEqual(judge.tokens(asked), 10)  # Of words alone.
    self.assertEqual(judge.pictures(asked), 2)
    self.assertEqual(judge.characters(asked), 40 + 2 * 4005)
    kinds = [part['type'] for part in asked[0]['content']]
    self.assertEqual(kinds, ['text', 'image_url', 'text', 'image_url'])
    self.assertEqual(judge.content(['a', 'b']), 'ab')
    self.assertEqual((judge.pictures(ASK), judge.characters(ASK)), (0, 10))

  def test_another_picture_is_another_question(self):
    a, b = judge.Picture('data:a'), judge.Picture('data:b')
    paths = {
      judge.path_of(
        self.endpoint('http://x/v1'), self.question('is it red', *pictures)
      )
      for pictures in ([], [a], [b], [a, a])
    }
    self.assertLen(paths, 4)

  def test_who_takes_no_pictures_is_told_of_the_flag(self):
    asked = self.question('is it red', judge.Picture('data:a'))
    with stub_judge.serve(lambda *_: 'yes', [400, 400]) as stub:
      for messages, said in (
        (asked, 'answers 400 .* to 1 pictures: leave --pictures if'),
        (ASK, 'answers 400 Bad Request. It says'),
      ):
        with (
          mock.patch.object(stub_judge, 'pixels'),
          self.assertRaisesRegex(errors.UserError, said),
        ):
          judge.ask(self.endpoint(stub.url), messages)


if __name__ == '__main__':
  absltest.main()
