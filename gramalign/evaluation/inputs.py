"""The inputs of an evaluation, checked and brought into one form before anything is compiled."""

from collections.abc import Mapping
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
        present: per modality bool `[examples]`; every modality has a mask.
        groups: int32 `[examples]`, numbered from 0, or None. Examples of one group never compete
            with each other.
        fused: by modality, one embedding of all the others, unit rows, zeros where there is none.
        zeros: how many rows of a modality, or of what was fused from "all but" one, were given as
            present but are all zeros, and so absent; without those that have none.
    """

    embeddings: Mapping[str, Float[np.ndarray, "_examples _dim"]]
    present: Mapping[str, Bool[np.ndarray, " examples"]]
    groups: Integer[np.ndarray, " examples"] | None
    fused: Mapping[str, Float[np.ndarray, "_examples _dim"]] = field(default_factory=dict)
    zeros: Mapping[str, int] = field(default_factory=dict)

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
    here. A row of zeros has no direction, so it is absent, and counted in `zeros`. The rows of an
    absent modality are ignored, whatever they hold.

    Args:
        embeddings: per modality `[examples, dim]`; one dim for all, row i the same example.
        present: per modality bool `[examples]`; a modality without a mask is present everywhere.
        groups: `[examples]` labels of any type, e.g. the video a caption belongs to; one for every
            example.
        fused: for any of the modalities, one embedding `[examples, dim]` of all the others; it is
            present where any of them is.
        fewest: least number of modalities; 1 if they are compared with something from elsewhere.

    Returns:
        The checked embeddings, on the host.

    Raises:
        TypeError: no mapping of names to arrays.
        ValueError: too few modalities, fewer than two examples, sizes that differ, a mask or group
            array of another length, a mask for an unknown modality, a present row with NaN or Inf,
            or groups as in `numbered`.
    """
    check_by_name(embeddings)
    check_by_name(fused or {}, "fused")
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
    masks = every_mask(present or {}, tuple(arrays), examples)
    numbers = None if groups is None else numbered(groups, examples, "groups")
    units = {name: unit_rows(name, values, masks[name]) for name, values in arrays.items()}
    there = {name: np.any(rows, axis=1) for name, rows in units.items()}
    zeros = {name: int((masks[name] & ~there[name]).sum()) for name in units}
    made = {name: np.asarray(values) for name, values in (fused or {}).items()}
    for name, values in made.items():
        if name not in arrays or values.shape != arrays[name].shape:
            raise ValueError(
                f"fused[{name!r}]: got shape {values.shape}, expected the shape and name of one of "
                f"{', '.join(arrays)}: give the fusion of all others under a modality's name"
            )
        rest = np.any([mask for other, mask in there.items() if other != name], axis=0)
        made[name] = unit_rows(f"all but {name}", values, rest)
        zeros[f"all but {name}"] = int((rest & ~np.any(made[name], axis=1)).sum())
    zeros = {name: number for name, number in zeros.items() if number}
    return EmbeddingSet(units, there, numbers, made, zeros)
