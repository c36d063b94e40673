"""The step that is measured, and its embeddings."""

import jax
import numpy as np
import pytest

from gramalign.benchmarks.steps import inputs, made_up, place, step
from gramalign.benchmarks.workload import Way, Workload
from gramalign.cli.bench import Bench


@pytest.mark.parametrize("method", ["calmrl", "matching", "supcon", "vast"])
def test_what_a_loss_takes_beside_embeddings_is_given(method):
    """A head, a head and a key, labels, what heads make; others take nothing, or one of these."""
    shapes = dict.fromkeys(inputs(method, 3), jax.ShapeDtypeStruct((16, 8), "float32"))
    loss, _ = jax.eval_shape(step(method, Way(8)), shapes)
    assert loss.shape == ()


def whole(embeddings):
    """Of a whole batch, whichever devices hold it."""
    text, audio = embeddings.values()
    return jax.nn.logsumexp(text @ audio.T, axis=1)


def test_a_loss_that_knows_of_no_axis_is_measured_as_it_is_trained():
    method = f"{__name__}:whole"
    rows = made_up(16, 2, 8)
    (alone, _), (several, _) = (
        step(method, Way(8, devices))(place(rows, "float32", devices)) for devices in (1, 4)
    )
    assert alone == pytest.approx(several)
    plan = Bench(devices=4, tiles=(64,)).plan("cpu")
    found = [plan.ways_for(Workload(name, 32)) for name in (method, "clip")]
    assert found == [[Way(8, 4)], [Way(8, 4, "gather"), Way(8, 4, "ring")]]


def test_made_up_embeddings_are_unit_rows_and_half_aligned():
    first, second = made_up(400, 2, 64).values()
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, rtol=1e-6)
    assert abs(np.mean(np.sum(first * second, axis=1)) - 0.5) < 0.05
    assert first.dtype == np.float32
