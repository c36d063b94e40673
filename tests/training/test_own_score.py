"""A run is evaluated under the Score that its objective trains."""

import pytest

from gramalign.training import Config
from gramalign.training.measure import own_score


@pytest.mark.parametrize(
    ("objective", "score"),
    [
        ("gram", "volume"),
        ("clip + 0.1*gram", "volume"),
        ("pmrl + gram", "spectral"),
        ("gram + pmrl", "volume"),
        ("clip", "cosine"),
    ],
)
def test_the_first_that_is_not_the_cosine(objective, score):
    assert own_score(Config(objective=objective)) == score
