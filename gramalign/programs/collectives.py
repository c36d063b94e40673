"""What the devices of a mesh send each other, read from the program that XLA has compiled."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from gramalign.programs.hlo import (
    Computation,
    Instruction,
    Known,
    Program,
    array_bytes,
    elements,
    parse,
    trips,
)

# Bytes that a device sends, from those of the result and the number of devices that take part: what
# a ring of them takes, which no other way undercuts where only devices compute. (The switch that
# joins GPUs can add up, and then an all-reduce takes half.)
_SENT = {
    "all-gather": lambda size, group: size * (group - 1) // group,
    "all-reduce": lambda size, group: 2 * size * (group - 1) // group,
    "reduce-scatter": lambda size, group: size * (group - 1),
    "all-to-all": lambda size, group: size * (group - 1) // group,
    "collective-broadcast": lambda size, group: size,
    "collective-permute": lambda size, group: size,
}


@dataclass(frozen=True)
class Collective:
    """All collectives of one kind in a program."""

    kind: str
    """As XLA calls it, such as `all-gather`."""
    asynchronous: bool
    """Whether the device can compute between its start and its end."""
    count: int
    """How many run, each as often as the loops around it do."""
    sent: int
    """Bytes that a device sends in all of them."""
    exact: bool
    """False if one stands in a loop of unknown length, which was taken to run once."""


class _Use(NamedTuple):
    kind: str
    asynchronous: bool
    times: int
    sent: int
    exact: bool


def collectives(text: str) -> list[Collective]:
    """The collectives that a compiled program runs, by kind, most bytes first.

    Of a conditional, the branch that sends more counts.

    Args:
        text: from `compiled.as_text()`.

    Raises:
        ValueError: for a text that is no program's.
    """
    program = parse(text)
    count, sent, exact = Counter(), Counter(), {}
    entry = program.computations[program.entry]
    for use in _uses(program, entry, None, asynchronous=False):
        key = use.kind, use.asynchronous
        count[key] += use.times
        sent[key] += use.times * use.sent
        exact[key] = exact.get(key, True) and use.exact
    return [
        Collective(kind, overlaps, count[kind, overlaps], total, exact[kind, overlaps])
        for (kind, overlaps), total in sent.most_common()
    ]


def _uses(
    program: Program, computation: Computation, known: Known | None, *, asynchronous: bool
) -> Iterator[_Use]:
    """Every collective that a computation runs, itself or in what it calls."""
    for instruction in computation.instructions.values():
        opcode = instruction.opcode
        kind = opcode.removesuffix("-start")
        if kind in _SENT:
            started = asynchronous or (opcode.endswith("-start") and not _waits(instruction))
            yield _Use(kind, started, 1, _sent(program, kind, instruction), True)
        elif opcode == "while":
            times, inside = trips(program, computation, instruction, known)
            body = program.computations[instruction.attribute("body") or ""]
            for use in _uses(program, body, inside, asynchronous=asynchronous):
                exact = use.exact and times is not None
                yield use._replace(times=use.times * (1 if times is None else times), exact=exact)
        elif opcode == "conditional":
            branches = [
                list(_uses(program, program.computations[name], None, asynchronous=asynchronous))
                for name in _branches(instruction)
            ]
            yield from max(branches, key=lambda uses: sum(use.times * use.sent for use in uses))
        elif opcode in ("fusion", "call", "async-start"):
            called = instruction.attribute("calls") or instruction.attribute("to_apply") or ""
            inside = program.computations[called]
            starts = opcode == "async-start" or _starts(inside)
            if starts or not _goes_on(inside):
                yield from _uses(program, inside, None, asynchronous=asynchronous or starts)


# A GPU's compiler starts all of them, and marks those between whose start and end there is nothing.
def _waits(instruction: Instruction) -> bool:
    return '"is_sync":true' in instruction.attributes


# A TPU's compiler cuts a collective in pieces and puts them in the fusions that compute meanwhile:
# each holds the whole collective again, under the number of its chain, and only the first counts.
def _starts(computation: Computation) -> bool:
    return any("AsyncCollectiveStart" in x.attributes for x in computation.instructions.values())


def _goes_on(computation: Computation) -> bool:
    return any(
        x.opcode in _SENT and "chain_id=" in x.attributes for x in computation.instructions.values()
    )


def _branches(conditional: Instruction) -> list[str]:
    listed = re.search(r"branch_computations=\{([^}]*)\}", conditional.attributes)
    if listed:
        return re.findall(r"[\w.\-]+", listed[1])
    names = (conditional.attribute(f"{which}_computation") for which in ("true", "false"))
    return [name for name in names if name]


def _sent(program: Program, kind: str, instruction: Instruction) -> int:
    """Bytes that a device sends at least."""
    shape = instruction.shape
    if instruction.opcode.endswith("-start") and kind != "all-reduce":
        shape = elements(shape)[1]  # (what is sent, the result, ...)
    return _SENT[kind](array_bytes(shape), _group(program, instruction))


def _group(program: Program, instruction: Instruction) -> int:
    """How many devices take part in a collective together.

    Groups are listed, `{{0,1},{2,3}}`, or counted, `[2,2]<=[4]`, or named as axes of a mesh,
    `mesh['a'=2,'b'=4] {'b'}`, of which one may be there in part, `'b':(1)2`. None: all devices.
    """
    listed = re.search(r"replica_groups=\{\{([\d,]+)\}", instruction.attributes)
    if listed:
        return len(listed[1].split(","))
    counted = re.search(r"replica_groups=\[\d+,(\d+)\]", instruction.attributes)
    if counted:
        return int(counted[1])
    named = re.search(r"replica_groups=mesh\[(.*?)\] ?\{(.*?)\}", instruction.attributes)
    if named is None:
        return program.devices
    sizes = dict(re.findall(r"'([^']+)'=(\d+)", named[1]))
    axes = re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", named[2])
    return prod(int(part or sizes[name]) for name, part in axes)
