"""What the devices of a mesh send each other, read from a program compiled by XLA."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gramalign.programs.groups import groups_of
from gramalign.programs.hlo import (
    Computation,
    Instruction,
    Known,
    Program,
    array_bytes,
    parse,
    trips,
)

# Bytes that a device sends, from those of the result and the number of devices that take part, on a
# ring: no algorithm sends less where only devices compute. (The switch that joins GPUs can add, and
# then an all-reduce takes half.)
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
    """How many run; one in a loop counts as often as the loop runs."""
    sent: int
    """Bytes that a device sends in all of them."""
    exact: bool
    """False if one is in a loop of unknown length, which counts as running once."""
    leaving: int = 0
    """Bytes that leave a host on behalf of a device, where each has its own way out."""
    unread: int = 0
    """How many have groups that could not be read, and count as collectives of all devices."""


class _Use(NamedTuple):
    kind: str
    asynchronous: bool
    times: int
    sent: int
    leaving: int
    exact: bool
    read: bool


def collectives(text: str, hosts: Sequence[int] | None = None) -> list[Collective]:
    """The collectives that a compiled program runs, by kind, most bytes first.

    Of a conditional, the branch that sends more counts. Collectives that leave a host are listed
    separately from those that do not.

    Args:
        text: from `compiled.as_text()`.
        hosts: the host of each device, in the order of the program's device numbers; None: it does
            not matter.

    Raises:
        ValueError: for a text that is not a program.
    """
    program = parse(text)
    count, sent, leaving, unread, exact = Counter(), Counter(), Counter(), Counter(), {}
    entry = program.computations[program.entry]
    for use in _uses(program, entry, hosts, None, asynchronous=False):
        key = use.kind, use.asynchronous, use.leaving > 0
        count[key] += use.times
        sent[key] += use.times * use.sent
        leaving[key] += use.times * use.leaving
        unread[key] += 0 if use.read else use.times
        exact[key] = exact.get(key, True) and use.exact
    return [
        Collective(key[0], key[1], count[key], total, exact[key], leaving[key], unread[key])
        for key, total in sent.most_common()
    ]


def _uses(
    program: Program,
    computation: Computation,
    hosts: Sequence[int] | None,
    known: Known | None,
    *,
    asynchronous: bool,
    fused: bool = False,
) -> Iterator[_Use]:
    """Every collective that a computation runs, itself or in computations that it calls."""
    for name, instruction in computation.instructions.items():
        opcode = instruction.opcode
        kind = opcode.removesuffix("-start")
        if kind in _SENT:
            started = asynchronous or (opcode.endswith("-start") and not _waits(instruction))
            told = groups_of(instruction.attributes, program.devices)
            groups = [range(program.devices)] if told is None else told
            kept = _kept(computation, name) if fused and kind == "all-reduce" else None
            kind = "reduce-scatter" if kept else kind
            size = kept or array_bytes(instruction.result)
            sent = _SENT[kind](size, max(map(len, groups)))
            leaving = 0 if hosts is None else _leaving(kind, sent, groups, hosts)
            yield _Use(kind, started, 1, sent, leaving, exact=True, read=told is not None)
        elif opcode == "while":
            times, inside = trips(program, computation, instruction, known)
            body = program.called(instruction)
            for use in _uses(program, body, hosts, inside, asynchronous=asynchronous):
                exact = use.exact and times is not None
                yield use._replace(times=use.times * (1 if times is None else times), exact=exact)
        elif opcode == "conditional":
            branches = [
                list(_uses(program, branch, hosts, None, asynchronous=asynchronous))
                for branch in map(program.computations.__getitem__, instruction.branches)
            ]
            yield from max(branches, key=lambda uses: sum(use.times * use.sent for use in uses))
        elif opcode in ("fusion", "call", "async-start"):
            inside = program.called(instruction)
            if opcode == "async-start" or not inside.continued:
                started = asynchronous or opcode == "async-start" or inside.starts
                within = fused or opcode == "fusion"
                yield from _uses(program, inside, hosts, None, asynchronous=started, fused=within)


# A GPU's compiler makes all collectives asynchronous, and marks those that nothing overlaps.
def _waits(instruction: Instruction) -> bool:
    return '"is_sync":true' in instruction.attributes


# A TPU's compiler writes a reduce-scatter as a fusion of an all-reduce and of the slices kept.
def _kept(computation: Computation, name: str) -> int | None:
    """Bytes that are kept of an all-reduce's result; None: all of them."""
    total = 0
    for user, instruction in computation.instructions.items():
        if name not in instruction.operands:
            continue
        kept = None
        if instruction.opcode == "dynamic-slice":
            kept = array_bytes(instruction.shape)
        elif instruction.opcode == "get-tuple-element":
            kept = _kept(computation, user)
        if kept is None:
            return None
        total += kept
    return total or None


def _leaving(kind: str, sent: int, groups: Sequence[Sequence[int]], hosts: Sequence[int]) -> int:
    """Of the bytes that a device sends, those that leave a host on its behalf.

    A ring enters and leaves a host once, with all that a device sends. Where several devices of a
    host take part, there are as many rings, each with a share and its own way out.
    """
    counts = [Counter(hosts[number] for number in group) for group in groups]
    fewest = min((min(count.values()) for count in counts if len(count) > 1), default=0)
    if not fewest:
        return 0
    if kind == "collective-permute":
        return sent
    if kind == "all-to-all":
        size = max(map(len, groups))
        return sent * (size - fewest) // (size - 1)
    return sent // fewest
