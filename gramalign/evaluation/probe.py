"""A linear probe: logistic regression on frozen embeddings.

Fitted on the training rows. Its regularisation is the one of `STRENGTHS` with the highest accuracy
on the validation rows or, without any, by cross-validation on the training rows; of two that are
equal, the stronger. Test rows choose nothing.

The folds are stratified by class, and a group is never divided.

Source: the protocol of Radford et al. (CLIP), ICML 2021, arXiv 2103.00020, appendix A.3: logistic
regression without data augmentation, its strength by validation. There by L-BFGS, here by Newton's
method, which takes no longer to come as close to the optimum.
"""

import copy
import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from gramalign.evaluation.class_figures import ClassFigures, class_figures
from gramalign.evaluation.labelled import Labelled

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

STRENGTHS = tuple(10.0**power for power in range(-2, 4))
"""scikit-learn's C, the inverse of regularisation, from strong to weak, for rows of length 1."""

PARTS = 5
"""How many parts of the training rows are held out in turn."""

_TOLERANCE = 1e-6
"""Of the mean loss's gradient. The penalty's share of it is about 1 / (C rows): with 1e-4, which is
scikit-learn's, a weakly regularised fit ends wherever it starts, if that is a stronger one."""

_FOR_ONE_THREAD = 2**22  # numbers in the training rows


def linear_probe(
    train: Labelled,
    test: Labelled,
    modalities: Sequence[str],
    *,
    validation: Labelled | None = None,
) -> ClassFigures:
    """Classify test rows by a logistic regression that was fitted on training rows.

    Args:
        train: the rows to fit on; those with none of the modalities are left out.
        test: the rows to classify.
        modalities: the inputs; several are concatenated, with zeros for absent ones, so that
            linear classifiers of their sum are among those it may find.
        validation: rows to choose the regularisation by; if None, or if none has the modalities,
            parts of the training rows are held out for that.

    Returns:
        The figures; their settings include the chosen `C` and whether the fit `converged`, 1 or 0.
    """
    seen = train.there(modalities)
    values = train.side_by_side(modalities)[seen].astype(np.float64)
    labels, clusters = train.labels[seen], train.data.clusters[seen]
    classes = np.unique(labels)
    settings, scores = {}, None
    if len(classes) > 1:
        fits = _fits(values, labels)
        if validation is not None and validation.there(modalities).any():
            known = validation.there(modalities)
            fits = list(fits)
            inputs = validation.side_by_side(modalities)[known].astype(np.float64)
            right = _right(fits, inputs, validation.labels[known])
        else:
            right = np.zeros(len(STRENGTHS))
            for held in _held_out(labels, clusters):
                if len(np.unique(labels[~held])) > 1:
                    others = _fits(values[~held], labels[~held])
                    right += _right(others, values[held], labels[held])
        chosen = int(np.argmax(right))
        *_, (model, converged) = islice(fits, chosen + 1)
        settings = {"C": STRENGTHS[chosen], "converged": float(converged)}
        inputs = test.side_by_side(modalities)

        def decisions(rows: slice) -> np.ndarray:
            found = model.decision_function(inputs[rows].astype(np.float64))
            return np.stack([-found, found], axis=1) if found.ndim == 1 else found

        scores = decisions
    return class_figures(
        scores,
        classes,
        test,
        test.there(modalities),
        classifier="probe",
        modalities=tuple(modalities),
        majority=train.most_frequent,
        settings=settings,
    )


def _fits(values: np.ndarray, labels: np.ndarray) -> Iterator[tuple["LogisticRegression", bool]]:
    """A fit at each strength, and whether it converged."""
    from sklearn.linear_model import LogisticRegression  # takes a second to import

    # From strong to weak, each fit starting from the previous one: weak ones are slow.
    model = LogisticRegression(solver="newton-cg", tol=_TOLERANCE, warm_start=True)
    # For small fits, threads that wait for each other take thirty times as long as one core.
    threads = 1 if values.size < _FOR_ONE_THREAD else None
    for strength in STRENGTHS:
        with warnings.catch_warnings(record=True) as told, threadpool_limits(threads):
            warnings.simplefilter("always", UserWarning)  # of which those of convergence are
            model.set_params(C=strength).fit(values, labels)
        converged = True
        for each in told:
            if issubclass(each.category, UserWarning):
                converged = False  # which the record says of the one fit that counts
            else:
                warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
        yield copy.deepcopy(model), converged


def _right(
    fits: Iterable[tuple["LogisticRegression", bool]], values: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """How many rows each fit classifies correctly."""
    return np.array([np.sum(model.predict(values) == labels) for model, _ in fits])


def _held_out(labels: np.ndarray, clusters: np.ndarray) -> Iterator[np.ndarray]:
    """Masks of the rows that are held out in turn; each row once."""
    _, first, cluster = np.unique(clusters, return_index=True, return_inverse=True)
    parts = min(PARTS, len(first))
    # Class after class, each shuffled, and then dealt out like cards. scikit-learn's own folds need
    # as many rows of every class as there are folds.
    order = np.lexsort((np.random.default_rng(0).random(len(first)), labels[first]))
    part = np.empty(len(first), np.int64)
    part[order] = np.arange(len(first)) % parts
    for number in range(parts):
        yield part[cluster] == number
