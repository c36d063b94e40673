"""How much memory a program takes, and whether a device has that much, before anything runs.

The compiler lays out all memory itself. A TPU's compiler rejects what does not fit. A GPU's does
not check: there JAX reserves a part of the memory, and this module rejects what exceeds that part.
"""

import os
import re
import warnings
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from gramalign.programs.chips import chip_of

# Each device of a slice would have to hold 4 TiB.
_TOO_MUCH = 2**42
# The second is the older name.
_FRACTION = ("XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION")
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = r"([\d.]+)([KMGT]?)"
_MESSAGES = (
    re.compile(rf"required [^(]*\({_SIZE}\) exceeds available HBM \({_SIZE}\)"),
    re.compile(rf"Used {_SIZE} of {_SIZE} hbm"),
)


class OutOfMemory(RuntimeError):
    """A program needs more memory than a device has.

    Attributes:
        needed: bytes that it needs on a device; None if the compiler does not say.
        available: bytes that a device has; None if the compiler does not say.
    """

    def __init__(self, message: str, needed: int | None = None, available: int | None = None):
        super().__init__(message)
        found = next(filter(None, (x.search(message) for x in _MESSAGES)), None)
        self.needed = _bytes(*found.groups()[:2]) if found else needed
        self.available = _bytes(*found.groups()[2:]) if found else available


@dataclass(frozen=True)
class Memory:
    """Bytes that a program takes on each device."""

    arguments: int
    """Its arguments, and results that reuse their memory."""
    results: int
    """Results with memory of their own."""
    temporary: int
    """What it needs while it runs."""
    program: int
    """Its code."""

    @property
    def total(self) -> int:
        """All together."""
        return self.arguments + self.results + self.temporary + self.program


def compiled(lowered: jax.stages.Lowered, mesh: Mesh) -> tuple[jax.stages.Compiled, Memory]:
    """Compiles, and returns the memory that the program takes on each device of a mesh.

    Raises:
        OutOfMemory: the program needs more memory than a device has.
        ValueError: one of its kernels needs more memory than a core has inside.
    """
    try:
        with warnings.catch_warnings():
            # JAX may cache the program, but can't load from the cache what this machine can't run.
            warnings.filterwarnings("ignore", "Error reading persistent compilation cache")
            program = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        refused = OutOfMemory(str(error))
        if refused.needed is None and "vmem" in str(error).lower():
            raise ValueError(
                "a kernel needs more than the memory inside a core: lower --engine.tile, or leave "
                f"--engine.implementation at xla ({str(error).splitlines()[0]})"
            ) from None
        raise refused from None
    taken, limit = memory(program), _shared_out(mesh)
    if limit is not None and taken.total > limit:
        raise OutOfMemory(f"needs {taken.total} bytes of {limit}", taken.total, limit)
    return program, taken


def memory(program: jax.stages.Compiled) -> Memory:
    """The memory that a compiled program takes.

    Raises:
        ValueError: for a compiler that does not report it.
    """
    found = program.memory_analysis()
    if found is None:
        raise ValueError("this compiler does not say how much memory a program takes")
    return Memory(
        arguments=found.argument_size_in_bytes,
        results=found.output_size_in_bytes - found.alias_size_in_bytes,
        temporary=found.temp_size_in_bytes,
        program=found.generated_code_size_in_bytes,
    )


def available(mesh: Mesh) -> int | None:
    """Bytes available to a program on each device: nearly all of a TPU's, part of a GPU's.

    None for other devices, whose compilers refuse nothing.

    Raises:
        ValueError: for a GPU without published figures, or a fraction of its memory that is 0 or
            less.
    """
    limit = _shared_out(mesh)
    return _told_by_refusal(mesh) if limit is None else limit


def _shared_out(mesh: Mesh) -> int | None:
    """The part of a GPU's memory that JAX reserves for arrays; None for other devices.

    Three quarters, or what XLA_CLIENT_MEM_FRACTION says.
    """
    devices = mesh.devices.ravel().tolist()
    if devices[0].platform != "gpu":
        return None
    fraction = float(next(filter(None, map(os.environ.get, _FRACTION)), "0.75"))
    if fraction <= 0:
        raise ValueError(f"{_FRACTION[0]} is {fraction}, expected more than 0")
    return int(fraction * chip_of(devices).memory)


def _told_by_refusal(mesh: Mesh) -> int | None:
    """What a TPU's compiler reports as available when given more than any device can hold."""
    split = jax.NamedSharding(mesh, jax.P(mesh.axis_names))
    shape = (mesh.size * 2**20, _TOO_MUCH // 2**22)
    much = jax.ShapeDtypeStruct(shape, jnp.float32, sharding=split)
    try:
        compiled(jax.jit(lambda x: x + 1).lower(much), mesh)
    except OutOfMemory as refused:
        return refused.available
    return None


def _bytes(number: str, unit: str) -> int:
    return int(float(number) * _UNITS[unit])
