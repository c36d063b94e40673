"""The step that is measured, and its embeddings."""

import jax
import numpy as np
import pytest

from gramalign.benchmarks.steps import inputs, made_up, step
from gramalign.benchmarks.workload import Way


@pytest.mark.parametrize("method", ["calmrl", "matching", "supcon", "vast"])
def test_what_a_loss_takes_beside_embeddings_is_given(method):
    """A head, a head and a key, labels, what heads make; others take nothing, or one of these."""
    shapes = dict.fromkeys(inputs(method, 3), jax.ShapeDtypeStruct((16, 8), "float32"))
    loss, _ = jax.eval_shape(step(method, Way(8)), shapes)
    assert loss.shape == ()


def test_made_up_embeddings_are_unit_rows_and_half_aligned():
    first, second = made_up(400, 2, 64).values()
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, rtol=1e-6)
    assert abs(np.mean(np.sum(first * second, axis=1)) - 0.5) < 0.05
    assert first.dtype == np.float32
