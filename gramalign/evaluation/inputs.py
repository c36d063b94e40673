"""The inputs of an evaluation, checked and brought into one form before anything is compiled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Array, Bool, Float, Integer, Shaped

from gramalign.counted import counted
from gramalign.evaluation.numbering import numbered
from gramalign.unit_rows import (
    HostEmbeddings,
    HostPresent,
    check_alike,
    check_by_name,
    every_mask,
    unit_rows,
)

HostGroups = Shaped[np.ndarray | Array, " _examples"]


@dataclass(frozen=True)
class EmbeddingSet:
    """Embeddings of the same examples in every modality, ready to be measured.

    Attributes:
        embeddings: per modality float32 `[examples, dim]`, unit rows, zeros where absent.
        present: per modality bool `[examples]`; every modality has a mask. Rows of zeros, which
            have no direction, are absent.
        given: the masks as they were given. A row of zeros finds nothing, and nobody finds it: as a
            query, or the match of one, it counts as a miss, so that those who embed nothing gain
            nothing by it.
        groups: int32 `[examples]`, numbered from 0, or None. Examples of one group never compete
            with each other.
        fused: by modality, one embedding of all the others, unit rows, zeros where there is none.
    """

    embeddings: Mapping[str, Float[np.ndarray, "_examples _dim"]]
    present: Mapping[str, Bool[np.ndarray, " examples"]]
    given: Mapping[str, Bool[np.ndarray, " examples"]]
    groups: Integer[np.ndarray, " examples"] | None
    fused: Mapping[str, Float[np.ndarray, "_examples _dim"]] = field(default_factory=dict)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities, in the order they were given."""
        return tuple(self.embeddings)

    @property
    def complete(self) -> Bool[np.ndarray, " examples"]:
        """The examples that have every modality."""
        return np.all(list(self.present.values()), axis=0)

    @property
    def clusters(self) -> Integer[np.ndarray, " examples"]:
        """Which rows belong together: members of a group; without groups, each row by itself."""
        return np.arange(len(self)) if self.groups is None else self.groups

    @property
    def zeros(self) -> dict[str, int]:
        """How many rows of a modality were given as present, but are zeros; those that have any.

        Of what was fused likewise, where others are present: under "all but" the one left out.
        """
        found = {name: self.given[name] & ~self.present[name] for name in self.embeddings}
        for name, rows in self.fused.items():
            rest = [mask for other, mask in self.present.items() if other != name]
            found[f"all but {name}"] = np.any(rest, axis=0) & ~np.any(rows, axis=1)
        return {name: int(mask.sum()) for name, mask in found.items() if mask.any()}

    def asked(self, modalities: Sequence[str]) -> Bool[np.ndarray, " examples"]:
        """The examples that were given with any of some modalities."""
        return np.any([self.given[name] for name in modalities], axis=0)

    def fused_but(
        self, name: str
    ) -> tuple[Float[np.ndarray, "_examples _dim"], Bool[np.ndarray, " examples"]]:
        """What all modalities but one were fused to, and where they were; else nowhere."""
        rows = self.fused.get(name, np.zeros_like(next(iter(self.embeddings.values()))))
        return rows, np.any(rows, axis=1)

    def __len__(self) -> int:
        """Number of examples, complete or not."""
        return len(next(iter(self.embeddings.values())))


def checked(
    embeddings: HostEmbeddings,
    present: HostPresent | None = None,
    groups: HostGroups | None = None,
    fused: HostEmbeddings | None = None,
    *,
    fewest: int = 2,
) -> EmbeddingSet:
    """Check embeddings and bring them to unit rows in float32.

    Every figure of an evaluation depends on directions alone, so rows are scaled to unit length
    here. A row of zeros has no direction, so it is absent, and as a query a miss. The rows of an
    absent modality are ignored, whatever they hold.

    Args:
        embeddings: per modality `[examples, dim]`; one dim for all, row i the same example.
        present: per modality bool `[examples]`; a modality without a mask is present everywhere.
        groups: `[examples]` labels of any type, e.g. the video a caption belongs to; one for every
            example.
        fused: for any of the modalities, one embedding `[examples, dim]` of all the others; zeros
            where they were not fused, which is no miss.
        fewest: least number of modalities; 1 if they are compared with something from elsewhere.

    Returns:
        The checked embeddings, on the host.

    Raises:
        TypeError: no mapping of names to arrays.
        ValueError: too few modalities, fewer than two examples, sizes that differ, a mask or group
            array of another length, a mask for an unknown modality, a present row with NaN or Inf,
            or groups as in `numbered`.
    """
    present, fused = ({} if x is None else x for x in (present, fused))
    for argument, some in (("embeddings", embeddings), ("present", present), ("fused", fused)):
        check_by_name(some, argument)
    if len(embeddings) < fewest:
        raise ValueError(
            f"embeddings: got {counted(len(embeddings), 'modality')} "
            f"({', '.join(embeddings) or 'none'}), expected at least {fewest}; "
            "alignment is a relation between modalities: embed another one"
        )
    arrays = {name: np.asarray(values) for name, values in embeddings.items()}
    examples = check_alike(arrays)
    if examples < 2:
        raise ValueError(
            f"embeddings: got {counted(examples, 'example')}, expected at least 2; a query needs "
            "at least one wrong answer in its gallery: evaluate on more rows"
        )
    masks = every_mask(present, tuple(arrays), examples)
    numbers = None if groups is None else numbered(groups, examples, "groups")
    units = {name: unit_rows(name, values, masks[name]) for name, values in arrays.items()}
    there = {name: np.any(rows, axis=1) for name, rows in units.items()}
    made = {name: np.asarray(values) for name, values in fused.items()}
    for name, values in made.items():
        if name not in arrays or values.shape != arrays[name].shape:
            raise ValueError(
                f"fused[{name!r}]: got shape {values.shape}, expected the shape and name of one of "
                f"{', '.join(arrays)}: give the fusion of all others under a modality's name"
            )
        rest = np.any([mask for other, mask in there.items() if other != name], axis=0)
        made[name] = unit_rows(f"all but {name}", values, rest)
    return EmbeddingSet(units, there, masks, numbers, made)
