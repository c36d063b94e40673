"""What processes must have in common: their training rows, but for what is damaged in one copy."""

import numpy as np
import pytest

from gramalign.data import digest, from_arrays
from gramalign.training import Config, alike

ROWS = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)


def rows_word(monkeypatch, own, first):
    """What one process tells of its rows, where the first has others."""
    monkeypatch.setattr(alike, "from_all", lambda text: [first, text])
    return alike.facts(Config(), own, None, None)["training rows"]


@pytest.mark.parametrize(("kind", "same"), [("damaged", True), ("changed", False)])
def test_a_copy_of_the_data(kind, same, monkeypatch):
    told = digest(from_arrays({"text": ROWS}))
    other = digest(from_arrays({"text": -ROWS}))
    if kind == "damaged":
        words = told.split()
        other = " ".join([*words[:3], "-", *words[4:]])
    one, another = (rows_word(monkeypatch, each, told) for each in (told, other))
    assert (one == another) == same
