"""What processes must have in common: their training rows, but for what is damaged in one copy."""

import numpy as np

from gramalign.data import digest, from_arrays
from gramalign.training import Config, alike

ROWS = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)


def words(monkeypatch, *told):
    """What processes tell of their rows."""
    monkeypatch.setattr(alike, "from_all", lambda text: list(told))
    return {alike.facts(Config(), own, None, None)["training rows"] for own in told}


def test_copies_of_the_data_may_be_damaged_but_not_differ(monkeypatch):
    whole, other = (digest(from_arrays({"text": x})) for x in (ROWS, -ROWS))
    damaged = " ".join(["-" if n == 3 else word for n, word in enumerate(whole.split())])
    unread = " ".join(["-" if n in range(1, 61) else x for n, x in enumerate(whole.split())])
    assert len(words(monkeypatch, whole, damaged)) == len(words(monkeypatch, damaged, whole)) == 1
    assert len(words(monkeypatch, whole, other)) == 2
    assert len(words(monkeypatch, unread, whole, other)) > 1, "each like the first"
