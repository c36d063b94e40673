"""What TPU chips can do at most, as published.

Google Cloud's pages of each generation, docs.cloud.google.com/tpu/docs/ with `v4`, `v5e`, `v5p`,
`v6e` or `tpu7x` behind it, give compute, memory and, from v5e on, the bandwidth of all links of a
chip in both directions together, half of which is what a chip can send. The v4 page lacks it: six
links of 50 GB/s each way are in Jouppi et al., "TPU v4" (ISCA 2023), table 4. Links follow from the
torus: two for each dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

GIB, GB, TERA = 2**30, 1e9, 1e12


@dataclass(frozen=True)
class Chip:
    """Published peaks of one chip, or of one device that it shows itself as."""

    name: str
    memory: int
    """Bytes of HBM."""
    flops: float
    """Operations a second in bfloat16."""
    link_bandwidth: float
    """Bytes a second that it can send over one link to a neighbour."""
    links: int
    parts: int = 1
    """Devices that it shows itself as."""

    @property
    def send_bandwidth(self) -> float:
        """Bytes a second that it can send over all links together."""
        return self.links * self.link_bandwidth


# By what JAX calls the device.
CHIPS = {
    "TPU v4": Chip("v4", 32 * GIB, 275 * TERA, 50 * GB, 6),
    "TPU v5 lite": Chip("v5e", 16 * GIB, 197 * TERA, 50 * GB, 4),
    "TPU v5": Chip("v5p", 95 * GIB, 459 * TERA, 100 * GB, 6),
    "TPU v6 lite": Chip("v6e", 32 * GIB, 918 * TERA, 100 * GB, 4),
    "TPU7x": Chip("tpu7x", 192 * GIB, 2307 * TERA, 100 * GB, 6),
}


def chip_of(devices: Sequence[Any]) -> Chip:
    """The peaks of each of some devices, all of one generation.

    Where a chip shows itself as two devices (v4, tpu7x), each has half of everything, bandwidth of
    the chip's links included.

    Args:
        devices: of a whole slice, as JAX lists them.

    Raises:
        ValueError: for a generation whose figures are not known here.
    """
    kind = devices[0].device_kind
    if kind not in CHIPS:
        raise ValueError(
            f"no published figures for {kind!r}: wanted one of "
            f"{', '.join(chip.name for chip in CHIPS.values())}"
        )
    chip = CHIPS[kind]
    parts = len(devices) // len({tuple(device.coords) for device in devices})
    return replace(
        chip,
        parts=parts,
        memory=chip.memory // parts,
        flops=chip.flops / parts,
        link_bandwidth=chip.link_bandwidth / parts,
    )
