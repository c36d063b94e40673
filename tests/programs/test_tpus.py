"""TPU slices that are not there."""

import pytest

from gramalign.programs.chips import CHIPS, chip_of
from gramalign.programs.topology import devices_of
from tests.compilers import tpu


@tpu
@pytest.mark.parametrize(
    "topology, devices",
    [
        ("v4:2x2x1", 4),
        ("v4:2x2x2", 8),
        ("v5e:1x1", 1),
        ("v5e:4x2", 8),
        ("v5e:16x16", 256),
        ("v5p:16x16x24", 6144),
        ("v6e:8x16", 128),
        ("tpu7x:4x4x4", 128),  # two of each chip, as JAX has them on these
    ],
)
def test_a_device_is_what_jax_shows_of_a_chip(topology, devices):
    found = devices_of(topology)
    assert len(found) == devices
    generation = topology.partition(":")[0]
    parts = 2 if generation == "tpu7x" else 1
    whole = next(chip for chip in CHIPS.values() if chip.name == generation)
    assert chip_of(found).memory * parts == whole.memory


@tpu
@pytest.mark.parametrize(
    "layout",
    ["", "axb", "4", "4x", "0x4", "-2x2", "04x4", "1x7", "6x6", "2x16", "2x128", "16x32", "4x4x4"],
)
@pytest.mark.parametrize("generation", ["v5e", "v6e"])
def test_layouts_of_two_dimensions(generation, layout):
    with pytest.raises(ValueError, match=rf"'{generation}:{layout}'.*comes as 1x1, 2x2.*, 16x16\)"):
        devices_of(f"{generation}:{layout}")


@tpu
@pytest.mark.parametrize(
    "layout", ["4x4", "1x1x1", "2x2x3", "3x3x3", "2x2x8", "0x4x4", "4x4x4x4", "32x32x32"]
)
@pytest.mark.parametrize("generation, most", [("v4", 4096), ("v5p", 6144), ("tpu7x", 9216)])
def test_layouts_of_three_dimensions(generation, most, layout):
    cure = rf"comes as 2x2x1.*, 2x4x4 or multiples of 4, up to {most} chips\)"
    with pytest.raises(ValueError, match=f"no TPU topology '{generation}:{layout}'.*{cure}"):
        devices_of(f"{generation}:{layout}")
