"""Published figures of chips, for the devices that they show themselves as."""

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
    assert half.parts == 2
    assert 2 * half.memory == whole.memory and 2 * half.flops == whole.flops
    assert 2 * half.send_bandwidth == whole.send_bandwidth


def test_a_chip_of_which_nothing_is_known():
    with pytest.raises(ValueError, match="'TPU v1': wanted one of v4, v5e"):
        chip_of(devices("TPU v1", 1))
