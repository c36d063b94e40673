"""The data that a run is evaluated on."""

import logging

from gramalign.data import FeatureStore, FeatureStoreError, digest, load, readable, same_rows
from gramalign.training.params_file import content_digest
from gramalign.training.restore import Run
from gramalign.training.rows import chosen_of

_log = logging.getLogger(__name__)

ANOTHER = "measure another --part"
"""What else helps, for commands that have this option."""


def rows_of(run: Run, data: str | None, part: str) -> FeatureStore:
    """`measured_rows` of the store of `data_of`."""
    return measured_rows(data_of(run, data), part, ANOTHER)


def measured_rows(store: FeatureStore, part: str, otherwise: str = "") -> FeatureStore:
    """The readable rows of one part of a store.

    Args:
        store: the store.
        part: as for `FeatureStore.part`.
        otherwise: what else helps if there are none, or only one.

    Raises:
        FeatureStoreError: there are none.
        ValueError: there is a single one, and no wrong answer to any query.
    """
    rows = part_of(store, part, otherwise)
    if len(rows) > 1:
        return rows
    if part == "all":
        raise ValueError(f"{store.source} has 1 row, expected at least 2: add more")
    raise ValueError(
        f"{store.source} has 1 {part} row, expected at least 2: mark more as {part} in the array "
        f"'split'{otherwise and f', or {otherwise}'}"
    )


def part_of(store: FeatureStore, part: str, otherwise: str = "") -> FeatureStore:
    """The readable rows of one part of a store, however few.

    Args:
        store: the store.
        part: as for `FeatureStore.part`.
        otherwise: what else helps if there are none.

    Raises:
        FeatureStoreError: there are none.
    """
    try:
        return readable(store.part(part))
    except FeatureStoreError as error:
        if otherwise:
            error.add_note(f"Or {otherwise}")
        raise


def measured_on(run: Run, rows: FeatureStore) -> dict[str, str]:
    """What a record keeps of what it is of: digests of the rows, and of the run's weights.

    These are of the run that was loaded: another may have taken its folder since.
    """
    return {"digest": digest_of(run, rows), "weights": weights_digest(run)}


def weights_digest(run: Run) -> str:
    """The digest of all arrays that a run embeds and matches by."""
    return content_digest(run.variables)


def digest_of(run: Run, rows: FeatureStore) -> str:
    """The digest of rows that were measured, in the modalities that the run has."""
    return digest(rows.only([name for name in rows.modalities if name in run.dims]))


def data_of(run: Run, data: str | None = None) -> FeatureStore:
    """A feature store by its name or path, or the one that a run was trained on.

    For a packed store, the run's config says how to treat damaged records. Warns if the run's own
    store has changed since: the test rows may now be different ones.

    Raises:
        FeatureStoreError: as `gramalign.data.load`.
    """
    if data is not None:
        return load(data, on_bad_record=run.config.on_bad_record)
    try:
        store = load(run.config.data, on_bad_record=run.config.on_bad_record)
    except FeatureStoreError as error:
        error.add_note(
            f"{run.folder} was trained on it under this name: if it has moved, or the path is "
            "relative to another folder, give --data (to `gramalign evaluate`, before a report)"
        )
        raise
    if run.trained_on is not None and not same_rows(run.trained_on, _trained_on(run, store)):
        _log.warning(
            "%s has changed since %s was trained on it: the rows to measure on may include "
            "training rows",
            *(store.source, run.folder),
        )
    return store


def _trained_on(run: Run, store: FeatureStore) -> str:
    """The digest of the rows that a run would train on now; empty if it no longer can."""
    try:
        return digest(chosen_of(store, run.config)[0])
    except ValueError:
        return ""
