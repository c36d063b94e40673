"""Published figures of chips, for the devices that they appear as."""

from types import SimpleNamespace

import pytest

from gramalign.programs.chips import CHIPS, chip_of


def devices(kind, parts):
    return [
        SimpleNamespace(device_kind=kind, coords=[x, 0, 0]) for x in range(4) for _ in range(parts)
    ]


def test_a_chip_that_is_one_device():
    assert chip_of(devices("TPU v5 lite", 1)) == CHIPS["TPU v5 lite"]
    assert CHIPS["TPU v5 lite"].send_bandwidth * 8 == 1600e9  # the bits that the page names


def test_a_chip_that_is_two_devices():
    whole, half = CHIPS["TPU7x"], chip_of(devices("TPU7x", 2))
    assert half.parts == 2 and (whole.noun, half.noun) == ("chip", "device")
    assert 2 * half.memory == whole.memory and 2 * half.flops == whole.flops
    assert 2 * half.send_bandwidth == whole.send_bandwidth


def test_gpus():
    """JAX gives them no coordinates."""
    (gpu,) = {chip_of([SimpleNamespace(device_kind="NVIDIA H100 80GB HBM3")] * n) for n in (1, 16)}
    assert gpu.send_bandwidth * 2 == 900e9  # both ways, as the data sheet has it
    assert gpu.network_bandwidth * 8 == 400e9  # the bits of a DGX's network card
    assert gpu.noun == "GPU"


def test_what_float32_takes():
    """A TPU composes it of bfloat16 products; a GPU has units for it, and TensorFloat32."""
    tpu, gpu = CHIPS["TPU v5 lite"].passes, CHIPS["NVIDIA A100-SXM4-80GB"].passes
    assert (tpu["DEFAULT"], tpu["HIGHEST"]) == (1, 6)
    assert (gpu["DEFAULT"], gpu["HIGHEST"]) == (312 / 156, 312 / 19.5)


def test_an_unknown_chip():
    with pytest.raises(ValueError, match="'TPU v1': expected one of v4, v5e"):
        chip_of(devices("TPU v1", 1))
