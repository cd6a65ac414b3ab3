"""The losses of the small models, against their definitions."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np
import optax

from saejax.train import captioning
from saejax.train import contrastive


def rows(seed: int, b: int = 5, d: int = 4) -> np.ndarray:
  x_BD = np.random.default_rng(seed).normal(size=(b, d)).astype(np.float32)
  return x_BD / np.linalg.norm(x_BD, axis=1, keepdims=True)


class PairLossTest(parameterized.TestCase):
  def test_sigmoid_loss_is_that_of_the_paper(self):
    image, text, scale, bias = rows(0), rows(1), 3.0, -1.5
    total = 0.0
    for i in range(5):
      for j in range(5):
        z = 1 if i == j else -1
        logit = scale * float(image[i] @ text[j]) + bias
        total += np.log(1 / (1 + np.exp(z * -logit)))
    np.testing.assert_allclose(
      contrastive.sigmoid_loss(image, text, scale, bias), -total / 5, rtol=1e-5
    )

  def test_info_nce_is_that_of_the_paper(self):
    image, text, scale = rows(0), rows(1), 3.0
    logits = scale * image @ text.T
    log_softmax = lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True))
    by_image, by_text = (
      np.diagonal(log_softmax(x)).mean() for x in (logits, logits.T)
    )
    np.testing.assert_allclose(
      contrastive.info_nce(image, text, scale),
      -(by_image + by_text) / 2,
      rtol=1e-5,
    )

  @parameterized.parameters(
    (contrastive.info_nce, (10.0,)), (contrastive.sigmoid_loss, (10.0, -5.0))
  )
  def test_matches_beat_shuffles(self, loss, logit):
    image = rows(0, 16, 8)
    self.assertLess(
      loss(image, image, *logit), loss(image, image[::-1], *logit) - 1
    )

  def test_the_scale_of_clip_is_bounded(self):
    image, text = rows(0), rows(1)
    at = lambda scale: contrastive.info_nce(image, text, scale)
    self.assertEqual(at(100.0), at(1e4))
    self.assertEqual(jax.grad(at)(200.0), 0)


class NextTokenTest(absltest.TestCase):
  def test_padding_does_not_count(self):
    ids_BT = np.array([[1, 5, 3, 0, 0], [1, 4, 6, 5, 3]])
    logits = np.random.default_rng(0).normal(size=(2, 4, 7))
    nats, hits = [], []
    for b, t in ((0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (1, 3)):
      x, target = logits[b, t], ids_BT[b, t + 1]
      nats.append(np.log(np.exp(x).sum()) - x[target])
      hits.append(x.argmax() == target)
    loss, accuracy = captioning.next_token_loss(
      jnp.asarray(logits, jnp.float32), ids_BT, pad=0
    )
    np.testing.assert_allclose(loss, np.mean(nats), rtol=1e-5)
    np.testing.assert_allclose(accuracy, np.mean(hits), rtol=1e-6)


class OptimiserTest(absltest.TestCase):
  def test_what_is_frozen_stays_and_vectors_do_not_decay(self):
    params = {
      'a': {'kernel': jnp.ones((2, 2)), 'bias': jnp.ones(2)},
      'b': {'kernel': jnp.ones((2, 2))},
    }
    tx = contrastive.make_optimiser(
      0.1, 10, 0.5, is_frozen=lambda path: path[0] == 'b'
    )
    state = tx.init(params)
    for _ in range(3):
      grads = jax.tree.map(jnp.zeros_like, params)
      updates, state = tx.update(grads, state, params)
      params = optax.apply_updates(params, updates)
    np.testing.assert_array_equal(params['b']['kernel'], 1)
    np.testing.assert_array_equal(params['a']['bias'], 1)
    self.assertLess(params['a']['kernel'].max(), 1)


if __name__ == '__main__':
  absltest.main()
