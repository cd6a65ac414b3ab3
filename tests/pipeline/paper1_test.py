"""What a study refuses before any work, and what it lets pass."""

import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized

from saejax import errors
from saejax.pipeline import paper1


class CheckTest(parameterized.TestCase):
  def test_the_defaults_are_fit(self):
    paper1.check(paper1.Paper1Config(models=('clip-scenes', 'a/b'), latents=64))

  @parameterized.parameters(
    ({'models': ()}, 'one model or more'),
    ({'models': ('a', 'a')}, 'each once'),
    ({'models': ('a/b', 'a--b')}, 'each once'),  # One folder for both.
    ({'seeds': (3,)}, 'two or more different'),
    ({'seeds': (3, 3)}, 'two or more different'),
    ({'dataset': 'coko:'}, 'names no kind of data set'),
    ({'methods': ('magic',)}, "'magic' is unknown"),
    ({'arch': 'magic'}, '--arch=magic is unknown'),
    ({'diets': ('1/2',)}, '--diets=1/2: name two shares or more'),
    ({'diets': ('1/2', '3')}, "'3' is no share of images"),
    ({'counter_worlds': True, 'dataset': 'scenes:captions=full'},
     'must be scenes:… with captions=partial'),
    ({'steps': 5, 'epochs': 1.0}, '--steps or --epochs, not both'),
  )  # fmt: skip
  def test_a_mistake_is_told_and_leaves_nothing(self, given, message):
    config = paper1.Paper1Config(**({'models': ('clip-scenes',)} | given))
    with tempfile.TemporaryDirectory() as folder:
      out = os.path.join(folder, 'out')
      with self.assertRaisesRegex(errors.UserError, message):
        paper1.study(config, out)
      self.assertFalse(os.path.exists(out))


if __name__ == '__main__':
  absltest.main()
