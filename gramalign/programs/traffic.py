"""What a compiled program reads from a device's main memory and writes to it.

Every instruction that is not inside a fusion reads its operands and writes its results, each once,
as often as the loops around it run. If an array is only sliced, only the slices count; if it is
updated in place, only the update. What a TPU's compiler has placed inside the core does not count,
so this is a lower bound of a TPU's traffic. A GPU's compiler places nothing: the figure is what the
kernels move, and whatever the GPU's cache still holds of that does not come from its memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass

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

_NOTHING = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"),
    *("opt-barrier", "partition-id", "replica-id"),
}
_SLICES = ("dynamic-slice", "slice", "gather")
# The index of the operand that is put into the first one.
_IN_PLACE = {"dynamic-update-slice": 1, "scatter": 2}
_SAME = ("bitcast", "reshape")


@dataclass(frozen=True)
class Traffic:
    """What each device moves."""

    moved: int
    """Bytes read and written."""
    exact: bool = True
    """False if some are moved in a loop of unknown length, which counts as running once."""


def traffic(text: str) -> Traffic:
    """What each device moves from and to its main memory in one run of a compiled program.

    Of a conditional, the branch that moves more counts.

    Args:
        text: from `compiled.as_text()`.

    Raises:
        ValueError: for a text that is not a program.
    """
    program = parse(text)
    return _of_all(program, program.computations[program.entry], None)


def _of_all(program: Program, computation: Computation, known: Known | None) -> Traffic:
    parts = [_of(program, computation, x, known) for x in computation.instructions.values()]
    return Traffic(sum(part.moved for part in parts), all(part.exact for part in parts))


def _of(
    program: Program, computation: Computation, instruction: Instruction, known: Known | None
) -> Traffic:
    opcode = instruction.opcode
    if opcode == "while":
        times, inside = trips(program, computation, instruction, known)
        once = _of_all(program, program.called(instruction), inside)
        if times is None:
            return Traffic(once.moved, exact=not once.moved)
        return Traffic(times * once.moved, once.exact)
    if opcode == "conditional":
        branches = map(program.computations.__getitem__, instruction.branches)
        found = [_of_all(program, branch, None) for branch in branches]
        return max(found, key=lambda branch: branch.moved)
    if opcode in ("call", "async-start"):
        return _of_all(program, program.called(instruction), None)
    if opcode in _NOTHING or opcode.endswith(("-done", "-update")) or _allocates(instruction):
        return Traffic(0)
    if opcode == "fusion" and program.called(instruction).ends:
        return Traffic(0)
    read = 0
    for name in set(instruction.operands):
        there = array_bytes(computation.instructions[name].shape, only_main=True)
        read += min(there, _read(program, computation, instruction, name))
    return Traffic(read + _written(program, computation, instruction))


def _read(program: Program, computation: Computation, instruction: Instruction, name: str) -> int:
    """Bytes that an instruction reads of one of its operands, in any memory."""
    places = [place for place, operand in enumerate(instruction.operands) if operand == name]
    if instruction.opcode == "fusion":
        inside = program.called(instruction)
        return sum(
            sum(_read_inside(program, inside, parameter))
            for parameter, x in inside.instructions.items()
            if x.opcode == "parameter" and int(x.argument) in places
        )
    if instruction.opcode in _IN_PLACE and places == [0]:
        return 0
    if instruction.opcode.removesuffix("-start") in _SLICES and places == [0]:
        return array_bytes(instruction.result)
    return array_bytes(computation.instructions[name].shape)


def _read_inside(program: Program, computation: Computation, name: str) -> Iterator[int]:
    """The same for every use that a fusion makes of a parameter, which reads no more than all."""
    for user, instruction in computation.instructions.items():
        if name in instruction.operands and user not in computation.continued:
            if instruction.opcode in _SAME:
                yield from _read_inside(program, computation, user)
            elif instruction.opcode != "tuple":  # there it is only passed on
                yield _read(program, computation, instruction, name)


def _written(program: Program, computation: Computation, instruction: Instruction) -> int:
    """Bytes of main memory that an instruction writes."""
    shapes = [instruction.result]
    sources = [(computation, instruction)]
    if instruction.opcode == "fusion":
        inside = program.called(instruction)
        names = [inside.root]
        if inside.result.opcode == "tuple":
            shapes, names = elements(instruction.result), inside.result.operands
        sources = [(inside, inside.instructions[name]) for name in names]
        shapes = [
            "" if name in inside.continued or source.opcode == "parameter" else shape
            for name, shape, (_, source) in zip(names, shapes, sources, strict=True)
        ]
    elif 'custom_call_target="__cublas' in instruction.attributes:
        shapes = elements(instruction.result)[:1]  # the other is a workspace
    return sum(
        min(array_bytes(shape, only_main=True), _put(program, *source))
        for shape, source in zip(shapes, sources, strict=True)
    )


def _put(program: Program, computation: Computation, instruction: Instruction) -> int:
    """Bytes written for an instruction's result."""
    if instruction.opcode in _IN_PLACE:
        update = instruction.operands[_IN_PLACE[instruction.opcode]]
        return array_bytes(computation.instructions[update].shape)
    if instruction.opcode in _SAME:
        return _put(program, computation, computation.instructions[instruction.operands[0]])
    if instruction.opcode == "fusion":
        inside = program.called(instruction)
        return _put(program, inside, inside.result)
    return array_bytes(instruction.result)


def _allocates(instruction: Instruction) -> bool:
    return 'custom_call_target="AllocateBuffer"' in instruction.attributes
