"""An index: embedded examples, searched exactly by any modality or any set of modalities.

Memory: on the host 4 n dim bytes per modality (1.9 GiB for a million rows of 512); on the devices,
divided among them, as much again for every vector that a Score's factors hold per row: one under
the cosine, m under aggregate and volume for a gallery of m modalities. Factors are kept per Score
and gallery until `forget`. While they are computed, the embeddings they come from are on the
devices too. A search adds no more than a few tiles of scores.

An index never changes. `joined` and `without` make another, of copies, whose searches equal those
of an index built of its rows at once. Its first search with a Score and gallery uploads all rows
and computes all factors anew: to extend those of the old one would hold both on the devices. So
change many rows at a time, and let go of the old index. The search is compiled again only when the
gallery outgrows its room, up to a sixteenth of it.

Scores are those of tiles in float32: rows that a Score cannot tell from a perfect match there, as
at distances of a thousandth of their length under the volume family, tie; the first row then comes
first.
"""

from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import Bool, Float, Shaped

from gramalign.counted import counted
from gramalign.mesh import on_own_mesh
from gramalign.scores import Between, ScoreLike, Side
from gramalign.search import changes, file
from gramalign.search.entries import Entries, checked_ids, checked_rows, checked_where
from gramalign.search.hits import Hits
from gramalign.search.programs import (
    Devices,
    best,
    columns,
    filled,
    mesh_over,
    padded,
    tile_on,
    upload,
)
from gramalign.unit_rows import HostEmbeddings, HostPresent

if TYPE_CHECKING:
    import faiss  # pyright: ignore[reportMissingImports]

QUERIES = (1, 4, 16, 64, 256, 1024)
"""So many are asked at a time; other numbers are filled up, so that few programs serve all."""


