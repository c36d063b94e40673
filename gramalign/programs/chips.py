"""Published peaks of TPU chips and NVIDIA GPUs.

TPUs: Google Cloud's pages of each generation, docs.cloud.google.com/tpu/docs/ followed by `v4`,
`v5e`, `v5p`, `v6e` or `tpu7x`, give compute, memory, its bandwidth and, from v5e on, the bandwidth
of all links of a chip in both directions together, of which a chip can send half. The v4 page lacks
it: six links of 50 GB/s each way are in Jouppi et al., "TPU v4" (ISCA 2023), table 4. The number of
links follows from the torus: two for each dimension.

GPUs: NVIDIA's data sheets of A100, H100 and H200 (SXM) and of the HGX B200 give compute without
sparsity (half of what they print), memory bandwidth, and NVLink in both directions together. A
switch joins all GPUs of a host, so a GPU's links count as one, which leads to each of the others.
Between hosts, the figures are a DGX's, with one network card per GPU. Memory is what nvidia-smi
shows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gramalign.programs.flops import FLOAT32_PASSES

GIB, MIB, GB, TERA = 2**30, 2**20, 1e9, 1e12


@dataclass(frozen=True)
class Chip:
    """Published peaks of one chip, or of one of the devices that it appears as."""

    name: str
    memory: int
    """Bytes of HBM."""
    flops: float
    """Operations a second in bfloat16."""
    link_bandwidth: float
    """Bytes a second that it can send over one link to a neighbour."""
    links: int
    memory_bandwidth: float
    """Bytes a second that it can read and write."""
    parts: int = 1
    """Devices that it appears as."""
    float32_flops: float | None = None
    """Operations a second in float32; None: they are composed of bfloat16 ones."""
    network_bandwidth: float | None = None
    """Bytes a second that it can send to another host; None: links lead there too."""

    @property
    def noun(self) -> str:
        """What to call one of the devices."""
        if self.network_bandwidth is not None:
            return "GPU"
        return "chip" if self.parts == 1 else "device"

    @property
    def send_bandwidth(self) -> float:
        """Bytes a second that it can send over all links together."""
        return self.links * self.link_bandwidth

    @property
    def passes(self) -> Mapping[str, float]:
        """By JAX's precisions, the bfloat16 operations that take as long as one in float32.

        A GPU computes float32 as TensorFloat32, at half the rate of bfloat16, unless the highest
        precision is requested.
        """
        if self.float32_flops is None:
            return FLOAT32_PASSES
        highest = self.flops / self.float32_flops
        return {**FLOAT32_PASSES, "DEFAULT": 2.0, "HIGH": 2.0, "HIGHEST": highest}


def _gpu(
    name: str,
    memory: int,
    bandwidth: float,
    bfloat16: float,
    float32: float,
    link: float,
    network: float,
) -> Chip:
    """Units: bytes, GB/s, TFLOP/s (both), and GB/s (both)."""
    return Chip(
        name,
        memory,
        bfloat16 * TERA,
        link * GB,
        links=1,
        memory_bandwidth=bandwidth * GB,
        float32_flops=float32 * TERA,
        network_bandwidth=network * GB,
    )


# By what JAX calls the device.
CHIPS = {
    "TPU v4": Chip("v4", 32 * GIB, 275 * TERA, 50 * GB, 6, 1200 * GB),
    "TPU v5 lite": Chip("v5e", 16 * GIB, 197 * TERA, 50 * GB, 4, 819 * GB),
    "TPU v5": Chip("v5p", 95 * GIB, 459 * TERA, 100 * GB, 6, 2765 * GB),
    "TPU v6 lite": Chip("v6e", 32 * GIB, 918 * TERA, 100 * GB, 4, 1638 * GB),
    "TPU7x": Chip("tpu7x", 192 * GIB, 2307 * TERA, 100 * GB, 6, 7380 * GB),
    "NVIDIA A100-SXM4-80GB": _gpu("a100", 81920 * MIB, 2039.0, 312.0, 19.5, 300.0, 25.0),
    "NVIDIA H100 80GB HBM3": _gpu("h100", 81559 * MIB, 3350.0, 989.0, 67.0, 450.0, 50.0),
    "NVIDIA H200": _gpu("h200", 143771 * MIB, 4800.0, 989.0, 67.0, 450.0, 50.0),
    "NVIDIA B200": _gpu("b200", 183359 * MIB, 8000.0, 2250.0, 75.0, 900.0, 50.0),
}


def chip_of(devices: Sequence[Any]) -> Chip:
    """The peaks of each of the given devices, all of one generation.

    Where a chip appears as two devices (tpu7x), each has half of everything, including the
    bandwidth of the chip's links.

    Args:
        devices: those of a whole slice, as JAX lists them.

    Raises:
        ValueError: for a generation not in `CHIPS`.
    """
    kind = devices[0].device_kind
    if kind not in CHIPS:
        raise ValueError(
            f"no published figures for {kind!r}: expected one of "
            f"{', '.join(chip.name for chip in CHIPS.values())}"
        )
    chip = CHIPS[kind]
    if chip.network_bandwidth is not None:  # a GPU
        return chip
    parts = len(devices) // len({tuple(device.coords) for device in devices})
    return replace(
        chip,
        parts=parts,
        memory=chip.memory // parts,
        flops=chip.flops / parts,
        link_bandwidth=chip.link_bandwidth / parts,
        memory_bandwidth=chip.memory_bandwidth / parts,
    )
