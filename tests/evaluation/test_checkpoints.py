import numpy as np
import pytest
from scipy import stats

from gramalign.evaluation import correlation_over_checkpoints


def test_equals_scipy_over_the_steps_that_have_both():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, size=(2, 12)).astype(float).tolist()  # with ties
    rows = [{"step": n, "x": a, "y": b} for n, (a, b) in enumerate(zip(x, y, strict=True))]
    rows += [{"step": 12, "loss": 1.0}, {"step": 13, "x": 3.0}, {"x": np.nan, "y": 1.0}]
    found, itself = correlation_over_checkpoints(rows, ["x"], ["y", "x"])
    assert found.spearman == pytest.approx(stats.spearmanr(x, y)[0])
    assert (found.checkpoints, itself.checkpoints) == (12, 13)
    assert itself.spearman == pytest.approx(1)


@pytest.mark.parametrize("values", [[(1, 2), (2, 1)], [(1, 2), (1, 3), (1, 4)], [(np.nan, 1)] * 4])
def test_what_tells_nothing_is_nan(values):
    rows = [{"x": float(x), "y": float(y)} for x, y in values]
    (found,) = correlation_over_checkpoints(rows, ["x"], ["y"])
    assert np.isnan(found.spearman) and found.to_json()["spearman"] is None


def test_unknown_figures():
    with pytest.raises(ValueError, match="no row has 'z', expected one of: x"):
        correlation_over_checkpoints([{"x": 1.0}], ["x"], ["z"])
    with pytest.raises(ValueError, match="expected one of: none"):
        correlation_over_checkpoints([], ["x"], ["x"])
