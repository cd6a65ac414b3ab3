"""Models are found in folders and the hub's cache; the hub itself is faked."""

import logging
import os
import pathlib
import subprocess
import sys
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import huggingface_hub
from huggingface_hub import constants
from huggingface_hub import errors as hub_errors
from huggingface_hub import hf_api
from huggingface_hub import utils as hub_utils

from saejax import errors
from saejax.models import hub

ID = 'org/name'
HASH, OTHER = 'a1' * 20, 'b2' * 20
WEIGHTS = ('model.safetensors',)
SHARDS = (
  'model-00001-of-00002.safetensors',
  'model-00002-of-00002.safetensors',
)
INDEX = (
  b'{"weight_map": {"a": "model-00001-of-00002.safetensors", '
  b'"b": "model-00002-of-00002.safetensors"}}'
)
SMALL = ('config.json', 'preprocessor_config.json', 'tokenizer.json')


def http_error(kind: type[Exception], status: int) -> Exception:
  """The library's error for an answer of the hub."""
  # By whichever client the library has.
  client = sys.modules[hub_errors.HTTPError.__module__.partition('.')[0]]
  request = client.Request('GET', 'https://hub.example/api')
  return kind(
    f'{status} of the hub.\nMore.',
    response=client.Response(status, request=request),
  )


def no_network() -> Exception:
  client = sys.modules[hub_errors.HTTPError.__module__.partition('.')[0]]
  return client.ConnectError('Name or service not known')


class HubTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.cache = self.create_tempdir().full_path
    self.enter_context(mock.patch.object(constants, 'HF_HUB_CACHE', self.cache))
    self.enter_context(mock.patch.object(constants, 'HF_HUB_OFFLINE', False))
    # Whatever is not expected to ask the network fails here.
    self.info, self.download = (
      self.enter_context(
        mock.patch.object(
          huggingface_hub, name, side_effect=AssertionError('asked the hub')
        )
      )
      for name in ('model_info', 'snapshot_download')
    )

  @property
  def repository(self) -> str:
    return os.path.join(self.cache, 'models--org--name')

  def snapshot(self, hash_: str = HASH) -> str:
    return os.path.join(self.repository, 'snapshots', hash_)

  def fill(self, *names: str, hash_: str = HASH, ref: str | None = 'main'):
    """Files of a snapshot, as the library keeps them: links to blobs."""
    for part in (self.snapshot(hash_), *(
      os.path.join(self.repository, p) for p in ('blobs', 'refs')
    )):  # fmt: skip
      os.makedirs(part, exist_ok=True)
    for name in names:
      blob = os.path.join(self.repository, 'blobs', name)
      with open(blob, 'wb') as f:
        f.write(INDEX if name.endswith('.index.json') else b'{}')
      os.symlink(
        os.path.join('..', '..', 'blobs', name),
        os.path.join(self.snapshot(hash_), name),
      )
    if ref:
      file = os.path.join(self.repository, 'refs', ref)
      with open(file, 'w', encoding='utf-8') as f:
        f.write(hash_)

  def serve(self, *names: str) -> None:
    """A hub that has files, of which a download takes those asked for."""
    self.info.side_effect = lambda model, revision: hf_api.ModelInfo(
      id=model, sha=HASH, siblings=[{'rfilename': name} for name in names]
    )

    def download(model, revision, allow_patterns):
      del model, revision
      self.fill(
        *hub_utils.filter_repo_objects(names, allow_patterns=allow_patterns)
      )
      return self.snapshot()

    self.download.side_effect = download

  def assert_refused(self, said: str, *args, **kwargs) -> None:
    with self.assertRaisesRegex(errors.UserError, said) as caught:
      hub.resolve(*args, **kwargs)
    self.assertNotIn('\n', str(caught.exception))


