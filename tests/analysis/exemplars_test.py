"""The rows that show a concept best."""

from absl.testing import absltest
import hypothesis
from hypothesis import strategies as st
import numpy as np
import scipy.sparse

from saejax.analysis import exemplars

FEW = hypothesis.settings(deadline=None, max_examples=25)


class TopRowsTest(absltest.TestCase):
  def test_strongest_first_and_equal_keys_once(self):
    z_nS = scipy.sparse.csr_matrix([[1, 0], [5, 0], [4, 2], [5, 0], [3, 0]])
    rows_SK, values_SK = exemplars.top_rows(z_nS, 3)
    np.testing.assert_array_equal(rows_SK, [[1, 3, 2], [2, -1, -1]])
    np.testing.assert_array_equal(values_SK, [[5, 5, 4], [2, 0, 0]])
    # Rows 1 and 2 say the same; the stronger stands for both.
    key_n = np.array([30, 10, 10, 20, 40])
    rows_SK, values_SK = exemplars.top_rows(z_nS, 3, key_n)
    np.testing.assert_array_equal(rows_SK, [[1, 3, 4], [2, -1, -1]])
    np.testing.assert_array_equal(values_SK, [[5, 5, 3], [2, 0, 0]])

  @FEW
  @hypothesis.given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 20),
    s=st.integers(1, 5),
    k=st.integers(1, 6),
    keyed=st.booleans(),
  )
  def test_equals_walking_down_the_sorted_rows(self, seed, n, s, k, keyed):
    rng = np.random.default_rng(seed)
    z_nS = rng.integers(1, 9, size=(n, s)) * (rng.random((n, s)) < 0.6)
    key_n = rng.integers(0, 6, size=n) if keyed else None
    rows_SK, values_SK = exemplars.top_rows(
      scipy.sparse.csr_matrix(z_nS), k, key_n
    )
    for concept in range(s):
      shown, seen = [], set()
      for row in np.argsort(-z_nS[:, concept], kind='stable'):
        key = row if key_n is None else key_n[row]
        if z_nS[row, concept] and key not in seen and len(shown) < k:
          shown.append(row)
          seen.add(key)
      padding = [-1] * (k - len(shown))
      np.testing.assert_array_equal(rows_SK[concept], shown + padding)
      np.testing.assert_array_equal(
        values_SK[concept], [*z_nS[shown, concept], *[0] * len(padding)]
      )


if __name__ == '__main__':
  absltest.main()
