"""Settings for tests of the benchmarks."""

import pytest

from gramalign.benchmarks import rounds


@pytest.fixture
def short_rounds(monkeypatch):
    """Lets a round be one call, begun at once."""
    monkeypatch.setattr(rounds, "FILL", 1e-9)
    monkeypatch.setattr(rounds, "PAUSE", 0.0)