class FolderTest(HubTest):
  def test_a_folder_is_taken_as_it_is(self):
    path = self.create_tempdir('my-model').full_path
    name = os.path.basename(path)
    self.assertEqual(hub.resolve(path), hub.Resolved(path, name, None))
    self.assertEqual(hub.resolve(f'{path}/').name, name)
    self.assert_refused('is a folder, which has no revision', path, 'main')

  def test_a_snapshot_says_what_it_is(self):
    self.fill(*SMALL)
    expected = hub.Resolved(self.snapshot(), ID, HASH)
    self.assertEqual(hub.resolve(self.snapshot()), expected)
    self.assertEqual(hub.resolve(self.snapshot(), HASH), expected)
    self.assert_refused('no revision b2', self.snapshot(), OTHER)

  @parameterized.parameters(
    '/no/such/folder', './model', 'model', 'a/b/c', 'org/na me', 'org/a--b',
    'org/', '',
  )  # fmt: skip
  def test_what_is_neither_a_folder_nor_an_id(self, model):
    self.assert_refused('There is no model .*expected a folder, or an', model)


class CacheTest(HubTest):
  @parameterized.product(
    weights=(
      WEIGHTS,
      (*SHARDS, 'model.safetensors.index.json'),
      ('flax_model.msgpack',),
      ('pytorch_model.bin',),
    ),
    offline=(True, False),
    revision=(None, 'main', HASH),
  )
  def test_what_it_has_is_used_without_asking(self, weights, offline, revision):
    self.fill(*SMALL, *weights)
    self.assertEqual(
      hub.resolve(ID, revision, offline),
      hub.Resolved(self.snapshot(), ID, HASH),
    )

  def test_revisions_are_told_apart(self):
    self.fill(*SMALL, *WEIGHTS)
    self.fill(*SMALL, *WEIGHTS, hash_=OTHER, ref='v2')
    self.assertEqual(hub.resolve(ID).revision, HASH)
    self.assertEqual(hub.resolve(ID, 'v2').revision, OTHER)
    self.assertEqual(hub.resolve(ID, OTHER).path, self.snapshot(OTHER))

  @parameterized.parameters(
    (()),
    ((*WEIGHTS, 'tokenizer.json')),
    (('config.json', 'tokenizer.json')),
    (('config.json', 'model.safetensors.index.json', SHARDS[0])),
  )
  def test_offline_needs_config_and_weights(self, *names):
    self.fill(*names)
    self.assert_refused(
      f'org/name is not, or not wholly, in the cache {self.cache}',
      ID,
      offline=True,
    )

  def test_offline_makes_do_with_them(self):
    self.fill('config.json', *WEIGHTS)
    self.assertEqual(hub.resolve(ID, offline=True).revision, HASH)

  def test_offline_does_not_take_another_revision(self):
    self.fill(*SMALL, *WEIGHTS)
    self.assert_refused('name at revision v2 is not', ID, 'v2', offline=True)

  def test_the_environment_can_say_offline(self):
    with mock.patch.object(constants, 'HF_HUB_OFFLINE', True):
      self.assert_refused('the network is not asked', ID)

  def test_the_environment_says_where_the_cache_is(self):
    self.fill(*SMALL, *WEIGHTS)
    program = (
      f'from saejax.models import hub; print(hub.resolve({ID!r}).path, end="")'
    )
    done = subprocess.run(
      [sys.executable, '-c', program],
      env=os.environ
      | {
        'HF_HUB_CACHE': self.cache,
        'HF_HUB_OFFLINE': '1',
        'JAX_PLATFORMS': 'cpu',
      },
      cwd=pathlib.Path(__file__).parents[2],
      capture_output=True,
      text=True,
    )
    self.assertEqual(done.stdout, self.snapshot(), done.stderr)
    self.assertEqual(done.stderr, '')


