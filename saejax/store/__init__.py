"""The store: embeddings on disk, as safetensors shards and one manifest.

The narrow waist of the project: everything that makes vectors writes one, and
everything that studies vectors reads one. Needs NumPy, safetensors and
ml_dtypes; neither JAX nor torch.
"""

from saejax.store.manifest import DTYPES
from saejax.store.manifest import MANIFEST
from saejax.store.manifest import Manifest
from saejax.store.manifest import StoreError
from saejax.store.manifest import StreamSpec
from saejax.store.reader import Store
from saejax.store.reader import Stream
from saejax.store.splits import assign_splits
from saejax.store.splits import SPLITS
from saejax.store.validate import validate
from saejax.store.writer import StoreWriter

__all__ = [
  'DTYPES',
  'MANIFEST',
  'SPLITS',
  'Manifest',
  'Store',
  'StoreError',
  'StoreWriter',
  'Stream',
  'StreamSpec',
  'assign_splits',
  'validate',
]
