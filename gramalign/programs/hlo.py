"""Parses the text of a compiled program: its computations, which they call, and how often.

XLA prints a program as computations, each a list of instructions; loops, branches and fusions name
the computations that they call:

    %body (p: (s32[], f32[8])) -> (s32[], f32[8]) {
      %p = (s32[], f32[8]{0}) parameter(0)
      %x = f32[8]{0} get-tuple-element(%p), index=1
      ...
      ROOT %next = (s32[], f32[8]{0}) tuple(%count, %y)
    }
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod

_HEAD = re.compile(r"(ENTRY )?%?([\w.\-]+) .*\{$")
_NAMED = re.compile(r"\s+(ROOT )?%?([\w.\-]+) = (.*)$")
_OPCODE = re.compile(r"\s*([a-z][\w\-]*)\(")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\](\{[^}]*\})?")
_ELSEWHERE = re.compile(r"S\([1-9]\d*\)")
_PASSED_ON = ("copy", "copy-start", "copy-done", "bitcast", "reshape", "convert")


@dataclass(frozen=True)
class Instruction:
    """One line of a computation."""

    shape: str
    """The result's shape, such as `f32[8,2]{1,0}`, or a tuple of shapes."""
    opcode: str
    argument: str
    """The text between the parentheses."""
    attributes: str
    """The text behind them."""

    @property
    def operands(self) -> list[str]:
        """Names of its operands, instructions of the same computation."""
        return re.findall(r"%([\w.\-]+)", self.argument)

    @property
    def result(self) -> str:
        """Shape of the result, even if the instruction only starts the operation."""
        shape, opcode = self.shape, self.opcode
        if opcode == "copy-start":  # (result, operand, ...)
            return elements(shape)[0]
        # Others are (operands, result, ...), except for an all-reduce before jax 0.12.
        if opcode.endswith("-start") and (opcode != "all-reduce-start" or shape.startswith("((")):
            return elements(shape)[1]
        return shape

    def attribute(self, name: str) -> str | None:
        """The name or number in the attribute `name=...`."""
        found = re.search(rf"\b{name}=%?([\w.\-]+)", self.attributes)
        return found and found[1]

    @property
    def branches(self) -> list[str]:
        """Names of the computations that a `conditional` chooses from."""
        listed = re.search(r"branch_computations=\{([^}]*)\}", self.attributes)
        if listed:
            return re.findall(r"[\w.\-]+", listed[1])
        names = (self.attribute(f"{which}_computation") for which in ("true", "false"))
        return [name for name in names if name]


@dataclass(frozen=True)
class Computation:
    """Instructions by their names, and the one whose result is returned."""

    instructions: Mapping[str, Instruction]
    root: str

    @property
    def result(self) -> Instruction:
        """The instruction whose result is returned."""
        return self.instructions[self.root]

    @cached_property
    def starts(self) -> bool:
        """Whether it is a fusion that starts a collective, and computes meanwhile."""
        return any("AsyncCollectiveStart" in x.attributes for x in self.instructions.values())

    @property
    def ends(self) -> bool:
        """Whether it is a fusion that only waits for a collective."""
        return "AsyncCollectiveDone" in self.result.attributes

    @cached_property
    def continued(self) -> frozenset[str]:
        """The collectives that other fusions started, and this one goes on with.

        A TPU's compiler cuts a collective into pieces and puts them into the fusions that compute
        meanwhile. Each repeats the whole collective, with the number of its chain.
        """
        chained = (name for name, x in self.instructions.items() if "chain_id=" in x.attributes)
        return frozenset(() if self.starts else chained)


@dataclass(frozen=True)
class Program:
    """All computations by their names."""

    computations: Mapping[str, Computation]
    entry: str
    """Where it starts."""
    devices: int
    """How many run it together."""

    def called(self, instruction: Instruction) -> Computation:
        """The computation that a fusion, a call or the start of one runs; for a loop, its body."""
        names = map(instruction.attribute, ("calls", "to_apply", "body"))
        return self.computations[next(filter(None, names), "")]


def parse(text: str) -> Program:
    """Parses a program's text.

    Args:
        text: from `compiled.as_text()`.

    Raises:
        ValueError: if no computation is marked as the entry.
    """
    computations: dict[str, Computation] = {}
    entry, name, root, inside = None, "", "", None
    for line in text.splitlines():
        if inside is None:
            head = _HEAD.match(line)
            if head:
                name, inside = head[2], {}
                entry = name if head[1] else entry
        elif line.startswith("}"):
            computations[name] = Computation(inside, root)
            inside = None
        elif named := _NAMED.match(line):
            inside[named[2]] = _instruction(named[3])
            root = named[2] if named[1] else root
    if entry is None:
        raise ValueError("this is not the text of a program: no computation in it is marked ENTRY")
    header = text[: text.index("\n")]
    counts = re.findall(r"\b(?:num_partitions|replica_count)=(\d+)", header)
    return Program(computations, entry, prod(int(count) for count in counts))


