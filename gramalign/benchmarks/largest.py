"""The largest batch that the peer can hold on a device, in a process of its own.

    python -m gramalign.benchmarks.largest gram 4 512 bfloat16 cuda 60 1048576
                (method, modalities, dim, dtype, torch's device, seconds of a call, highest batch)

Of its own, so that no memory of JAX's stands in the peer's way.
"""

import json
import os
import sys
from typing import Any, cast

from gramalign.benchmarks import patience
from gramalign.benchmarks.peer import Peer, release
from gramalign.benchmarks.process import in_new_process
from gramalign.benchmarks.rounds import Timed, in_turn, within_memory
from gramalign.benchmarks.steps import made_up
from gramalign.benchmarks.workload import DType, Method

SMALLEST = 256
HIGHEST = 2**20
"""Where the doubling ends even if memory does not."""


def find(
    method: Method,
    modalities: int,
    dim: int,
    dtype: DType,
    device: str,
    limit: int,
    highest: int = HIGHEST,
) -> dict[str, Any]:
    """Doubles the batch until the peer runs out of memory, or a call would take over `limit` s.

    Returns:
        `batch`: the largest that it computed; `ended_at`: `out of memory`, the seconds, or the
        highest batch; `seconds` and `peak_bytes` at the largest. None where not even the
        smallest fits.
    """

    def peer(batch: int) -> Peer:
        return Peer(method, made_up(batch, modalities, dim), dtype, os.cpu_count() or 1, device)

    def once(batch: int) -> float:
        return patience.seconds(peer(batch).run)

    largest, batch, ended = None, SMALLEST, "the highest batch"
    within_memory(lambda: once(SMALLEST))  # loads libraries
    while batch <= highest:
        taken = within_memory(lambda batch=batch: once(batch))
        if taken is None:
            ended = "out of memory"
            break
        release(device)
        largest, batch = batch, 2 * batch
        if not patience.may_double(method, taken, limit):
            ended = f"more than {limit} s a call"
            break
    release(device)
    found: dict[str, Any] = {
        "batch": largest,
        "ended_at": ended,
        "seconds": None,
        "peak_bytes": None,
    }
    if largest is not None:
        last = peer(largest)
        timed = Timed(last.run)
        in_turn([timed], 3, lambda text: None)
        if not timed.full:
            found |= {"seconds": timed.median(), "peak_bytes": last.peak_bytes()}
    return found


def elsewhere(
    method: Method, modalities: int, dim: int, dtype: DType, *rest: str | int
) -> dict[str, Any]:
    """`find`, whose arguments it takes, in a process where JAX leaves the accelerator to torch.

    Raises:
        ChildProcessError: if it failed for another reason than memory.
    """
    found = in_new_process("largest", method, modalities, dim, dtype, *rest)
    return {"method": method, "dtype": dtype, **found}


def main(method: str, modalities: str, dim: str, dtype: str, device: str, *numbers: str) -> None:
    """The arguments as words of the command line."""
    of = cast(Method, method), int(modalities), int(dim), cast(DType, dtype)
    print(json.dumps(find(*of, device, *map(int, numbers))))


if __name__ == "__main__":
    main(*sys.argv[1:])
