"""Seconds for loss and gradient: gramalign, the published way in torch, and the bare products."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import jax
import numpy as np

from .bench_steps import bare_products, made_up, step

LOSS_TOLERANCE = 1e-4
"""Largest relative difference between two losses that count as the same."""

_ALSO_THREADS = {"gram": set(), "pmrl": {1}}
"""The small decompositions of LAPACK can run faster on one thread, on a busy machine by far. The
peer is timed both ways, and the faster one counts."""

_FILL = 0.2  # seconds that the calls of one round last, if one call is shorter
_PAUSE = 0.05  # seconds after which the threads of the side that ran before have gone to sleep


def torch_is_there() -> bool:
    return find_spec("torch") is not None


@dataclass(frozen=True)
class Workload:
    """One row of the table."""

    objective: str
    batch: int
    modalities: int = 4
    dim: int = 512
    peer: bool = True


@dataclass
class Timing:
    """What was measured for one workload; None where there was nothing to measure."""

    workload: Workload
    loss: float = float("nan")
    seconds: list[float] = field(default_factory=list)
    """Of each round, for loss and gradient in gramalign."""
    peer_loss: float | None = None
    loss_difference: float | None = None
    """Relative."""
    gradient_difference: float | None = None
    """Largest, relative to the gradients' largest entry."""
    peer_seconds: dict[int, list[float]] = field(default_factory=dict)
    """Of each round, by the number of torch's threads."""
    product_seconds: list[float] = field(default_factory=list)

    @property
    def agree(self) -> bool | None:
        """Whether both sides computed the same loss."""
        return None if self.loss_difference is None else self.loss_difference <= LOSS_TOLERANCE

    def record(self) -> dict[str, Any]:
        """All figures, as the JSON file and the table have them."""
        median = statistics.median(self.seconds)
        products = statistics.median(self.product_seconds) if self.product_seconds else None
        peers = [(statistics.median(rounds), n) for n, rounds in self.peer_seconds.items()]
        peer, peer_threads = min(peers, default=(None, None))
        return {
            "objective": self.workload.objective,
            "batch": self.workload.batch,
            "modalities": self.workload.modalities,
            "dim": self.workload.dim,
            "seconds": median,
            "peer_seconds": peer,
            "peer_threads": peer_threads,
            "speedup": None if peer is None else peer / median,
            "speedup_by_peer_threads": {threads: seconds / median for seconds, threads in peers},
            "product_seconds": products,
            "times_products": None if products is None else median / products,
            "agree": self.agree,
            "loss": self.loss,
            "peer_loss": self.peer_loss,
            "loss_difference": self.loss_difference,
            "gradient_difference": self.gradient_difference,
            "rounds": {
                "seconds": self.seconds,
                "peer_seconds": self.peer_seconds,
                "product_seconds": self.product_seconds,
            },
        }


def measure(workload: Workload, repeats: int, threads: int, say: Callable[[str], None]) -> Timing:
    """Compares one workload's results, then times its sides in turn.

    Every round runs every side once, so that whatever else the machine does meets all of them.

    Args:
        workload: what to run.
        repeats: number of rounds.
        threads: for torch; JAX takes those that it found when it started. A peer that may be faster
            on fewer is timed both ways.
        say: is told what happens.
    """
    title = f"{workload.objective}, B = {workload.batch}"
    say(f"{title}: compiling")
    embeddings = made_up(workload.batch, workload.modalities, workload.dim)
    on_device = jax.device_put(embeddings)
    ours = step(workload.objective)
    loss, gradients = jax.block_until_ready(ours(on_device))
    timing = Timing(workload, loss=float(loss))
    sides = [(timing.seconds, lambda: jax.block_until_ready(ours(on_device)))]

    if workload.peer and torch_is_there():
        say(f"{title}: the peer's loss and gradient")
        peers = {
            count: peer_step(workload.objective, embeddings, count)
            for count in sorted({threads} | _ALSO_THREADS[workload.objective])
        }
        peer_loss, peer_gradients = peers[threads]()
        timing.peer_loss = peer_loss
        timing.loss_difference = abs(timing.loss - peer_loss) / abs(peer_loss)
        timing.gradient_difference = _difference(list(gradients.values()), peer_gradients)
        for count, theirs in peers.items():
            sides.append((timing.peer_seconds.setdefault(count, []), theirs))
    if workload.objective == "gram":
        say(f"{title}: compiling the bare products")
        jax.block_until_ready(bare_products(on_device))
        sides.append(
            (timing.product_seconds, lambda: jax.block_until_ready(bare_products(on_device)))
        )

    for number in range(repeats):
        say(f"{title}: round {number + 1} of {repeats}")
        for seconds, run in sides:
            time.sleep(_PAUSE)
            seconds.append(statistics.median(_calls(run)))
    return timing


def peer_step(
    objective: str, embeddings: dict[str, np.ndarray], threads: int
) -> Callable[[], tuple[float, list[np.ndarray]]]:
    """The peer on the very same numbers: a function that returns its loss and gradients."""
    import torch

    from .peers import OBJECTIVES

    leaves = [torch.from_numpy(x.copy()).requires_grad_() for x in embeddings.values()]

    def run():
        torch.set_num_threads(threads)
        loss = OBJECTIVES[objective](leaves)
        gradients = torch.autograd.grad(loss, leaves)
        return loss.item(), [gradient.numpy() for gradient in gradients]

    return run


def _calls(run: Callable[[], Any]) -> Iterator[float]:
    """Seconds of single calls, for as long as a round lasts; the first is left out of several."""
    spent, first = 0.0, None
    while spent < _FILL:
        start = time.perf_counter()
        run()
        seconds = time.perf_counter() - start
        spent += seconds
        if first is None and spent < _FILL:
            first = seconds  # its data had left the caches while the other sides ran
        else:
            yield seconds


def _difference(ours: list[jax.Array], theirs: list[np.ndarray]) -> float:
    largest = max(float(np.abs(x).max()) for x in theirs)
    pairs = zip(ours, theirs, strict=True)
    return max(float(np.abs(np.asarray(x) - y).max()) for x, y in pairs) / largest
