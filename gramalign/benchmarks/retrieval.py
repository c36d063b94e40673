"""What retrieval costs: ranks beside a sort and a search per query, and a large gallery by volume.

    python -m gramalign.benchmarks.retrieval 100000 3 256           (examples, modalities, dim)

ranks one large gallery both ways and prints its seconds, those of the bare matrix products, and the
peak memory of this process, as JSON: a program of its own, because a process's peak never falls.
"""

import json
import sys
import time
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gramalign.benchmarks.process import in_new_process
from gramalign.benchmarks.products import blocks, dot
from gramalign.benchmarks.resident import peak_bytes
from gramalign.benchmarks.rounds import Timed, in_turn
from gramalign.benchmarks.steps import made_up
from gramalign.contrast import Engine, ranks
from gramalign.evaluation import EmbeddingSet, retrieve_both_ways
from gramalign.scores import Side
from gramalign.types import Say

RECALL_AT = (1, 5, 10)


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    ranked: int = 5000
    """Queries and gallery, by a score matrix that is there, and by cosine."""
    ranked_dim: int = 512
    """Of the embeddings for the cosine."""
    volume: tuple[int, ...] = (20_000, 100_000)
    """Queries and galleries, by volume: one compared in rounds, the largest in a fresh process."""
    modalities: int = 3
    dim: int = 256


def measure(repeats: int, say: Say, sizes: Sizes | None = None) -> dict[str, Any]:
    """Measures everything.

    Args:
        repeats: rounds in which all sides take turns; figures are medians.
        say: called with progress messages.
        sizes: how much to measure; None: the full sizes.
    """
    sizes = sizes or Sizes()
    small, *_, large = sizes.volume
    say(f"retrieval: {large} x {large} by volume, in a fresh process")
    alone = in_new_process("retrieval", large, sizes.modalities, sizes.dim, platforms=_platforms())
    return {
        "ranks": _ranks(sizes.ranked, sizes.ranked_dim, repeats, say),
        "volume": _volume(small, sizes.modalities, sizes.dim, repeats, say),
        "large": alone,
    }


def _platforms() -> str:
    """The platforms of this process, except a TPU, which serves one process at a time."""
    if jax.default_backend() in ("cpu", "tpu"):
        return "cpu"
    return jax.config.jax_platforms or ""  # pyright: ignore[reportAttributeAccessIssue]


def figures_by_sorting(scores: Float[np.ndarray, "n n"]) -> dict[str, float]:
    """Figures as in the published evaluation: every row is sorted, and searched for the match.

    The loop over queries, with `list.index` in a list of the whole gallery, is theirs; numpy sorts
    instead of torch.
    """
    found = {}
    for direction, matrix in (("forward", scores), ("backward", scores.T)):
        order = np.argsort(-matrix, axis=1).tolist()
        places = [line.index(number) for number, line in enumerate(order)]
        found |= figures(direction, np.array(places))
    return found


class Given:
    """A given score matrix as a Score: rows hold their scores, columns hold their numbers.

    Rows hold a tile more than there are columns: the last block may be padded, and reach beyond.
    """

    def tile(self, rows: Float[Array, "r n"], cols: Int[Array, " c"]) -> Float[Array, "r c"]:
        """A block cut from the matrix."""
        return jax.lax.dynamic_slice_in_dim(rows, cols[0], len(cols), axis=1)


