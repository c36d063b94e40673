"""The largest batch that the peer can run on a device, found in a process of its own.

    python -m gramalign.benchmarks.largest gram 4 512 bfloat16 cuda 60 1048576
                (method, modalities, dim, dtype, torch's device, seconds of a call, highest batch)

A process of its own, so that JAX holds no memory that the peer could use.
"""

import json
import os
import sys
from collections.abc import Iterator
from typing import Any, cast

from gramalign.benchmarks import patience
from gramalign.benchmarks.peer import Peer, release
from gramalign.benchmarks.process import Unfinished, in_new_process
from gramalign.benchmarks.rounds import Failed, Timed, attempt, in_turn
from gramalign.benchmarks.steps import made_up
from gramalign.benchmarks.workload import DType, Method

SMALLEST = 256
HIGHEST = 2**20
"""Where the doubling ends even if memory does not."""

Found = dict[str, Any]
NOTHING: Found = {"batch": None, "ended_at": None, "seconds": None, "peak_bytes": None}


def find(
    method: Method,
    modalities: int,
    dim: int,
    dtype: DType,
    device: str,
    limit: int,
    highest: int = HIGHEST,
) -> Iterator[Found]:
    """Doubles the batch until the peer fails, or a call would take over `limit` seconds.

    Yields:
        After every step, `batch`: the largest batch computed, None if even the smallest failed;
        `ended_at`: why the search ended, such as `out of memory`, the seconds, or the highest
        batch, None before the end; `seconds` and `peak_bytes` at the largest batch, before the end
        those of a first call.
    """

    def peer(batch: int) -> Peer:
        return Peer(method, made_up(batch, modalities, dim), dtype, os.cpu_count() or 1, device)

    def once(batch: int) -> float:
        return patience.seconds(peer(batch).run)

    found: Found = {**NOTHING}
    batch, ended = SMALLEST, "the largest batch allowed"
    attempt(lambda: once(SMALLEST))  # loads libraries
    while batch <= highest:
        taken = attempt(lambda batch=batch: once(batch))
        if isinstance(taken, Failed):
            ended = taken.why
            break
        release(device)
        found |= {"batch": batch, "seconds": taken}
        yield found
        batch *= 2
        if not patience.may_double(method, taken, limit):
            ended = f"more than {limit} s per call"
            break
    attempt(lambda: release(device))
    if found["batch"] is not None:
        last = attempt(lambda: peer(found["batch"]))
        if not isinstance(last, Failed):
            timed = Timed(last.run)
            in_turn([timed], 3, lambda text: None)
            if not timed.failed:
                found |= {"seconds": timed.median(), "peak_bytes": last.peak_bytes()}
    yield found | {"ended_at": ended}


def elsewhere(
    method: Method, modalities: int, dim: int, dtype: DType, device: str, limit: int, *rest: int
) -> Found:
    """The last result of `find`, in a process where JAX leaves the accelerator to torch.

    If that process fails or hangs, `ended_at` says so, and the rest is what it had found so far.
    """
    # Calls that double up to `limit` seconds, and three rounds of the longest.
    patient = 60 + 6 * limit
    words = method, modalities, dim, dtype, device, limit, *rest
    try:
        found = in_new_process("largest", *words, seconds=patient)
    except Unfinished as stopped:
        found = (stopped.last or NOTHING) | {"ended_at": str(stopped).splitlines()[-1]}
    return {"method": method, "dtype": dtype, **found}


def main(method: str, modalities: str, dim: str, dtype: str, device: str, *numbers: str) -> None:
    """Takes its arguments as words of the command line."""
    of = cast(Method, method), int(modalities), int(dim), cast(DType, dtype)
    for found in find(*of, device, *map(int, numbers)):
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
