"""A fingerprint of a store, by which a run recognises the rows that it was trained on."""

import hashlib

import numpy as np

from gramalign.data.examples import gather
from gramalign.data.store import FeatureStore, FeatureStoreError

_LOOKED_AT = 64  # rows whose features count: a store may be larger than memory
_UNREAD = "-"
_COLUMNS = ("labels", "groups")


def digest(store: FeatureStore) -> str:
    """Words: one for all ids and masks in their order, and one per sampled row for its features.

    Also `labels=` and `groups=`, a hash of each, numbered in sorted order. Shuffled, added or
    recomputed rows change the digest; one number in one row may not. Compare by `same_rows`.
    """
    head = hashlib.blake2b(digest_size=16)
    head.update("\n".join(map(str, store.ids)).encode())
    for name in sorted(store.modalities):
        head.update(f"\n{name} {store.dims[name]}\n".encode())
        head.update(np.packbits(store.present[name]).tobytes())
    rows = np.unique(np.linspace(0, len(store) - 1, _LOOKED_AT).astype(np.int64))[: len(store)]
    known = [f"{name}={_of_column(getattr(store, name))}" for name in _COLUMNS]
    return " ".join([head.hexdigest(), *(_of_row(store, row) for row in rows.tolist()), *known])


def same_rows(one: str, other: str) -> bool:
    """Whether two digests are of the same rows, as far as both describe them.

    Some records may be unreadable, and earlier versions recorded neither labels nor groups.

    >>> from gramalign.data import from_arrays
    >>> some = {"text": np.eye(3, dtype=np.float32), "audio": np.ones((3, 2), np.float32)}
    >>> one, other = from_arrays(some), from_arrays({**some, "text": some["text"][::-1]})
    >>> same_rows(digest(one), digest(from_arrays(some))), same_rows(digest(one), digest(other))
    (True, False)
    """
    (words, columns), (others, their_columns) = _taken_apart(one), _taken_apart(other)
    told = columns.keys() & their_columns.keys()
    if any(columns[name] != their_columns[name] for name in told):
        return False
    return len(words) == len(others) and all(
        a == b or _UNREAD in (a, b) for a, b in zip(words, others, strict=True)
    )


def _taken_apart(text: str) -> tuple[list[str], dict[str, str]]:
    words = text.split()
    columns = dict(word.split("=", 1) for word in words if "=" in word)
    return [word for word in words if "=" not in word], columns


def _of_column(values: np.ndarray | None) -> str:
    if values is None:
        return "none"
    numbers = np.unique(values, return_inverse=True)[1].astype("<i4")
    return hashlib.blake2b(numbers.tobytes(), digest_size=8).hexdigest()


def _of_row(store: FeatureStore, row: int) -> str:
    """The word for one row's features; `_UNREAD` for a damaged record."""
    try:
        found = gather(store, np.array([row]))
    except FeatureStoreError:
        return _UNREAD
    if any(found["present"][name][0] != store.present[name][row] for name in store.modalities):
        return _UNREAD  # damaged, and left out
    word = hashlib.blake2b(digest_size=4)
    for name in sorted(store.modalities):
        word.update(np.ascontiguousarray(found["features"][name], np.float32).tobytes())
    return word.hexdigest()