class DownloadTest(HubTest):
  @parameterized.parameters(
    ((*WEIGHTS, 'flax_model.msgpack', 'pytorch_model.bin'), WEIGHTS),
    (('flax_model.msgpack', 'pytorch_model.bin'), ('flax_model.msgpack',)),
    (('tf_model.h5', 'pytorch_model.bin'), ('pytorch_model.bin',)),
    (
      (*SHARDS, 'model.safetensors.index.json', 'pytorch_model.bin'),
      (*SHARDS, 'model.safetensors.index.json'),
    ),
  )
  def test_takes_one_format_and_what_goes_with_it(self, served, taken):
    noise = ('README.md', 'onnx/model.onnx', 'onnx/config.json', 'model.bin')
    self.serve(*SMALL, 'merges.txt', *served, *noise)
    found = hub.resolve(ID)
    self.assertEqual(found, hub.Resolved(self.snapshot(), ID, HASH))
    self.assertCountEqual(
      os.listdir(found.path), (*SMALL, 'merges.txt', *taken)
    )
    # What came is in the cache now.
    self.info.side_effect = self.download.side_effect = AssertionError
    self.assertEqual(hub.resolve(ID), found)

  def test_of_a_language_model_it_takes_safetensors(self):
    words = ('config.json', 'tokenizer.json', 'generation_config.json')
    self.serve(*words, *WEIGHTS, 'pytorch_model.bin')
    found = hub.resolve(ID, words_only=True)
    self.assertCountEqual(os.listdir(found.path), (*words, *WEIGHTS))
    # No processor of images is missed.
    self.info.side_effect = self.download.side_effect = AssertionError
    self.assertEqual(hub.resolve(ID, words_only=True), found)

  def test_a_language_model_must_have_them(self):
    self.serve('config.json', 'tokenizer.json', 'pytorch_model.bin')
    self.assert_refused(
      'org/name has no weights: looked for model.safetensors, whole or',
      ID,
      words_only=True,
    )
    self.fill('config.json', 'tokenizer.json', 'pytorch_model.bin')
    self.assert_refused(
      'org/name is not, or not wholly', ID, offline=True, words_only=True
    )

  def test_completes_what_the_cache_lacks(self):
    self.fill('config.json', *WEIGHTS)
    self.serve('preprocessor_config.json', 'tokenizer.json', *WEIGHTS)
    os.remove(os.path.join(self.snapshot(), *WEIGHTS))
    found = hub.resolve(ID)
    self.assertCountEqual(os.listdir(found.path), (*SMALL, *WEIGHTS))

  def test_asks_for_the_revision(self):
    self.serve(*SMALL, *WEIGHTS)
    hub.resolve(ID, 'v3')
    self.assertEqual(self.info.call_args.kwargs['revision'], 'v3')
    self.assertEqual(self.download.call_args.kwargs['revision'], 'v3')

  def test_a_model_without_weights_is_not_downloaded(self):
    self.serve(*SMALL, 'tf_model.h5')
    self.assert_refused('org/name has no weights: looked for model.saf', ID)
    self.download.assert_not_called()

  @parameterized.parameters('model_info', 'snapshot_download')
  def test_failures_are_lines(self, where):
    for failure, said in (
      (
        http_error(hub_errors.GatedRepoError, 403),
        'org/name is gated: accept its terms .*HF_TOKEN',
      ),
      (
        http_error(hub_errors.RepositoryNotFoundError, 404),
        'no folder org/name, and no such model on the hub; if it is private',
      ),
      (
        http_error(hub_errors.RevisionNotFoundError, 404),
        'org/name has no revision v9 on the hub',
      ),
      (
        http_error(hub_errors.HfHubHTTPError, 500),
        'does not give org/name at revision v9: 500 of the hub.$',
      ),
      (no_network(), 'cannot be reached .Name or service not known.: give'),
      (TimeoutError(), 'cannot be reached .TimeoutError.'),
      (hub_errors.OfflineModeIsEnabled('Offline.'), r'reached .Offline\)'),
      (
        hub_errors.LocalEntryNotFoundError('Lost.\nMore.'),
        f'not wholly in the cache {self.cache}, and .* reached .Lost.: give',
      ),
    ):
      self.serve(*SMALL, *WEIGHTS)
      asked = {'model_info': self.info, 'snapshot_download': self.download}
      asked[where].side_effect = failure
      self.assert_refused(said, ID, 'v9')

  def test_a_full_disk_is_no_mistake_of_the_user(self):
    self.serve(*SMALL, *WEIGHTS)
    self.download.side_effect = OSError(28, 'No space left on device')
    with self.assertRaisesRegex(OSError, 'No space left'):
      hub.resolve(ID)

  def test_the_library_is_silent_while_it_works(self):
    self.serve(*SMALL, *WEIGHTS)
    logger = logging.getLogger('huggingface_hub')
    level, levels = logger.level, []
    real = self.info.side_effect

    def info(*args, **kwargs):
      levels.append(logger.getEffectiveLevel())
      return real(*args, **kwargs)

    self.info.side_effect = info
    hub.resolve(ID)
    self.assertEqual(levels, [logging.ERROR])
    self.assertEqual(logger.level, level)


if __name__ == '__main__':
  absltest.main()
