"""Planted blocks of bridges are found; structureless bridges have none."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import scipy.sparse

from saejax.analysis import communities
from saejax.pipeline import communities as pipeline

SIZE = 12  # Concepts of a block, on either side.


def drawn(seed: int, blocks: int, inside: float, outside: float):
  """Bridges with blocks, as an analysis has them, and each concept's block."""
  rng = np.random.default_rng(seed)
  s = blocks * SIZE
  block_S = np.arange(s) // SIZE
  chance_SS = np.where(block_S[:, None] == block_S, inside, outside)
  i_P, j_P = np.nonzero(rng.random((s, s)) < chance_SS)
  strength_2S = rng.lognormal(0, 0.5, (2, s))
  excess = lambda: (
    strength_2S[0][i_P] * strength_2S[1][j_P]
    * rng.uniform(0.5, 1.5, len(i_P))
  )  # fmt: skip
  every = np.ones(len(i_P), bool)
  bridges = {
    'image_concept': i_P, 'text_concept': s + j_P, 'excess': excess(),
    'excess_val': excess(), 'replicated': every, 'cross': every,
  }  # fmt: skip
  return bridges, np.concatenate([block_S, block_S])


def measure(bridges, s: int):
  entries, arrays = pipeline.measure(bridges, s, 100, 'test')
  return (
    {n.removeprefix('bridges/'): e for n, e in entries.items()},
    arrays['community'],
  )


class ModularityTest(absltest.TestCase):
  def test_is_its_definition(self):
    rng = np.random.default_rng(0)
    a_IJ = rng.random((7, 5)) * (rng.random((7, 5)) < 0.6)
    label_I, label_J = rng.integers(3, size=7), rng.integers(3, size=5)
    w = a_IJ.sum()
    chance_IJ = np.outer(a_IJ.sum(1), a_IJ.sum(0)) / w
    want = ((a_IJ - chance_IJ) * (label_I[:, None] == label_J)).sum() / w
    found = communities.modularity(
      scipy.sparse.csr_matrix(a_IJ), label_I, label_J
    )
    self.assertAlmostEqual(found, want)

  def test_one_community_of_all_has_none(self):
    a_IJ = scipy.sparse.csr_matrix(np.ones((3, 4)))
    label = np.zeros(4, int)
    self.assertAlmostEqual(communities.modularity(a_IJ, label[:3], label), 0)
    # A complete graph has no better partition.
    label_I, label_J = communities.find(a_IJ)
    self.assertEqual({*label_I, *label_J}, {0})

  def test_separate_pieces_are_told_apart(self):
    a_IJ = scipy.sparse.csr_matrix(np.kron(np.diag([1, 3]), np.ones((2, 3))))
    label_I, label_J = communities.find(a_IJ)
    np.testing.assert_array_equal(label_I, [1, 1, 0, 0])  # Heaviest first.
    np.testing.assert_array_equal(label_J, [1, 1, 1, 0, 0, 0])


class RewiredTest(parameterized.TestCase):
  @parameterized.parameters(0, 1, 2)
  def test_every_node_keeps_its_degree_and_no_edge_comes_twice(self, seed):
    bridges, _ = drawn(seed, 2, 0.4, 0.1)
    i_E, j_E = bridges['image_concept'], bridges['text_concept']
    k_E = communities.rewired(i_E, j_E, np.random.default_rng(seed))
    np.testing.assert_array_equal(np.bincount(k_E), np.bincount(j_E))
    self.assertLen(set(zip(i_E, k_E, strict=True)), len(i_E))
    self.assertLess((k_E == j_E).mean(), 0.5)

  def test_every_graph_of_the_same_degrees_is_as_likely(self):
    # Four concepts that each meet one: 24 ways.
    rng = np.random.default_rng(0)
    n = np.arange(4)
    ways = [tuple(communities.rewired(n, n, rng)) for _ in range(4800)]
    count = np.unique(ways, axis=0, return_counts=True)[1]
    self.assertLen(count, 24)
    self.assertLess(abs(count - 200).max(), 4.5 * np.sqrt(200))


class PlantedTest(parameterized.TestCase):
  @parameterized.product(blocks=(2, 3), seed=(0, 1, 2))
  def test_blocks_are_recovered(self, blocks, seed):
    bridges, block_S = drawn(seed, blocks, 0.8, 0.05)
    entries, community_S = measure(bridges, len(block_S))
    self.assertEqual(entries['communities']['value'], blocks)
    self.assertGreater(
      entries['modularity']['value'], entries['modularity_rewired']['high']
    )
    right = 0
    for c in range(blocks):
      counts = np.bincount(block_S[community_S == c], minlength=blocks)
      right += counts.max()
    self.assertGreaterEqual(right / (community_S >= 0).sum(), 0.95)

  def test_random_bridges_seldom_have_communities(self):
    # One draw in 40 is above 97.5 % of its like.
    found = [
      measure(*((b := drawn(seed, 1, 0.3, 0.3))[0], len(b[1])))[0]
      for seed in range(20)
    ]
    self.assertLessEqual(sum(e['communities']['value'] > 0 for e in found), 2)
    for e in found:
      self.assertGreater(e['modularity']['value'], 0.2)  # High all the same.

  def test_bridges_one_to_one_have_none(self):
    bridges, _ = drawn(0, 1, 1, 1)
    kept = bridges['text_concept'] - SIZE == bridges['image_concept']
    entries, community_S = measure(
      {name: x_P[kept] for name, x_P in bridges.items()}, 2 * SIZE
    )
    self.assertEqual(entries['communities']['value'], 0)
    self.assertTrue((community_S == -1).all())

  def test_no_bridges_are_no_communities(self):
    bridges, _ = drawn(0, 1, 0, 0)
    entries, _ = measure(bridges, 2 * SIZE)
    self.assertEqual(entries['communities']['value'], 0)
    self.assertIsNone(entries['modularity']['value'])

  def test_members_are_written_by_community(self):
    bridges, block_S = drawn(0, 2, 0.5, 0.03)
    _, community_S = measure(bridges, len(block_S))
    out = self.create_tempdir().full_path
    pipeline.write(bridges, community_S, out)
    with open(f'{out}/communities.csv', encoding='utf-8') as f:
      head, *lines = f.read().splitlines()
    self.assertEqual(head, 'community,modality,concept,bridges,excess')
    self.assertLen(lines, (community_S >= 0).sum())
    for line in lines:
      c, modality, concept, _, _ = line.split(',')
      self.assertEqual(community_S[int(concept)], int(c))
      self.assertEqual(modality == 'text', int(concept) >= 2 * SIZE)


if __name__ == '__main__':
  absltest.main()
