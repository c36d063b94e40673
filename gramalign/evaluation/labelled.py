"""Embeddings with the class of each row: what classifiers learn from and are measured on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Array, Bool, Float, Shaped

from gramalign.evaluation.inputs import (
    EmbeddingSet,
    HostEmbeddings,
    HostPresent,
    checked,
)
from gramalign.host_text import host_text
from gramalign.unit_rows import unit_rows

Label = int | str
_NAMED = 5  # classes of many, in a message


@dataclass(frozen=True)
class Labelled:
    """Checked embeddings and a label for each row.

    Attributes:
        data: the embeddings, unit rows.
        labels: `[examples]`, integers or strings; any values, they need not count from 0.
    """

    data: EmbeddingSet
    labels: Shaped[np.ndarray, " examples"]

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.data)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities, in the order they were given."""
        return self.data.modalities

    @property
    def most_frequent(self) -> Label:
        """The most frequent class; of several, the first."""
        values, counts = np.unique(self.labels, return_counts=True)
        return values[np.argmax(counts)].item()

    def there(self, modalities: Sequence[str]) -> Bool[np.ndarray, " examples"]:
        """The rows that have at least one of the modalities.

        Raises:
            TypeError: one name alone.
            ValueError: an unknown modality, or none.
        """
        if isinstance(modalities, str):
            raise TypeError(
                f"modalities: got {modalities!r}, expected several names: ({modalities!r},)"
            )
        unknown = [name for name in modalities if name not in self.modalities]
        if unknown or not modalities:
            raise ValueError(
                f"modalities: got {', '.join(unknown) or 'none'}, expected some of "
                f"{', '.join(self.modalities)}"
            )
        return np.any([self.data.present[name] for name in modalities], axis=0)

    def direction(self, modalities: Sequence[str]) -> Float[np.ndarray, "examples dim"]:
        """The normalised sum of the present modalities; for a single one, its embedding.

        It is the direction that represents a tuple under the cosine Score.
        """
        there = self.there(modalities)
        total = np.sum([self.data.embeddings[name] for name in modalities], axis=0, dtype=float)
        return unit_rows("+".join(modalities), total, there)

    def side_by_side(self, modalities: Sequence[str]) -> Float[np.ndarray, "examples width"]:
        """The modalities' embeddings concatenated, with zeros for absent ones."""
        return np.concatenate([self.data.embeddings[name] for name in modalities], axis=1)


def labelled(
    embeddings: HostEmbeddings,
    labels: Shaped[np.ndarray | Array, " _examples"],
    present: HostPresent | None = None,
    groups: Shaped[np.ndarray | Array, " _examples"] | None = None,
    fused: HostEmbeddings | None = None,
) -> Labelled:
    """Check embeddings as `checked` does, except that one modality is enough, and their labels.

    Args:
        embeddings: per modality `[examples, dim]`; row i is the same example in every modality.
        labels: `[examples]`, the class of each, an integer or a string.
        present: per modality bool `[examples]`; a modality without a mask is present everywhere.
        groups: `[examples]`; rows of one group show the same thing, such as clips of one video.
        fused: as for `checked`.

    Returns:
        The labelled embeddings.

    Raises:
        TypeError: as `checked`.
        ValueError: as `checked`; labels of another length, or not integers or strings.

    >>> import numpy as np
    >>> labelled({"image": np.eye(3)}, np.array(["cat", "dog", "cat"])).labels.tolist()
    ['cat', 'dog', 'cat']
    """
    data = checked(embeddings, present, groups, fused, fewest=1)
    values = host_text(labels)
    if values.shape != (len(data),) or values.dtype.kind not in "iuU":
        raise ValueError(
            f"labels: got {values.dtype} {values.shape}, expected integers or strings "
            f"({len(data)},); give the class of every example, and leave out those without one"
        )
    return Labelled(data, values)


def spelt(classes: Sequence[Label] | np.ndarray) -> str:
    """Classes for a message; of many, the first few.

    >>> spelt(range(7))
    '0, 1, 2, 3, 4 and 2 more'
    """
    named = ", ".join(str(name) for name in classes[:_NAMED])
    more = len(classes) - _NAMED
    return named if more <= 0 else f"{named} and {more} more"
