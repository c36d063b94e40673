"""UCI Multiple Features: 2000 handwritten numerals, each described by five sets of features.

R. P. W. Duin et al., UCI Machine Learning Repository. Read from the five files mfeat-NAME.csv, each
with a line of column numbers first and the class as its last column.

The repository's sixth set, the six morphological features `mor`, is left out: 222 of its rows equal
another one (110 different rows, each up to four times), and no ranking can tell equal rows apart.
Of `zer` 66 do (33, each twice). Six numerals are there twice, equal in all five sets; of one of
these (rows 1265 and 1272) one is for testing and the other for training.
"""

from pathlib import Path

import numpy as np

from .prepare_errors import RawDataError, existing

WIDTHS = {"fac": 216, "fou": 76, "kar": 64, "pix": 240, "zer": 47}
"""Features in each file: profile correlations, Fourier coefficients, Karhunen-Loeve coefficients,
2 x 3 pixel averages, Zernike moments."""


def mfeat(folder: Path) -> dict[str, np.ndarray]:
    """The five sets `[n, width]`, row numbers as ids, and the digits as labels.

    Raises:
        RawDataError: a file is missing, damaged, or does not fit the others.
    """
    views, labels = {}, {}
    for name in WIDTHS:
        views[name], labels[name] = _read(existing(folder, f"mfeat-{name}.csv"), WIDTHS[name])
    first = next(iter(WIDTHS))
    for name in WIDTHS:
        if not np.array_equal(labels[name], labels[first]):
            raise RawDataError(
                f"{folder / f'mfeat-{name}.csv'} has other labels ({len(labels[name])} rows) than "
                f"mfeat-{first}.csv ({len(labels[first])} rows): the files describe the same "
                "digits, row by row; get all of them from one source"
            )
    ids = np.arange(len(labels[first])).astype(np.str_)
    return {**views, "ids": ids, "labels": labels[first]}


def _read(file: Path, width: int) -> tuple[np.ndarray, np.ndarray]:
    try:
        table = np.loadtxt(file, delimiter=",", skiprows=1, ndmin=2)
    except ValueError as error:  # UnicodeDecodeError too
        raise RawDataError(f"{file} is not a table of numbers ({error})") from error
    if table.shape[1] != width + 1 or not len(table):
        raise RawDataError(
            f"{file} has {len(table)} rows of {table.shape[1]} columns, expected {width} features "
            "and the class behind them, below a line of column numbers"
        )
    labels = table[:, -1].astype(np.int64)
    wrong = np.flatnonzero(~np.isin(table[:, -1], np.arange(10)))
    if len(wrong):
        raise RawDataError(
            f"{file}: the last column of row {wrong[0]} is {table[wrong[0], -1]}, expected the "
            "class, a digit"
        )
    return table[:, :-1].astype(np.float32), labels