class Index:
    """Embedded examples, searchable by any of their modalities.

    An index never changes, so threads may share one: rows are added, replaced and removed by making
    another, with `joined` and `without`. Pickled or deep-copied, it comes back on all devices of
    the process, without what searches have put on them.

    Args:
        embeddings: per modality `[n, dim]`, the same dim for all; row i is the same example. Rows
            are scaled to unit length.
        present: per modality bool `[n]`; a modality without a mask is present everywhere. A row of
            zeros is absent too: it has no direction.
        ids: a unique name for each row, of up to 1000 characters; None: row numbers.
        made_by: what embedded the rows, such as a model's name and version, kept in the file;
            queries embedded by anything else are in another space.
        devices: to split the rows over; None: all of this process.

    Raises:
        TypeError: embeddings that are not a mapping of names to arrays.
        ValueError: embeddings, masks or ids that do not fit together; a present row with NaN or
            Inf; a `made_by` that is not a string; no device.

    >>> import numpy as np
    >>> index = Index({"text": np.eye(3), "audio": np.eye(3)}, ids=["cat", "dog", "owl"])
    >>> hits = index.search({"text": np.array([[0.0, 0.6, 0.8]])}, k=2)
    >>> hits.ids.tolist(), hits.scores.round(1).tolist()
    ([['owl', 'dog']], [[0.800000011920929, 0.6000000238418579]])
    """

    def __init__(
        self,
        embeddings: HostEmbeddings,
        present: HostPresent | None = None,
        ids: Sequence[str | int] | Shaped[np.ndarray, "..."] | None = None,
        *,
        made_by: str = "",
        devices: Devices | None = None,
    ):
        if not isinstance(made_by, str):
            raise ValueError(f"made_by: got {made_by!r}, expected a string; convert it with str()")
        rows, masks = checked_rows(embeddings, present, "embeddings")
        number = len(next(iter(rows.values())))
        self._hold(Entries(rows, masks, checked_ids(ids, number), made_by), devices)

    @classmethod
    def _of(cls, entries: Entries, devices: Devices | None) -> "Index":
        index = cls.__new__(cls)
        index._hold(entries, devices)
        return index

    def _hold(self, entries: Entries, devices: Devices | None) -> None:
        for x in (*entries.embeddings.values(), *entries.present.values(), entries.ids):
            x.flags.writeable = False  # what is on the devices would no longer be of them
        self._entries = entries
        self._mesh = mesh_over(jax.local_devices() if devices is None else devices)
        self._factors: dict[tuple[ScoreLike, tuple[str, ...], bool], Side] = {}

    def __getstate__(self) -> Entries:
        return self._entries

    def __setstate__(self, entries: Entries) -> None:
        self._hold(entries, None)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._entries)

    def __repr__(self) -> str:
        return f"Index({counted(len(self), 'row')} of {', '.join(self.modalities)}; dim {self.dim})"

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities, in the order they were given."""
        return tuple(self._entries.embeddings)

    @property
    def dim(self) -> int:
        """Width of the space."""
        return self._entries.dim

    @property
    def ids(self) -> Shaped[np.ndarray, " n"]:
        """The rows' names, as strings."""
        return self._entries.ids

    @property
    def made_by(self) -> str:
        """What embedded the rows; "" if not given."""
        return self._entries.made_by

    @property
    def embeddings(self) -> dict[str, Float[np.ndarray, "n dim"]]:
        """Unit rows of each modality, zeros where it is absent; read-only, as are masks and ids."""
        return dict(self._entries.embeddings)

    @property
    def present(self) -> dict[str, Bool[np.ndarray, " n"]]:
        """Where each modality is present."""
        return dict(self._entries.present)

    @on_own_mesh
    def search(
        self,
        query: HostEmbeddings,
        k: int,
        *,
        score: ScoreLike = "cosine",
        gallery: Sequence[str] | None = None,
        present: HostPresent | None = None,
        where: Bool[np.ndarray, " n"] | None = None,
    ) -> Hits:
        """The k best rows for every query: exact, in tiles, on all devices of the index.

        Queries of several modalities are tuples, as are rows of a gallery of several; for their
        scores see `gramalign.scores.between`. An absent modality is left out of its tuple. A row
        without any modality of the gallery is never a hit, and a query without any modality has no
        hits. If a gallery holds tuples of different sizes, search by the cosine or the height:
        volumes, singular values and products tend to rank tuples of one size first, whatever the
        query.

        The first search with a given Score, gallery, size of `QUERIES` and power of two that holds
        k compiles; later ones do not.

        Args:
            query: per modality `[q, dim]`, of the index's modalities or others in its space.
            k: hits per query, at most the number of rows.
            score: one of `gramalign.scores.SCORE_NAMES`, with settings if any, or a class of your
                own (`gramalign.scores.score_named`).
            gallery: modalities of the rows to compare with; None: all that are not in the query, or
                all if the query has every one.
            present: per modality bool `[q]`; a modality without a mask is present everywhere.
            where: bool `[n]`, the rows that may be found; None: all.

        Returns:
            Ids, row numbers and scores, `[q, k]` each; of equal scores the first row comes first.

        Raises:
            TypeError: a query that is not a mapping of names to arrays, or anything but a Score.
            ValueError: an unknown Score or modality, a k that is not from 1 to the number of rows,
                queries that are not rows of this space's dim, or a `where` of another shape.
        """
        rows, masks = checked_rows(query, present, "query")
        asked = next(iter(rows.values()))
        if asked.shape[1] != self.dim:
            raise ValueError(
                f"query: got dim {asked.shape[1]}, expected that of the index, {self.dim}; embed "
                "queries with the model that embedded the index"
            )
        if not isinstance(k, Integral) or not 1 <= k <= len(self):
            raise ValueError(
                f"k: got {k}, expected a whole number from 1 to {len(self)}, the number of rows in "
                "the index"
            )
        k = int(k)
        allowed = None if where is None else checked_where(where, len(self))
        searched = self._searched(gallery, tuple(rows))
        # Named by their places, so that one program serves all sets of modalities of one size.
        between = Between(score, _places("query", len(rows)), _places("gallery", len(searched)))
        cols = self._columns(between, searched)
        if allowed is not None:
            some = upload({"where": allowed}, len(cols.valid), self._mesh)["where"]
            cols = cols._replace(valid=cols.valid & some)
        tile = tile_on(self._mesh)
        room = 1 << (k - 1).bit_length()
        found = []
        for start in range(0, len(asked), QUERIES[-1]):
            number = min(len(asked) - start, QUERIES[-1])
            size = next(size for size in QUERIES if size >= number)
            chunk = slice(start, start + number)
            parts = ([filled(x[chunk], size) for x in each.values()] for each in (rows, masks))
            batch, there = (dict(zip(between.query, part, strict=True)) for part in parts)
            both = best(between, batch, there, cols, k=room, mesh=self._mesh, tile=tile)
            found.append([np.asarray(x)[:number, :k] for x in both])
        scores, numbers = (np.concatenate(parts) for parts in zip(*found, strict=True))
        ids = np.where(numbers < 0, "", self.ids[numbers])
        return Hits(ids, numbers, scores)

    def joined(self, other: "Index", *, replace: bool = False) -> "Index":
        """A new index of the rows of both, on the devices of this one.

        Rows of this index keep their numbers, and those of the other follow. A modality that only
        one of them has is absent from the other's rows. All is copied, and the first search of the
        new index uploads it, so join many rows at a time.

        Args:
            other: embedded by the same model; to add rows, an index of these.
            replace: whether a row of the other takes the place of one that has its id. All of that
                row's modalities are replaced: those that the new one lacks are then absent.

        Raises:
            TypeError: anything but an index.
            ValueError: another `made_by` or dim; an id that both have, without `replace`.

        >>> import numpy as np
        >>> index = Index({"text": np.eye(3)}, ids=["cat", "dog", "owl"])
        >>> index.joined(Index({"text": np.ones((2, 3))}, ids=["emu", "cat"]), replace=True).ids
        array(['cat', 'dog', 'owl', 'emu'], dtype='<U3')
        """
        if not isinstance(other, Index):
            raise TypeError(
                f"other: got {type(other).__name__}, expected an Index; make one of the rows, "
                "Index(embeddings, ids=...)"
            )
        entries = changes.joined(self._entries, other._entries, replace=replace)
        return self._of(entries, self._mesh.devices.tolist())

    def without(self, ids: str | Sequence[str | int] | Shaped[np.ndarray, "..."]) -> "Index":
        """A new index of the other rows, in their order, on the same devices.

        Args:
            ids: of the rows to leave out; one, several or none.

        Raises:
            TypeError: a number.
            ValueError: an id that no row has, or those of all rows.
        """
        return self._of(changes.without(self._entries, ids), self._mesh.devices.tolist())

    def forget(self) -> None:
        """Free what searches have put on the devices."""
        self._factors.clear()

    def save(self, path: str | Path) -> None:
        """Write embeddings, masks, ids and `made_by` as one .safetensors file, whole or not at all.

        Raises:
            ValueError: a name that does not end in .safetensors.
            IsADirectoryError: there is a folder of this name.
        """
        file.write(Path(path), self._entries)

    @classmethod
    def load(cls, path: str | Path, *, devices: Devices | None = None) -> "Index":
        """The index that was saved, to the same bits.

        Args:
            path: the file.
            devices: as for a new index.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged, or not an index.
        """
        return cls._of(file.read(Path(path)), devices)

    @on_own_mesh
    def to_faiss(self, gallery: Sequence[str] | None = None) -> "faiss.IndexIDMap2":
        """A faiss `IndexFlatIP` that searches by cosine and returns the rows' numbers.

        Rows without any modality of the gallery are left out. Queries must have unit length.

        Args:
            gallery: one modality, or several for the direction of the sum of those present; None:
                all.

        Raises:
            ImportError: faiss is not installed.
            ValueError: an unknown modality.
        """
        try:
            import faiss  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ImportError(
                "to_faiss needs the package faiss, which is not installed: "
                "pip install 'gramalign[faiss]'"
            ) from error
        searched = self._searched(gallery, ())
        between = Between("cosine", _places("query", 1), _places("gallery", len(searched)))
        cols = self._columns(between, searched)
        valid = np.flatnonzero(np.asarray(cols.valid))
        flat = faiss.IndexIDMap2(faiss.IndexFlatIP(self.dim))
        flat.add_with_ids(np.asarray(cols.factors)[valid], valid.astype(np.int64))
        return flat

    def _searched(self, gallery: Sequence[str] | None, query: tuple[str, ...]) -> tuple[str, ...]:
        """The gallery's modalities, in the order of the index."""
        if gallery is None:
            rest = tuple(name for name in self.modalities if name not in query)
            return rest or self.modalities
        names = (gallery,) if isinstance(gallery, str) else tuple(gallery)
        unknown = [name for name in names if name not in self.modalities]
        if unknown or not names:
            raise ValueError(
                f"gallery: got {', '.join(unknown) or 'no modality'}, expected some of "
                f"{', '.join(self.modalities)}, which the index has"
            )
        return tuple(name for name in self.modalities if name in names)

    def _columns(self, between: Between, searched: tuple[str, ...]) -> Side:
        """The gallery's factors, which depend only on whether the query is a tuple."""
        key = between.score, searched, len(between.query) > 1
        cols = self._factors.get(key)  # once: another thread may call `forget`
        if cols is None:
            tile = tile_on(self._mesh)
            size = padded(len(self), self._mesh, tile)
            names = dict(zip(between.gallery, searched, strict=True))
            on_devices = (
                upload({role: part[name] for role, name in names.items()}, size, self._mesh)
                for part in (self._entries.embeddings, self._entries.present)
            )
            cols = columns(between, *on_devices, mesh=self._mesh, tile=tile)
            self._factors[key] = cols
        return cols


def _places(side: str, number: int) -> tuple[str, ...]:
    return tuple(f"{side} {place}" for place in range(number))
