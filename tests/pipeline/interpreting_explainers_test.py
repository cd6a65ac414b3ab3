"""Names are more than chance; what has none says nothing."""

from absl.testing import absltest
import numpy as np

from saejax.analysis import interpretation
from saejax.data import captions
from saejax.data import scenes
from saejax.data import specs
from saejax.pipeline import interpreting_explainers as explainers

N = 600


def texts() -> list[str]:
  world = specs.SceneSet(n=N, seed=3).world
  return captions.caption(world, scenes.sample(world, np.arange(N))).text


class NamingTest(absltest.TestCase):
  def explain(self, a_NC: np.ndarray) -> list[str]:
    return explainers.Naming(texts()).explain([], a_NC)

  def test_a_concept_that_fires_at_random_has_no_name(self):
    rng = np.random.default_rng(0)
    for rate in (0.06, 0.2, 0.8):
      fires = rng.random((N, 100)) < rate
      said = self.explain(fires * rng.random((N, 100)))
      self.assertGreaterEqual(said.count(''), 90, rate)

  def test_a_concept_that_fires_where_a_word_stands_has_that_word(self):
    rng = np.random.default_rng(0)
    words = ('red', 'circle', 'star')
    has = np.array([[w in text.split() for w in words] for text in texts()])
    self.assertTrue((has.sum(0) >= interpretation.LEAST_EXAMPLES).all())
    self.assertEqual(self.explain(has * rng.random(has.shape)), list(words))

  def test_a_name_is_as_likely_by_chance_as_counted(self):
    has = np.zeros((20, 2))
    has[:5, 0] = has[::2, 1] = 1
    a = np.zeros((20, 3))
    a[:4] = 1
    found = interpretation.by_chance(a, has, np.array([0, 1, -1]))
    # 4 of 5 in the first 4 of 20; 2 of 10; each of two names.
    self.assertAlmostEqual(found[0], 2 * 5 / 4845)
    np.testing.assert_array_equal(found[1:], 1)

  def test_what_has_no_name_says_nothing(self):
    at = np.arange(12)
    score = explainers.Naming(texts()).score('', ['one'] * 12)
    t = interpretation.Trial(at[:4], at[4:8], at[8:])
    self.assertEqual(interpretation.detect(t, score, 0.5).auroc, 0.5)


if __name__ == '__main__':
  absltest.main()
