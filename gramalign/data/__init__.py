"""Feature stores, the built-in digits, mixtures of stores, and batches."""

from gramalign.data.batches import batches
from gramalign.data.digest import digest, same_rows
from gramalign.data.digits import digits
from gramalign.data.examples import examples, gather, readable
from gramalign.data.mixture import mix
from gramalign.data.opening import from_arrays
from gramalign.data.rows import from_rows
from gramalign.data.sources import load, open_store
from gramalign.data.split import hash_split, held_out
from gramalign.data.store import FeatureStore, FeatureStoreError

__all__ = [
    "FeatureStore",
    "FeatureStoreError",
    "batches",
    "digest",
    "digits",
    "examples",
    "from_arrays",
    "from_rows",
    "gather",
    "hash_split",
    "held_out",
    "load",
    "mix",
    "open_store",
    "readable",
    "same_rows",
]
