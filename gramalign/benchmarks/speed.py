"""Seconds for loss and gradient: gramalign, the published way in torch, and the bare products."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import jax
import numpy as np

from gramalign.benchmarks import device, patience, peer
from gramalign.benchmarks.peer import Peer
from gramalign.benchmarks.products import bare_products, operands
from gramalign.benchmarks.rounds import Timed, in_turn, within_memory
from gramalign.benchmarks.rows import OUT_OF_MEMORY, Ours, Row, Theirs, mark_fastest, row
from gramalign.benchmarks.steps import made_up_for, place, step
from gramalign.benchmarks.workload import Way, Workload
from gramalign.programs.flops import matmul_flops

# The small decompositions of LAPACK can run faster on one thread, on a busy machine by far. The
# peer is then timed both ways, and the faster one counts.
_ALSO_THREADS = {"pmrl": {1}}

Say = Callable[[str], None]


def measure(
    workload: Workload,
    ways: Sequence[Way],
    *,
    repeats: int,
    threads: int,
    peer_limit: int | None,
    peer_seconds: int,
    say: Say,
) -> list[Row]:
    """Compares one workload's results, then times all its sides in turn.

    Args:
        workload: what to run.
        ways: of gramalign's to go about it, on one number of devices.
        repeats: number of rounds.
        threads: for torch on a CPU; JAX takes those that it found when it started.
        peer_limit: largest batch to try the peer with; None: any.
        peer_seconds: longest call of the peer.
        say: is told what happens.

    Returns:
        A row of figures for every way (`gramalign.benchmarks.rows`).
    """

    def told(text: str) -> None:
        say(f"{workload}: {text}")

    devices = ways[0].devices
    sides = within_memory(lambda: _sides(workload, devices))
    if sides is None:
        note = "the embeddings alone are out of memory"
        return [{**row(workload, way, None, Theirs(note)), "fastest": False} for way in ways]
    embeddings, placed = sides
    note = peer.why_not(workload, devices, peer_limit)
    theirs = Theirs(note) if note else _theirs(workload, embeddings, threads, peer_seconds, told)
    ours = {
        way: within_memory(lambda way=way: _ours(workload, way, placed, theirs.gradients, told))
        for way in ways
    }
    done = [each for each in ours.values() if each is not None]
    timed = [each.timed for each in done] + [each.products for each in done if each.products]
    in_turn([*timed, *theirs.timed.values()], repeats, told)
    return mark_fastest([row(workload, way, each, theirs) for way, each in ours.items()])


def _sides(workload: Workload, devices: int) -> tuple[dict[str, np.ndarray], dict[str, jax.Array]]:
    shape = workload.batch, workload.modalities, workload.dim
    embeddings = made_up_for(workload.method, *shape)
    return embeddings, jax.block_until_ready(place(embeddings, workload.dtype, devices))


def _ours(
    workload: Workload,
    way: Way,
    embeddings: dict[str, jax.Array],
    peer_gradients: list[np.ndarray] | None,
    say: Say,
) -> Ours:
    say(f"{way}: compiling")
    traced = step(workload.method, way)
    compiled = traced.lower(embeddings).compile()
    analysis = compiled.memory_analysis()
    before = device.peak_bytes()
    loss, gradients = jax.block_until_ready(compiled(embeddings))
    peak = device.peak_bytes()
    difference = None
    if peer_gradients is not None:
        difference = peer.gradient_difference(gradients, peer_gradients)
    del gradients

    say(f"{way}: compiling the bare products")
    factors = operands(workload.method, embeddings, way.devices)
    products = bare_products(workload.method, way)
    floor = Timed(lambda: jax.block_until_ready(products(*factors))) if factors[0] else None
    if floor is not None:
        floor.full = within_memory(floor.run) is None
    return Ours(
        way,
        Timed(lambda: jax.block_until_ready(compiled(embeddings))),
        floor,
        loss=float(loss),
        gradient_difference=difference,
        flops=matmul_flops(traced, embeddings),
        product_flops=matmul_flops(products, *factors),
        temporary_bytes=None if analysis is None else analysis.temp_size_in_bytes,
        # A peak never falls: where others had more before, this one's is not known.
        device_peak_bytes=peak if peak is not None and peak > (before or 0) else None,
    )


def _theirs(
    workload: Workload,
    embeddings: Mapping[str, np.ndarray],
    threads: int,
    limit: int,
    say: Say,
) -> Theirs:
    say("the peer's loss and gradient")
    where = peer.peer_device()
    peer.release(where)
    counts = {threads} | _ALSO_THREADS.get(workload.method, set()) if where == "cpu" else {threads}

    def side(threads: int, size: int) -> Peer:
        some = {name: x[:size] for name, x in embeddings.items()}
        return Peer(workload.method, some, workload.dtype, threads, where)

    def first() -> Theirs:
        slow = f"a call of the peer takes, or would, more than --peer-seconds {limit}"
        method, batch = workload.method, workload.batch
        if not patience.fits(lambda size: side(threads, size).run(), method, batch, limit):
            return Theirs(slow)
        sides = {n: side(n, batch) for n in counts}
        start = time.perf_counter()
        loss, gradients = sides[threads].values()
        note = slow if time.perf_counter() - start > limit else None
        clean = partial(peer.release, where)
        timed = {n: Timed(each.run, clean) for n, each in sorted(sides.items()) if not note}
        return Theirs(note, loss, gradients, timed, sides[threads].peak_bytes())

    found = within_memory(first) or Theirs(OUT_OF_MEMORY)
    peer.release(where)
    return found
