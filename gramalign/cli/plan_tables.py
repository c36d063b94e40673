"""A plan as tables."""

from collections.abc import Iterator

from rich.table import Table

from gramalign.counted import counted
from gramalign.programs.chips import GB, TERA
from gramalign.programs.memory import OutOfMemory
from gramalign.training import Config
from gramalign.training.largest import Largest
from gramalign.training.plan import Plan


def amount(size: int) -> str:
    """Bytes, in the unit that suits them."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:.{2 if unit == 'GiB' else 1}f} {unit}"
    return f"{size} B"


def duration(seconds: float) -> str:
    """Seconds, in the unit that suits them."""
    for unit, factor in (("s", 1), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def operations(count: float) -> str:
    """Floating-point operations, in the unit that suits them."""
    for unit, factor in (("PFLOP", 1e15), ("TFLOP", 1e12), ("GFLOP", 1e9)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count / 1e6:.3g} MFLOP"


def title(config: Config, plan: Plan, topology: str) -> str:
    """What was compiled for what."""
    chip = plan.chip
    pieces = counted(plan.devices, chip.noun)
    if chip.parts > 1:
        pieces += f", {chip.parts} to a chip"
    return f"{config.objective} on {topology}, {pieces}, batch {plan.batch_size}"


def memory_table(plan: Plan, available: int) -> Table:
    """What each device holds."""
    memory = plan.memory
    table = _table("memory", f"per {plan.chip.noun}", "share")
    for name, size in (
        ("parameters, optimiser, batch", memory.arguments),
        ("results", memory.results),
        ("temporary", memory.temporary),
        ("program", memory.program),
    ):
        table.add_row(name, amount(size), f"{size / available:.1%}")
    table.add_section()
    table.add_row("all", amount(memory.total), f"{memory.total / available:.1%}", style="bold")
    table.add_row("available", amount(available), "")
    return table


def work_table(plan: Plan) -> Table:
    """What each device computes, moves and sends in a step, and how long that takes at least."""
    gpu = plan.chip.noun == "GPU"
    seconds = "at peak" if gpu else "at least"
    table = _table(f"per logged step and {plan.chip.noun}", "runs", "work", seconds, "")
    table.add_row("matrix products", "", operations(plan.flops / plan.devices), "", "")
    table.add_row(
        "  as long as in bfloat16" if gpu else "  in bfloat16",
        "",
        operations(plan.bfloat16_flops / plan.devices),
        duration(plan.compute),
        "",
    )
    table.add_row(
        "memory traffic" + (", less what the cache holds" if gpu else ""),
        "",
        ("" if plan.traffic.exact else ">= ") + amount(plan.traffic.moved),
        duration(plan.moving),
        "outlasts products" if plan.moving > plan.compute else "",
    )
    table.add_section()
    for each in plan.collectives:
        table.add_row(
            each.kind + (", between hosts" if each.leaving else ""),
            ("" if each.exact else ">= ") + f"{each.count}",
            amount(each.sent),
            duration(plan.seconds(each)),
            "overlaps" if each.asynchronous else "waits",
        )
    if not plan.collectives:
        table.add_row("no communication", "", "", "", "")
    return table


def verdict(plan: Plan) -> str:
    """Whether communication hides behind what else there is to do, and what that rests on."""
    hideable, rest = plan.communication
    if not plan.collectives:
        text = "nothing to communicate"
    elif hideable > plan.busy:
        text = f"communication outlasts compute by at least {duration(plan.exposed)} a step"
    elif rest:
        text = f"at least {duration(rest)} of communication keep compute waiting; the rest can hide"
    else:
        text = "communication can hide behind compute"
    chip = plan.chip
    compute = f"{chip.flops / TERA:.0f} TFLOP/s, {chip.memory_bandwidth / GB:.0f} GB/s of memory"
    link = f"{chip.link_bandwidth / GB:.0f} GB/s"
    links = "a link" if chip.links == 1 else f"{chip.links} links"
    peaks = f"{chip.name}: {compute}, {links} of {link}"
    if chip.network_bandwidth is not None and any(each.leaving for each in plan.collectives):
        peaks += f", a network card of {chip.network_bandwidth / GB:.0f} GB/s"
    gpu = chip.noun == "GPU"
    basis = f"{'rings' if gpu else 'lower bounds'} from published peaks, not measured"
    if plan.collectives and not gpu:
        basis += "; a chip of a small slice has fewer links"
    return f"{text}\n{basis}\n{peaks}"


def refused_table(
    refused: OutOfMemory, config: Config, topology: str, parts: int, available: int
) -> Table:
    """A step whose batch, in so many parts, does not fit: what it needs and has, what to try."""
    table = _table("out of memory", "")
    table.columns[1].justify = "left"
    size = config.batch_size
    needed = "more than that" if refused.needed is None else f"at least {amount(refused.needed)}"
    table.add_row("batch", f"{size} on {topology}, {size // parts} each")
    table.add_row("available on each", amount(available))
    table.add_row("needed on each", needed)
    table.add_section()
    for number, cure in enumerate(_cures(config, parts)):
        table.add_row("try" if number == 0 else "", cure)
    if refused.needed is None:
        table.add_row("the compiler says", str(refused).splitlines()[0])
    return table


def _cures(config: Config, parts: int) -> Iterator[str]:
    if not config.model.remat:
        yield "--model.remat: one array per layer is then kept for the backward pass"
    if part := _part(config.microbatch or config.batch_size, parts):
        yield f"--microbatch {part}: towers then hold that many examples at a time"
    if config.engine.strategy == "gather" and parts * config.layout.model > 1:
        yield "--engine.strategy ring: no device then holds all columns"
    yield "a smaller --batch-size"
    yield "a --topology of more chips"


def _part(size: int, parts: int) -> int | None:
    """A half, a quarter, ... of a batch that devices can share: at most 1024, if there is one.

    >>> _part(65536, 16), _part(512, 64), _part(64, 64), _part(96, 64)
    (1024, 256, None, None)
    """
    found = None
    while size % (2 * parts) == 0 and (found is None or size > 1024):
        size = found = size // 2
    return found


def largest_line(found: Largest, available: int) -> str:
    """The largest batch that fits, and how sure that is."""
    if not found.batch_size:
        return f"largest batch: none of those tried fits, down to {found.refused}"
    needed = f"{amount(found.needed)} of {amount(available)}"
    text = f"largest batch: {found.batch_size} fits, with {needed}"
    if found.refused:
        return f"{text}; {found.refused} does not"
    return f"{text}; {'no larger one was tried' if found.capped else 'a larger one may'}"


def _table(first: str, *rest: str) -> Table:
    table = Table(first, box=None, header_style="bold", padding=(0, 2, 0, 0))
    for name in rest:
        table.add_column(name, justify="right")
    return table
