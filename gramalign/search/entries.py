"""The entries of an index, and its queries: checked, on the host."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped

from gramalign.host_text import host_text
from gramalign.unit_rows import (
    HostEmbeddings,
    HostPresent,
    check_alike,
    check_by_name,
    every_mask,
    unit_rows,
)

LONGEST = 1000
"""Characters of an id."""


@dataclass(frozen=True, eq=False)
class Entries:
    """Embedded examples.

    Attributes:
        embeddings: per modality float32 `[n, dim]`, unit rows, zeros where absent.
        present: per modality bool `[n]`; every modality has a mask.
        ids: `[n]` unique strings.
        made_by: what embedded them, as given by the user; "" if not given.
    """

    embeddings: Mapping[str, Float[np.ndarray, "n dim"]]
    present: Mapping[str, Bool[np.ndarray, " n"]]
    ids: Shaped[np.ndarray, " n"]
    made_by: str = ""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dim(self) -> int:
        """Width of the space."""
        return next(iter(self.embeddings.values())).shape[1]


def checked_rows(
    embeddings: HostEmbeddings, present: HostPresent | None, argument: str
) -> tuple[dict[str, Float[np.ndarray, "n dim"]], dict[str, Bool[np.ndarray, " n"]]]:
    """Unit rows, and where they are present; a row of zeros has no direction, so it is absent.

    Raises:
        TypeError: not a mapping of names to arrays.
        ValueError: no modality, no row or no dimension, sizes that differ, a mask of another shape
            or for an unknown modality, a present row with NaN or Inf.
    """
    check_by_name(embeddings, argument)
    arrays = {name: np.asarray(values) for name, values in embeddings.items()}
    if not arrays:
        raise ValueError(f"{argument}: got none, expected one array [n, dim] for each modality")
    number = check_alike(arrays, argument)
    some = next(iter(arrays.values()))
    if 0 in some.shape:
        raise ValueError(
            f"{argument}: got shape {some.shape}, expected at least one row and one dim"
        )
    present = {} if present is None else present
    check_by_name(present, "present")
    masks = every_mask(present, tuple(arrays), number)
    rows = {name: unit_rows(name, x, masks[name], argument) for name, x in arrays.items()}
    return rows, {name: np.any(x, axis=1) for name, x in rows.items()}


def checked_where(where: Bool[np.ndarray, " _n"], number: int) -> Bool[np.ndarray, " number"]:
    """Which rows may be found; raises `ValueError` for anything but one bool for each."""
    mask = np.asarray(where)
    if mask.dtype != np.bool_ or mask.shape != (number,):
        raise ValueError(
            f"where: got {mask.dtype} {mask.shape}, expected bool ({number},), True for each row "
            "that may be found"
        )
    return mask


def checked_ids(
    ids: Sequence[str | int] | Shaped[np.ndarray, "..."] | None, number: int
) -> Shaped[np.ndarray, " number"]:
    """Ids as strings; the rows' numbers if none are given.

    Raises:
        ValueError: not one string or integer for each row, a repeated id, an empty one, or one that
            cannot be kept, as it is no UTF-8, ends in a NUL or is longer than `LONGEST`.
    """
    if ids is None:
        return np.arange(number).astype(np.str_)
    if isinstance(ids, Iterable) and getattr(ids, "ndim", 1):
        for row, name in enumerate(ids):
            if isinstance(name, str):
                _check_kept(row, name)
    given = host_text(np.asarray(ids))
    if given.shape != (number,) or given.dtype.kind not in "iuU":
        raise ValueError(
            f"ids: got {given.dtype} {given.shape}, expected strings or integers ({number},); give "
            "every row one, and convert other types to text, .astype(str)"
        )
    names = given.astype(np.str_, copy=not isinstance(ids, list | tuple))
    rows: dict[str, int] = {}
    for row, name in enumerate(names.tolist()):
        if not name:
            raise ValueError(
                f"ids: row {row} has an empty id, which stands for no hit; give it a name"
            )
        if (first := rows.setdefault(name, row)) != row:
            raise ValueError(
                f"ids: rows {first} and {row} are both {name!r}, expected unique ids; "
                "number them, or add something that tells them apart"
            )
    return names


def _check_kept(row: int, name: str) -> None:
    """Raises for an id that a padded array, or UTF-8, cannot hold."""
    if len(name) > LONGEST:
        raise ValueError(
            f"ids: that of row {row} has {len(name)} characters, expected at most {LONGEST}, as "
            "NumPy pads all to the longest; shorten it"
        )
    if name.endswith("\0"):
        raise ValueError(f"ids: got {name!r}, whose last NUL NumPy would cut off; rename it")
    try:
        name.encode()
    except UnicodeEncodeError:  # such as a file's name in another encoding
        raise ValueError(
            f"ids: got {ascii(name)}, which is no UTF-8 and cannot be saved; rename it"
        ) from None
