"""Edits of a residual stream do what they say, where they say."""

from absl.testing import absltest
from absl.testing import parameterized
import jax
import jax.numpy as jnp
import numpy as np

from saejax import nn
from saejax.models import edits
from saejax.models import llama

B, T, D, S, IMAGE = 2, 6, 8, 12, 9


def tokens() -> llama.Tokens:
  ids = np.array([[1, 9, 9, 4, 5, 0], [1, 9, 3, 9, 6, 7]], np.int32)
  return llama.tokens_of(jnp.asarray(ids), [5, 6], IMAGE)


def x() -> np.ndarray:
  return np.random.default_rng(0).normal(size=(B, T, D)).astype(np.float32)


V = np.random.default_rng(1).normal(size=(3, D)).astype(np.float32)


def dictionary(arch: str = 'topk', modalities=('image', 'text')):
  sae = nn.ARCHITECTURES[arch](d=D, s=S, k=3, modalities=modalities)
  rows = x().reshape(-1, D)
  variables = sae.init(jax.random.key(0), rows, np.zeros(len(rows), np.int32))
  rng = np.random.default_rng(2)
  constants = jax.tree.map(
    lambda a: np.abs(rng.normal(size=a.shape)).astype(np.float32) + 0.5,
    variables['constants'],
  )
  return sae, {'params': variables['params'], 'constants': constants}


class WhereTest(parameterized.TestCase):
  @parameterized.parameters(
    (edits.everywhere, [[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1]]),
    (edits.on_image, [[0, 1, 1, 0, 0, 0], [0, 1, 0, 1, 0, 0]]),
    (edits.on_text, [[1, 0, 0, 1, 1, 0], [1, 0, 1, 0, 1, 1]]),
    (edits.but_first, [[0, 1, 1, 1, 1, 0], [0, 1, 1, 1, 1, 1]]),
    (edits.at([0, 4]), [[1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 1, 0]]),
  )
  def test_positions(self, mask, expected):
    np.testing.assert_array_equal(mask(tokens()), np.array(expected, bool))
    moved = edits.where(mask, edits.add(V[0]))(x(), tokens())
    np.testing.assert_allclose(
      moved, x() + np.array(expected)[..., None] * V[0], rtol=1e-6
    )


class EditTest(parameterized.TestCase):
  def test_a_direction_for_each_row(self):
    moved = edits.add(V[:2])(x(), tokens())
    np.testing.assert_allclose(moved, x() + V[:2, None], rtol=1e-6)

  def test_what_is_projected_out_is_gone_and_nothing_else(self):
    left = np.asarray(edits.project_out(V)(x(), tokens()))
    np.testing.assert_allclose(left @ V.T, 0, atol=1e-4)
    gone = (x() - left).reshape(-1, D)
    self.assertEqual(np.linalg.matrix_rank(gone, tol=1e-4), 3)
    again = edits.project_out(V)(left, tokens())
    np.testing.assert_allclose(again, left, atol=1e-5)

  def test_what_is_turned_keeps_its_length_and_leaves_the_rest(self):
    basis, centre = np.linalg.qr(V[:2].T)[0].T, np.arange(D) / D
    to = 1.5 * basis[1]
    args = (a.astype(np.float32) for a in (basis, centre, to))
    moved = np.asarray(edits.turn(*args)(x(), tokens()))
    before, after = (x() - centre) @ basis.T, (moved - centre) @ basis.T
    np.testing.assert_allclose(after[..., 0], 0, atol=1e-4)
    length = np.linalg.norm(before, axis=-1)
    np.testing.assert_allclose(after[..., 1], 1.5 * length, rtol=1e-4)
    rest = lambda a: a - a @ basis.T @ basis
    np.testing.assert_allclose(rest(moved), rest(x()), atol=1e-4)
    nowhere = edits.turn(basis, centre, np.zeros(D))(x(), tokens())
    np.testing.assert_array_equal(nowhere, x())

  def test_a_chain_is_in_order(self):
    both = edits.chain(edits.add(V[0]), edits.project_out(V[0]))
    np.testing.assert_allclose(
      both(x(), tokens()), edits.project_out(V[0])(x(), tokens()), atol=1e-5
    )

  @parameterized.parameters((V[0],), (np.zeros(()),), (x() + 1,))
  def test_replaced_by_what_broadcasts(self, other):
    found = edits.replace(other)(x(), tokens())
    np.testing.assert_allclose(found, np.broadcast_to(other, x().shape))

  @parameterized.parameters('topk', 'relu')
  def test_reconstruction_takes_each_positions_modality(self, arch):
    sae, variables = dictionary(arch)
    found = edits.reconstruct(sae, variables)(x(), tokens())
    for m, mask in ((0, edits.on_image), (1, edits.on_text)):
      rows = x()[np.asarray(mask(tokens()))]
      expected = sae.apply(variables, rows, np.full(len(rows), m)).xhat_BD
      np.testing.assert_allclose(
        found[np.asarray(mask(tokens()))], expected, rtol=1e-5, atol=1e-6
      )
    as_text = edits.reconstruct(sae, variables, 'text')(x(), tokens())
    self.assertGreater(np.abs(as_text - found).max(), 1e-3)

  @parameterized.parameters('topk', 'relu')
  def test_a_clamped_concept_has_its_value_and_the_error_stays(self, arch):
    sae, variables = dictionary(arch, ('all',))
    rows = x().reshape(-1, D)
    out = sae.apply(variables, rows, np.zeros(len(rows), int))
    dense = np.asarray(
      out.codes.z_BS
      if arch == 'relu'
      else np.zeros((len(rows), S + 1))  # Padding is at S.
    ).copy()  # fmt: skip
    if arch == 'topk':
      index, values = map(np.asarray, (out.codes.index_BK, out.codes.values_BK))
      dense[np.arange(len(rows))[:, None], index] = values
    concept = int(dense.sum(0).argmax())
    found = edits.clamp(sae, variables, concept, 2.5)(x(), tokens())
    row = np.asarray(variables['params']['w_dec'])[concept]
    expected = rows + (2.5 - dense[:, concept])[:, None] * row
    np.testing.assert_allclose(found.reshape(-1, D), expected, atol=1e-5)
    same = edits.clamp(sae, variables, int((dense == 0).all(0).argmax()), 0.0)
    if (dense == 0).all(0).any():
      np.testing.assert_allclose(same(x(), tokens()), x(), atol=1e-6)


if __name__ == '__main__':
  absltest.main()