def _ranks(number: int, dim: int, repeats: int, say: Say) -> dict[str, Any]:
    say(f"retrieval: ranks of {number} x {number}, both ways")
    data = _embedded(number, 2, dim)
    one, other = data.embeddings.values()
    scores = np.matmul(one, other.T)
    on_device = jnp.asarray(np.pad(scores, [(0, 0), (0, Engine().tile_size())]))
    found: dict[str, Any] = {}

    @jax.jit
    def ranked(scores: Array) -> tuple[Array, Array]:
        numbers = jnp.arange(number)
        return ranks(Given(), Side(scores, numbers >= 0), Side(numbers, numbers >= 0))

    def ours() -> None:
        places = zip(("forward", "backward"), jax.device_get(ranked(on_device)), strict=True)
        found["ours"] = {name: x for way, each in places for name, x in figures(way, each).items()}

    def theirs() -> None:
        found["theirs"] = figures_by_sorting(scores)

    def whole() -> None:
        retrieve_both_ways(data, ("m0",), ("m1",), "cosine")

    ours()  # compile
    whole()
    sides = [Timed(ours), Timed(theirs), Timed(whole)]
    in_turn(sides, repeats, lambda text: say(f"retrieval: ranks, {text}"))
    seconds, peer_seconds, whole_seconds = (side.median() for side in sides)
    return {
        "examples": number,
        "dim": dim,
        "seconds": seconds,
        "peer_seconds": peer_seconds,
        "ratio": peer_seconds / seconds,
        "seconds_from_embeddings": whole_seconds,
        "agree": all(
            abs(found["ours"][name] - value) < 1e-6 for name, value in found["theirs"].items()
        ),
    }


def figures(way: str, places: Int[np.ndarray, " n"]) -> dict[str, float]:
    """Figures of ranks that count from 0."""
    found = {f"{way} R@{k}": 100 * float(np.mean(places < k)) for k in RECALL_AT}
    return {**found, f"{way} median": np.median(places) + 1, f"{way} mean": places.mean() + 1}


def _volume(number: int, modalities: int, dim: int, repeats: int, say: Say) -> dict[str, Any]:
    ours, bare = _sides(number, modalities, dim)
    ours.run()
    bare.run()
    in_turn([ours, bare], repeats, lambda text: say(f"retrieval: {number} by volume, {text}"))
    return _compared(number, modalities, dim, ours.median(), bare.median())


def _compared(
    number: int, modalities: int, dim: int, seconds: float, bare: float
) -> dict[str, Any]:
    return {
        "examples": number,
        "modalities": modalities,
        "dim": dim,
        "seconds": seconds,
        "products_seconds": bare,
        "over_products": seconds / bare,
    }


def _sides(number: int, modalities: int, dim: int) -> tuple[Timed, Timed]:
    """Retrieval by volume, one against the rest and back, and nothing but its products."""
    data = _embedded(number, modalities, dim)
    one, *rest = data.modalities
    rows, *cols = data.embeddings.values()

    @jax.jit
    def products(rows: Array, cols: list[Array]) -> Array:
        row_blocks = blocks(rows, Engine().tile_size())
        col_blocks = [blocks(x, Engine().tile_size()) for x in cols]

        def one_row(row: Array) -> Array:
            def one_tile(total: Array, tile: list[Array]) -> tuple[Array, None]:
                return total + sum(jnp.sum(dot(row, x.T), axis=1) for x in tile), None

            return jax.lax.scan(one_tile, jnp.zeros(len(row), jnp.float32), col_blocks)[0]

        return jax.lax.map(one_row, row_blocks)

    return (
        Timed(lambda: retrieve_both_ways(data, (one,), tuple(rest), "volume")),
        Timed(lambda: jax.block_until_ready(products(rows, cols))),
    )


def _embedded(number: int, modalities: int, dim: int) -> EmbeddingSet:
    units = made_up(number, modalities, dim)
    everywhere = {name: np.ones(number, bool) for name in units}
    return EmbeddingSet(units, everywhere, everywhere, None)


def main(number: int, modalities: int, dim: int) -> None:
    """Prints one line of JSON."""
    ours, bare = (_once(side) for side in _sides(number, modalities, dim))
    seconds, peak = ours
    compared = _compared(number, modalities, dim, seconds, bare[0])
    print(json.dumps({**compared, "backend": jax.default_backend(), "peak_bytes": peak}))


def _once(side: Timed) -> tuple[float, int]:
    """Seconds of one call, compilation included, and the peak memory after it."""
    start = time.perf_counter()
    side.run()
    return time.perf_counter() - start, peak_bytes()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