def array_bytes(shape: str, *, only_main: bool = False) -> int:
    """Bytes of an array with this shape, or of all arrays of a tuple.

    Args:
        shape: as written in an instruction.
        only_main: leave out arrays whose layout places them outside the device's main memory, such
            as inside a TPU's core.

    >>> array_bytes("(f32[8,2]{1,0:T(8,128)}, pred[3]{0:S(1)}, u32[])")
    71
    >>> array_bytes("(f32[8,2]{1,0:T(8,128)}, pred[3]{0:S(1)}, u32[])", only_main=True)
    68
    """
    total = 0
    for dtype, sizes, layout in _ARRAY.findall(shape):
        if only_main and _ELSEWHERE.search(layout):
            continue
        bits = 8 if dtype == "pred" else int((re.search(r"\d+", dtype) or "0")[0])
        total += prod(int(size) for size in sizes.split(",") if size) * bits // 8
    return total


def elements(shape: str) -> list[str]:
    """The shapes in a tuple; a nested tuple stays one.

    >>> elements("((f32[8]{0}, f32[2]{0}), f32[4]{0:T(128)})")
    ['(f32[8]{0}, f32[2]{0})', 'f32[4]{0:T(128)}']
    """
    depth, start, found = 0, 1, []
    for place, letter in enumerate(shape):
        depth += (letter in "({[") - (letter in ")}]")
        if (depth == 1 and letter == ",") or depth == 0:
            found.append(shape[start:place].strip())
            start = place + 1
    return found


def _instruction(text: str) -> Instruction:
    # A tuple's shape is in parentheses; elsewhere it ends at the first space.
    end = _closing(text, 0) + 1 if text.startswith("(") else text.index(" ")
    opcode = _OPCODE.match(text, end)
    if opcode is None:
        return Instruction(text[:end], "", "", text[end:])
    close = _closing(text, opcode.end() - 1)
    return Instruction(text[:end], opcode[1], text[opcode.end() : close], text[close + 1 :])


def _closing(text: str, start: int) -> int:
    """The place of the parenthesis that closes the one at `start`."""
    depth = 0
    for place in range(start, len(text)):
        depth += (text[place] == "(") - (text[place] == ")")
        if depth == 0:
            return place
    return len(text)


Known = Callable[[int], int | None]
"""The value of one element of the tuple that a computation is called with, if constant."""


def constant(computation: Computation, name: str, known: Known | None = None) -> int | None:
    """The integer that an instruction yields, if it is a constant or a copy of one."""
    found = computation.instructions.get(name)
    if found is None:
        return None
    if found.opcode == "constant":
        return int(found.argument) if re.fullmatch(r"-?\d+", found.argument) else None
    if found.opcode in _PASSED_ON:
        return constant(computation, found.operands[0], known)
    place = _element_of_parameter(computation, name)
    return None if place is None or known is None else known(place)


def trips(
    program: Program, caller: Computation, loop: Instruction, known: Known | None = None
) -> tuple[int | None, Known]:
    """How often a `while` loop runs its body.

    Some compilers state it. Otherwise it is inferred from the loop itself: a counter that starts at
    a constant, grows by a constant and is compared with a constant.

    Args:
        program: the program that contains the loop.
        caller: the computation that contains the loop.
        loop: the loop.
        known: constants that the caller was called with.

    Returns:
        The number, or None if it is unknown; and the constants that the body is called with.
    """
    condition, body = (program.computations[loop.attribute(x) or ""] for x in ("condition", "body"))
    start = caller.instructions[loop.operands[0]]

    def initial(place: int) -> int | None:
        if start.opcode != "tuple":
            return None
        return constant(caller, start.operands[place], known)

    def invariant(place: int) -> int | None:
        if body.result.opcode != "tuple":
            return None
        stays = _element_of_parameter(body, body.result.operands[place]) == place
        return initial(place) if stays else None

    stated = _TRIPS.search(loop.attributes)
    if stated:
        return int(stated[1]), invariant
    test = condition.result
    if test.opcode != "compare" or test.attribute("direction") != "LT":
        return None, invariant
    counter = _element_of_parameter(condition, test.operands[0])
    if counter is None or body.result.opcode != "tuple":
        return None, invariant
    add = body.instructions[body.result.operands[counter]]
    if add.opcode != "add" or _element_of_parameter(body, add.operands[0]) != counter:
        return None, invariant
    first, end = initial(counter), constant(condition, test.operands[1], invariant)
    step = constant(body, add.operands[1], invariant)
    if first is None or end is None or not step:
        return None, invariant
    return max(0, -((first - end) // step)), invariant


def _element_of_parameter(computation: Computation, name: str) -> int | None:
    """The index of the parameter's element that an instruction yields, copied or not."""
    found = computation.instructions[name]
    if found.opcode in _PASSED_ON:
        return _element_of_parameter(computation, found.operands[0])
    if found.opcode != "get-tuple-element":
        return None
    source = computation.instructions[found.operands[0]]
    return int(found.attribute("index") or 0) if source.opcode == "parameter" else None
