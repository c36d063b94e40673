"""Chooses the rows of a store that a run trains on, and those that choose its model."""

import difflib
import functools
import logging

import numpy as np
from jaxtyping import Bool

from gramalign.counted import counted
from gramalign.data import FeatureStore, held_out, load
from gramalign.evaluation import figure_names
from gramalign.evaluation.evaluation import FIGURES, asked_by
from gramalign.training.checks import check
from gramalign.training.config import Config

_log = logging.getLogger(__name__)


def chosen_rows(config: Config) -> tuple[FeatureStore, FeatureStore | None]:
    """The rows to train on and, if the config asks for validation, those to validate on.

    Both hold only the modalities that the run trains on. Warns, once, of a split that divides
    groups.

    Raises:
        ValueError: data that do not exist, or that the config does not fit.
    """
    store = load(config.data, on_bad_record=config.on_bad_record)
    if (seen := _seen_in_training(store)).any():
        parts = counted(int(seen.sum()), "validation or test row")
        _warn_once(
            f"{store.source}: the groups of {parts} also have training rows. Where a group is one "
            "thing, such as a video with several captions, figures will be too good: give all rows "
            "of a group the same 'split'"
        )
    return chosen_of(store, config)


def chosen_of(store: FeatureStore, config: Config) -> tuple[FeatureStore, FeatureStore | None]:
    """As `chosen_rows`, from the config's data, already opened."""
    if config.modalities:
        store = store.only(config.modalities)
    if len(store.modalities) < 2:
        raise ValueError(
            f"{store.source} has only {', '.join(store.modalities)}, expected at least two "
            "modalities to align"
        )
    unknown = sorted(set(config.freeze) - set(store.modalities))
    wanted = f"any of {', '.join(store.modalities)}, of {store.source}, and not {unknown}"
    check(config, "freeze", not unknown, wanted)
    rows = _training_rows(store, config)
    there = rows.present
    trained = [name for name in store.modalities if name not in config.freeze]
    learn = np.any([there[name] for name in trained or there], axis=0)
    if len(rows) and not (learn & (np.sum([*there.values()], axis=0) >= 2)).any():
        some = f"{' or '.join(trained)} and another" if config.freeze and trained else "two"
        raise ValueError(
            f"{store.source}: no training row has {some} of {', '.join(store.modalities)}, so "
            "there is nothing to align: check the masks 'present.MODALITY'"
        )
    gaps = config.augment is not None or not all(x.all() for x in store.present.values())
    for name, term in config.terms.items():
        term.check_modalities(store.modalities)
        if gaps and not term.takes("present"):
            raise ValueError(
                f"{name} must take present, bool [batch] by modality: rows of {store.source} lack "
                "modalities, or an augmentation may hide them"
            )
        if term.needs_labels and store.labels is None:
            raise ValueError(
                f"{name} needs labels, and {store.source} has none: give it an array 'labels', the "
                "class of each row"
            )
    return _divided(store, config)


def _training_rows(store: FeatureStore, config: Config) -> FeatureStore:
    """The training part; a run of no steps, such as one of embeddings as they are, needs none."""
    if not config.steps and store.split is not None and "train" not in store.split:
        return store.take(np.arange(0))
    return store.part("train")


def _divided(store: FeatureStore, config: Config) -> tuple[FeatureStore, FeatureStore | None]:
    rows, wanted = _training_rows(store, config), config.validation
    if wanted.every is None:
        return rows, None
    names = figure_names(store.modalities)
    if wanted.figure not in names:
        close = difflib.get_close_matches(wanted.figure, names, n=4, cutoff=0)
        raise ValueError(
            f"Validation.figure is {wanted.figure!r}, expected one such as: {'; '.join(close)}. "
            "They are named 'QUERY -> GALLERY FIGURE, SCORE': modalities, several joined by '+', "
            f"any of {', '.join(FIGURES)}, and cosine or own"
        )
    if store.split is not None and "validation" in store.split:
        chosen = store.part("validation")
    else:
        mask = held_out(rows.ids, wanted.held_out, rows.groups)
        rows, chosen = rows.take(np.flatnonzero(~mask)), rows.take(np.flatnonzero(mask))
    chosen = chosen.take(np.arange(len(chosen))[: wanted.rows])
    if len(chosen) < 2 or not len(rows):
        raise ValueError(
            f"{store.source}: got {counted(len(chosen), 'validation row')} and "
            f"{counted(len(rows), 'training row')}, expected at least 2 and 1; give the store a "
            "split, or another validation.held_out"
        )
    present = {name: chosen.present[name] for name in store.modalities}  # as in figures' names
    if not asked_by(wanted.figure, present).any():
        raise no_such_rows(wanted.figure, chosen)
    return rows, chosen


def no_such_rows(figure: str, chosen: FeatureStore) -> ValueError:
    """What is wrong where no validation row can be a query of the figure that chooses the model."""
    return ValueError(
        f"validation.figure {figure!r} cannot be computed: none of the {len(chosen)} validation "
        "rows has all the modalities it needs; choose another figure, or hold out other rows"
    )


def _seen_in_training(store: FeatureStore) -> Bool[np.ndarray, " n"]:
    """Which rows are not trained on, but show what others show that are."""
    if store.groups is None or store.split is None:
        return np.zeros(len(store), bool)
    trained = store.split == "train"
    return ~trained & np.isin(store.groups, store.groups[trained])


@functools.cache  # a comparison trains many runs on the same data
def _warn_once(text: str) -> None:
    _log.warning(text)
