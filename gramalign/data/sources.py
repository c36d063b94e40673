"""Features by name: the built-in set, a path, a store of your own, or a mixture of several."""

import dataclasses
from pathlib import Path

from gramalign.data.decoded import DECODED, open_decoded
from gramalign.data.digits import digits
from gramalign.data.expression import parse
from gramalign.data.mixture import mix
from gramalign.data.opening import open_arrays
from gramalign.data.own import is_own, own_store
from gramalign.data.packed import STORE, OnBadRecord, open_packed
from gramalign.data.split import hash_split
from gramalign.data.store import FeatureStore, FeatureStoreError
from gramalign.files import check_local

EMBEDDED = {"digits": digits}


def load(name_or_path: str | Path, *, on_bad_record: OnBadRecord = "error") -> FeatureStore:
    """Opens a built-in set or your own by its name, or any feature store by its path.

    An expression such as `"0.7*stores/a.npz + 0.3*stores/b"` mixes several stores
    (`gramalign.data.mixture.mix`): every batch then holds rows of each in proportion to its weight.
    A weight that is left out is 1; put spaces around the plus.

    Args:
        name_or_path: "digits", or what `open_store` takes, or `package.module:function` with any
            settings in brackets, of a function that returns a store, or a mixture of these. A path
            with the name of a built-in set is written as "./digits".
        on_bad_record: for packed stores, see `open_packed`.

    Returns:
        The store, always with a split. If it does not say which rows are for testing, `hash_split`
        decides; in a mixture, for each store by its own ids.

    Raises:
        FeatureStoreError: no such set or file, a malformed mixture, or as `open_store` or `mix`.
        ValueError: an address, such as gs://bucket.
    """
    if isinstance(name_or_path, Path):
        return _load(name_or_path, on_bad_record)
    weights = parse(name_or_path, EMBEDDED)
    stores = [_load(name, on_bad_record) for name in weights]
    if len(stores) == 1:
        return stores[0]  # its weight makes no difference
    return mix(stores, list(weights.values()), source=name_or_path)


def open_store(path: str | Path, on_bad_record: OnBadRecord = "error") -> FeatureStore:
    """Opens a feature store of any kind.

    Args:
        path: of a folder of arrays, one .npz or one .safetensors, see
            `gramalign.data.opening.open_arrays`; of what
            `gramalign pack` has written; or of what `gramalign features --on-demand` has.
        on_bad_record: for packed stores, see `open_packed`.

    Raises:
        FeatureStoreError: something is missing or wrong; the message names place and cure.
    """
    path = Path(path)
    if (path / STORE).exists():
        return open_packed(path, on_bad_record)
    if (path / DECODED).exists():
        return open_decoded(path)
    return open_arrays(path)


def _load(name_or_path: str | Path, on_bad_record: OnBadRecord) -> FeatureStore:
    if isinstance(name_or_path, str) and name_or_path in EMBEDDED:
        return EMBEDDED[name_or_path]()
    if isinstance(name_or_path, str) and is_own(name_or_path):
        store = own_store(name_or_path)
    else:
        store = _at(name_or_path, on_bad_record)
    if store.split is None:
        store = dataclasses.replace(store, split=hash_split(store.ids, store.groups))
    return store


def _at(path: str | Path, on_bad_record: OnBadRecord) -> FeatureStore:
    check_local(path)
    if not Path(path).exists():
        raise FeatureStoreError(
            f"no data {str(path)!r}: expected {' or '.join(map(repr, EMBEDDED))}, or the path of a "
            "folder of .npy files, one .npz or one .safetensors, or package.module:function of "
            "your own; or several, with spaces around the plus: '0.7*stores/a.npz + 0.3*stores/b'"
        )
    return open_store(path, on_bad_record)
