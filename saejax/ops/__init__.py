"""Functions of arrays for sparse codes: JAX only, usable in any project.

Each works with no mesh; where its arrays are split over a mesh, name the axes:
`batch_axis` for rows, `axis` for concepts.
"""

from saejax.ops.encoding import encode_top_k
from saejax.ops.forms import FORMS
from saejax.ops.forms import kernels
from saejax.ops.jumprelu import heaviside
from saejax.ops.jumprelu import jump_relu
from saejax.ops.kmeans import kmeans
from saejax.ops.nested import nested_errors
from saejax.ops.orthogonal import orthogonal_pursuit
from saejax.ops.packed import packed_batch_top_k
from saejax.ops.pursuit import matching_pursuit
from saejax.ops.selection import batch_top_k
from saejax.ops.selection import is_among_top_k
from saejax.ops.selection import top_k
from saejax.ops.sparse import fired
from saejax.ops.sparse import rows_of
from saejax.ops.sparse import sparse_decode
from saejax.ops.sparse import sparse_encode
from saejax.ops.sparse import to_dense
from saejax.ops.sphere import remove_parallel
from saejax.ops.sphere import unit_rows

__all__ = [
  'FORMS',
  'batch_top_k',
  'encode_top_k',
  'fired',
  'heaviside',
  'is_among_top_k',
  'jump_relu',
  'kernels',
  'kmeans',
  'matching_pursuit',
  'nested_errors',
  'orthogonal_pursuit',
  'packed_batch_top_k',
  'remove_parallel',
  'rows_of',
  'sparse_decode',
  'sparse_encode',
  'to_dense',
  'top_k',
  'unit_rows',
]
