"""Memory is read off compiled programs, and off fresh processes."""

import jax
import numpy as np
import pytest

from gramalign.benchmarks import memory
from gramalign.benchmarks.steps import made_up, step
from gramalign.benchmarks.workload import Way


def silent(text):
    pass


def test_compiled_memory_is_read_without_running():
    figures = memory.growth("clip", (64, 128), 2, 16, "float32", 32, silent)
    assert figures["batches"] == [64, 128]
    small, large = figures["temporary_bytes"]
    assert 0 < small < large
    assert figures["growth_over_linear"] == [large / small / 2]


def test_what_does_not_fit_is_left_out(monkeypatch):
    class TooLarge:
        def lower(self, shapes):
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Ran out of memory in hbm")

    monkeypatch.setattr(memory, "step", lambda method, way: TooLarge())
    figures = memory.growth("clip", (64, 128), 2, 16, "bfloat16", 32, silent)
    assert figures["temporary_bytes"] == [None, None]
    assert figures["growth_over_linear"] == [None]


@pytest.mark.slow
def test_a_fresh_process_reports_its_own_peak():
    ballast = np.ones(2**28 // 8)  # 256 MiB here, none of them there
    row = memory.resident("clip", 16, 3, 16)
    del ballast
    assert 50 * 2**20 < row["before_bytes"] <= row["peak_bytes"] < 2**30
    loss, _ = step("clip", Way(16))(jax.device_put(made_up(16, 3, 16)))
    assert row["loss"] == pytest.approx(float(loss), rel=1e-5)


def test_a_process_that_fails_says_why():
    with pytest.raises(
        ChildProcessError, match=r"(?s)nothing 16 3 16 ended with status 1.*KeyError"
    ):
        memory.resident("nothing", 16, 3, 16)
