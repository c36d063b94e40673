"""Which devices take part in a collective together, as written in a compiled program.

Groups are listed, or given as a shape and an order of counting, or lie along axes of a mesh or
along the larger or smaller part of an axis (here of b, the larger):

    replica_groups={{0,1},{2,3}}
    replica_groups=[2,2]<=[2,2]T(1,0)
    replica_groups=mesh['a'=2,'b'=4] {'a','b':(1)2}
    replica_groups=mesh['a'=2,'b'=4], device_ids=([4,2]T(1,0)) {'b'}
    source_target_pairs={{0,1},{1,0}}

If nothing is written, or `{}`, all devices are one group. Future versions of XLA may write them
differently.
"""

import re
from collections.abc import Sequence

import numpy as np


def groups_of(attributes: str, devices: int) -> Sequence[Sequence[int]] | None:
    """The numbers of the devices that communicate with each other; None if not readable.

    Args:
        attributes: the instruction's attributes.
        devices: the number of devices that run the program.

    >>> [list(group) for group in groups_of("replica_groups=[2,2]<=[2,2]T(1,0)", 4)]
    [[0, 2], [1, 3]]
    """
    listed = re.search(r"(?:replica_groups|source_target_pairs)=\{\{([\d,{}]+)\}\}", attributes)
    if listed:
        return [_integers(group) for group in listed[1].split("},{")]
    counted = re.search(r"replica_groups=\[(\d+),(\d+)\]<=(\[\S*)", attributes)
    if counted:
        return _counted(counted[3]).reshape(int(counted[1]), int(counted[2])).tolist()
    named = re.search(
        r"replica_groups=mesh\[(.*?)\](?:, device_ids=\((\S*)\))? ?\{(.*?)\}", attributes
    )
    if named:
        return _along(named[1], named[2], named[3])
    written = re.search(r"(?:replica_groups|source_target_pairs)=(?!\{\})", attributes)
    return None if written else [range(devices)]


def _integers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _counted(text: str) -> np.ndarray:
    """Numbers from 0 in an array of a shape, `[4,2]`, or its transpose, `[4,2]T(1,0)`."""
    shape, order = re.findall(r"\[([\d,]+)\](?:T\(([\d,]+)\))?", text)[0]
    numbers = np.arange(np.prod(_integers(shape))).reshape(_integers(shape))
    return numbers.transpose(_integers(order)) if order else numbers


def _along(axes: str, order: str | None, chosen: str) -> list[list[int]]:
    """Groups of a mesh's devices that differ only along some axes, or a part of an axis."""
    sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", axes)}
    along = dict(zip(sizes, np.indices([*sizes.values()]).reshape(len(sizes), -1), strict=True))
    for name, before, part in re.findall(r"'([^']+)'(?::\((\d+)\)(\d+))?", chosen):
        count = int(part or sizes[name])
        behind = sizes[name] // (int(before or 1) * count)
        along[name] = along[name] - along[name] // behind % count * behind
    places = [*zip(*along.values(), strict=True)]
    numbers = range(len(places)) if order is None else _in_order(order)
    together: dict[tuple[int, ...], list[int]] = {}
    for number, place in zip(numbers, places, strict=True):
        together.setdefault(place, []).append(number)
    return [*together.values()]


def _in_order(order: str) -> list[int]:
    return _counted(order).ravel().tolist() if order.startswith("[") else _integers(order)
