"""GPUs that are not there."""

import pytest

from gramalign.programs import gpus
from gramalign.programs.chips import CHIPS, chip_of
from tests.compilers import cuda, mesh_along


@pytest.mark.parametrize("gpu", gpus.GPUS.values())
def test_two_descriptions_of_one_gpu(gpu):
    """Float32 as published is what all units do in a clock, two operations each."""
    chip = CHIPS[gpu.kind]
    assert 2 * gpu.cores * gpu.units * gpu.clock * 1e9 == pytest.approx(
        chip.float32_flops, rel=0.01
    )


@cuda
@pytest.mark.parametrize("name", gpus.GPUS)
def test_hosts_and_gpus(name):
    devices = mesh_along(f"{name}:2x4").devices.tolist()
    assert [device.process_index for device in devices] == [0] * 4 + [1] * 4
    assert chip_of(devices).name == name
    assert mesh_along(f"{name}:4").size == 4


@cuda
@pytest.mark.parametrize(
    "topology", ["h100", "h100:", "h100:0", "h100:8x", "h100:1x2x8", "h100:-1"]
)
def test_what_is_no_topology(topology):
    with pytest.raises(ValueError, match="no GPU topology .*: give one of a100.*such as h100:8"):
        mesh_along(topology)


@cuda
def test_all_gpus_of_a_cluster_are_not_one_host():
    with pytest.raises(
        ValueError, match="'h100:64' has 64 GPUs in a host, which no host has: .* such as h100:8x8"
    ):
        mesh_along("h100:64")


@pytest.mark.parametrize("topology", ["gb200:4", "H100:8", "v9:2x2", ""])
def test_what_is_neither(topology):
    with pytest.raises(ValueError, match="give TPUs, v4.*v5e:4x4, or GPUs, a100.*h100:8"):
        mesh_along(topology)


def test_without_the_plugin(monkeypatch):
    monkeypatch.setattr(gpus, "find_spec", lambda name: None)
    with pytest.raises(OSError, match=r"pip install 'gramalign\[cuda\]', or only to compile"):
        mesh_along("h100:8")


def test_a_plugin_that_cannot_start(monkeypatch):
    def refused(**options):
        raise NotImplementedError("topology not implemented for cuda")

    monkeypatch.setattr(gpus, "find_spec", lambda name: name)
    monkeypatch.setattr(gpus.topologies, "get_topology_desc", refused)
    with pytest.raises(OSError, match="can't start here: topology not implemented for cuda"):
        mesh_along("h100:8")
