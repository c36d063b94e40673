"""The term `calmrl`: its head learns beside the towers, and is kept."""

import dataclasses

import numpy as np
import pytest

from gramalign.training import Calmrl, Layout, Optimizer, train
from tests.training.commands import arrays, assert_same_run, train_until


@pytest.fixture(scope="module")
def config(small_config, gappy_store):
    return small_config(
        data=str(gappy_store),
        objective="calmrl",
        settings={"calmrl": Calmrl(head_rank=3)},
        optimizer=Optimizer(learning_rate=0.01, warmup=2),
    )


def test_a_killed_run_ends_with_the_same_head(whole, config, tmp_path, quiet):
    train_until(6, config, tmp_path)
    train(config, tmp_path, resume=True, report=quiet)
    assert_same_run(tmp_path, whole)
    weights = {n: x for n, x in arrays(whole).items() if ".head.weights." in n}
    assert {n.rsplit(".", 1)[1]: x.shape for n, x in weights.items()} == dict.fromkeys(
        ("audio", "speed", "text"), (3, 8)
    )
    first, *others = weights.values()
    assert all(np.abs(first - x).max() > 1e-3 for x in others), "they began alike"


@pytest.mark.slow
def test_devices_learn_the_same(whole, config, tmp_path, quiet):
    layout = Layout(data=2, fsdp=2, model=2)
    other = train(dataclasses.replace(config, layout=layout), tmp_path, report=quiet)
    for name, x in arrays(whole).items():
        np.testing.assert_allclose(arrays(other.folder)[name], x, atol=5e-5, err_msg=name)


def test_a_rank_that_is_none():
    with pytest.raises(ValueError, match="Calmrl.head_rank is 0, expected at least 1"):
        Calmrl(head_rank=0)
