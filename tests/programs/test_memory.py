"""What the compiler says about memory."""

import jax
import jax.numpy as jnp
import pytest

from gramalign.programs.chips import GIB, MIB, chip_of
from gramalign.programs.memory import OutOfMemory, available, compiled
from tests.compilers import cuda, mesh_along, tpu


@pytest.mark.parametrize(
    "message",
    [
        "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO "
        "temporaries (26.50G) exceeds available HBM (15.75G).",
        "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 26.50G of 15.75G hbm. "
        "Exceeded hbm capacity by 10.75G.",
    ],
)
def test_the_sizes_in_a_refusal(message):
    refused = OutOfMemory(message)
    assert (refused.needed, refused.available) == (26.5 * GIB, 15.75 * GIB)


def test_a_refusal_without_sizes():
    refused = OutOfMemory("RESOURCE_EXHAUSTED: too much")
    assert refused.needed is None and refused.available is None


@tpu
@pytest.mark.parametrize("topology", ["v5e:2x2", "v6e:2x2", "v4:2x2x1", "tpu7x:2x2x1"])
def test_nearly_all_of_what_a_chip_has_is_available(topology):
    mesh = mesh_along(topology)
    published = chip_of(mesh.devices.ravel().tolist()).memory
    assert 0.94 * published < available(mesh) <= 1.01 * published


@tpu
def test_an_account_of_a_program():
    """A donated argument's place is taken by the result."""
    mesh = mesh_along("v5e:2x2")
    split = jax.NamedSharding(mesh, jax.P("data"))
    x = jax.ShapeDtypeStruct((4 * 2**20,), jnp.float32, sharding=split)
    donated, kept = (
        compiled(jax.jit(lambda x: x * 2, donate_argnums=numbers).lower(x), mesh)[1]
        for numbers in (0, ())
    )
    assert donated.arguments == kept.arguments == 4 * 2**20
    assert donated.results < 2**16 and kept.results >= 4 * 2**20
    assert kept.total == kept.arguments + kept.results + kept.temporary + kept.program


@pytest.fixture
def gpu(monkeypatch):
    """An H200, with no setting for how much of its memory JAX takes."""
    monkeypatch.delenv("XLA_CLIENT_MEM_FRACTION", raising=False)
    monkeypatch.delenv("XLA_PYTHON_CLIENT_MEM_FRACTION", raising=False)
    return mesh_along("h200:1")


@cuda
def test_the_part_of_a_gpu_that_jax_takes(gpu, monkeypatch):
    assert available(gpu) == 0.75 * 143771 * MIB
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")
    assert available(gpu) == 0.5 * 143771 * MIB
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "")
    monkeypatch.setenv("XLA_CLIENT_MEM_FRACTION", "0.25")
    assert available(gpu) == 0.25 * 143771 * MIB
    monkeypatch.setenv("XLA_CLIENT_MEM_FRACTION", "0")
    with pytest.raises(ValueError, match="XLA_CLIENT_MEM_FRACTION is 0.0, expected more than 0"):
        available(gpu)


@cuda
def test_more_than_that_part_is_refused(gpu):
    def doubled(gib):
        whole = jax.NamedSharding(gpu, jax.P())
        x = jax.ShapeDtypeStruct((gib, 2**28), jnp.float32, sharding=whole)
        return compiled(jax.jit(lambda x: x * 2).lower(x), gpu)[1]

    assert doubled(50).total == 100 * GIB
    with pytest.raises(OutOfMemory) as refused:
        doubled(60)
    assert (refused.value.needed, refused.value.available) == (120 * GIB, available(gpu))
