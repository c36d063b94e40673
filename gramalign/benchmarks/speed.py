"""Seconds for loss and gradient: gramalign, the published code in torch, the bare products."""

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import jax
import numpy as np

from gramalign.benchmarks import device, patience, peer
from gramalign.benchmarks.peer import Peer
from gramalign.benchmarks.products import bare_products, operands
from gramalign.benchmarks.rounds import Failed, Timed, attempt, rounds
from gramalign.benchmarks.rows import Ours, Row, Theirs, mark_fastest, row
from gramalign.benchmarks.steps import made_up_for, place, step
from gramalign.benchmarks.workload import Way, Workload
from gramalign.programs.flops import matmul_flops
from gramalign.types import Say


def measure(
    workload: Workload,
    ways: Sequence[Way],
    *,
    repeats: int,
    threads: int,
    peer_limit: int | None,
    peer_seconds: int,
    say: Say,
) -> Iterator[list[Row]]:
    """Compares one workload's results, then times all its sides in turn.

    A side that fails says so in its row, and the others go on.

    Args:
        workload: what to run.
        ways: gramalign's ways to compute it, all on one number of devices.
        repeats: number of rounds.
        threads: for torch on a CPU; JAX keeps the number that it found when it started.
        peer_limit: largest batch to try the peer with; None: any.
        peer_seconds: longest call of the peer.
        say: called with progress messages.

    Yields:
        A row of figures (`gramalign.benchmarks.rows`) for every way called so far, and for all
        after each round.
    """

    def told(text: str) -> None:
        say(f"{workload}: {text}")

    def rows(theirs: Theirs) -> list[Row]:
        return mark_fastest([row(workload, way, each, theirs) for way, each in ours.items()])

    devices = ways[0].devices
    sides = attempt(lambda: _sides(workload, devices))
    if isinstance(sides, Failed):
        note = f"the embeddings alone: {sides.why}"
        yield [{**row(workload, way, sides, Theirs(note)), "fastest": False} for way in ways]
        return
    embeddings, placed = sides
    note = attempt(lambda: peer.why_not(workload, devices, peer_limit))
    note = note.why if isinstance(note, Failed) else note
    # The peer comes second: it may fail in a way that leaves a GPU unusable.
    ours: dict[Way, Ours | Failed] = {}
    for way in ways:
        ours[way] = attempt(lambda way=way: _ours(workload, way, placed, told, keep=note is None))
        yield rows(Theirs(note or "not run yet"))
    theirs = Theirs(note) if note else _theirs(workload, embeddings, threads, peer_seconds, told)
    done = [each for each in ours.values() if isinstance(each, Ours)]
    for each in done:
        if each.gradients is not None and theirs.gradients is not None:
            difference = peer.gradient_difference(each.gradients, theirs.gradients)
            each.gradient_difference = difference
        each.gradients = None
    timed = [each.timed for each in done] + [each.products for each in done if each.products]

    for _ in rounds([*timed, *theirs.timed.values()], repeats, told):
        yield rows(theirs)


def _sides(workload: Workload, devices: int) -> tuple[dict[str, np.ndarray], dict[str, jax.Array]]:
    shape = workload.batch, workload.modalities, workload.dim
    embeddings = made_up_for(workload.method, *shape)
    return embeddings, jax.block_until_ready(place(embeddings, workload.dtype, devices))


def _ours(
    workload: Workload, way: Way, embeddings: dict[str, jax.Array], say: Say, *, keep: bool
) -> Ours:
    """Compiles, and calls once; keeps the gradients if they will be compared."""
    say(f"{way}: compiling")
    traced = step(workload.method, way)
    compiled = traced.lower(embeddings).compile()
    analysis = compiled.memory_analysis()
    before = device.peak_bytes()
    start = time.perf_counter()
    loss, gradients = jax.block_until_ready(compiled(embeddings))
    first = time.perf_counter() - start
    peak = device.peak_bytes()
    kept = jax.device_get(gradients) if keep else None
    del gradients

    flops = matmul_flops(traced, embeddings)
    say(f"{way}: compiling the bare products")
    found = attempt(lambda: _floor(workload, way, embeddings, flops))
    if isinstance(found, Failed):
        say(f"{way}: no bare products, {found.why}")
        found = None, 0
    floor, product_flops = found
    return Ours(
        way,
        Timed(lambda: jax.block_until_ready(compiled(embeddings))),
        floor,
        loss=float(loss),
        first_seconds=first,
        gradients=kept,
        flops=flops,
        product_flops=product_flops,
        temporary_bytes=None if analysis is None else analysis.temp_size_in_bytes,
        # A peak never falls: if others had a higher one before, this one's is not known.
        device_peak_bytes=peak if peak is not None and peak > (before or 0) else None,
    )


def _floor(
    workload: Workload, way: Way, embeddings: dict[str, jax.Array], flops: int
) -> tuple[Timed | None, int]:
    """The bare products, called once, and their operations; none if most of a loss's are others."""
    factors = operands(workload.method, embeddings, way.devices)
    products = bare_products(workload.method, way)
    own = matmul_flops(products, *factors)
    if not factors[0] or 2 * own < flops:
        return None, 0
    floor = Timed(lambda: jax.block_until_ready(products(*factors)))
    floor.run()
    return floor, own


def _theirs(
    workload: Workload,
    embeddings: Mapping[str, np.ndarray],
    threads: int,
    limit: int,
    say: Say,
) -> Theirs:
    say("the peer's loss and gradient")
    where = peer.peer_device()
    # One thread can be faster: with LAPACK's small decompositions, and with all on a busy machine.
    counts = {1, threads} if where == "cpu" else {threads}

    def side(threads: int, size: int) -> Peer:
        some = {name: x[:size] for name, x in embeddings.items()}
        return Peer(workload.method, some, workload.dtype, threads, where)

    def first() -> Theirs:
        slow = f"a call of the peer takes, or would take, more than --peer-seconds {limit}"
        method, batch = workload.method, workload.batch
        peer.release(where)
        sides = {
            n: side(n, batch)
            for n in counts
            if patience.fits(lambda size, n=n: side(n, size).run(), method, batch, limit)
        }
        if not sides:
            return Theirs(slow)
        most = sides[max(sides)]
        start = time.perf_counter()
        loss, gradients = most.values()
        note = slow if time.perf_counter() - start > limit else None
        clean = partial(peer.release, where) if where == "cuda" else None
        timed = {n: Timed(each.run, clean) for n, each in sorted(sides.items()) if not note}
        return Theirs(note, loss, gradients, timed, most.peak_bytes())

    found = attempt(first)
    attempt(lambda: peer.release(where))  # a failure may have left the GPU unusable
    return Theirs(found.why) if isinstance(found, Failed) else found
