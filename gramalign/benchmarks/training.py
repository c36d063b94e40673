"""What a training run costs beside its compiled step: the loop, its saves, its input."""

import dataclasses
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gramalign.data import FeatureStore, batches, from_arrays, load
from gramalign.data.packed import pack
from gramalign.training import Config, Layout, Model, train
from gramalign.training.checkpoint import Checkpoints
from gramalign.training.input import Data
from gramalign.training.layout import mesh_of, of_batches, on_all
from gramalign.training.metrics import read_metrics
from gramalign.training.moments import moments
from gramalign.training.rows import chosen_rows
from gramalign.training.run_folder import RunFolder
from gramalign.training.start import Start, make_programs
from gramalign.training.state import init_state
from gramalign.types import Say


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    steps: int = 250
    """Of a run, of which the first 50 are left out: they compile."""
    saved: int = 100_000_000
    """Parameters."""
    rows: int = 100_000
    """Of four times 512 floats."""
    many_rows: int = 1_000_000
    """Of four times 4 floats."""


def measure(repeats: int, say: Say, sizes: Sizes | None = None) -> dict[str, Any]:
    """Measures everything.

    Args:
        repeats: of each measurement; figures are medians.
        say: called with progress messages.
        sizes: how much to measure; None: the full sizes.
    """
    sizes = sizes or Sizes()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return {
            "loop": _loop(folder / "loop", sizes.steps, repeats, say),
            "save": [_save(folder / f"save{n}", sizes.saved, n, repeats, say) for n in (0, 2)],
            "input": _input(folder / "wide", sizes.rows, repeats, say),
            "restart": _restart(folder / "many", sizes.many_rows, repeats, say),
        }


def _loop(folder: Path, steps: int, repeats: int, say: Say) -> dict[str, Any]:
    """Seconds of a step of `digits` in the loop, and of the compiled step alone."""
    config = Config(
        objective="clip",
        model=Model(hidden=256),  # whatever the default, so that figures compare
        steps=steps,
        checkpoint_every=steps,
        log_every=50,
        layout=Layout(data=1),
    )
    rows, _ = chosen_rows(config)
    mesh = mesh_of(config.layout)
    start = Start(config, rows.dims, moments(rows), make_programs(config, rows.dims, mesh))
    fixed = jax.device_put(start.fixed, on_all(mesh))
    reader = Data(rows, config, mesh).batches(0)
    batch = jax.device_put(next(reader), of_batches(mesh))
    reader.close()

    def bare(count: int) -> float:
        state = start.state()
        state, _ = start.step(state, fixed, batch)  # compiles, the first time
        jax.block_until_ready(state)
        before = time.perf_counter()
        for _ in range(count):
            state, _ = start.step(state, fixed, batch)
        jax.block_until_ready(state)
        return (time.perf_counter() - before) / count

    loops, bares = [], []
    for number in range(repeats):
        say(f"training: {steps} steps of the loop, round {number + 1} of {repeats}")
        train(config, folder / str(number), report=lambda row: None)
        timing = read_metrics(RunFolder(folder / str(number)).timing)
        loops.append(statistics.median(row["seconds"] for row in timing[1:]))
        bares.append(bare(steps))
    loop, compiled = statistics.median(loops), statistics.median(bares)
    return {"loop_seconds": loop, "step_seconds": compiled, "overhead": 1 - compiled / loop}


def _save(folder: Path, saved: int, moments_each: int, repeats: int, say: Say) -> dict[str, Any]:
    """Seconds for which a save of parameters, and of their moments, stops the loop."""
    tx = optax.adam(1e-3) if moments_each else optax.sgd(1e-3)
    params = {str(n): jnp.full((saved // 100,), n, jnp.float32) for n in range(100)}
    state = init_state(params, tx, jax.random.key(0))
    blocking, whole = [], []
    with Checkpoints(RunFolder(folder), keep=1) as checkpoints:
        for number in range(repeats):
            say(f"training: a save with {moments_each} moments, round {number + 1} of {repeats}")
            state = dataclasses.replace(state, step=jnp.asarray(number + 1, jnp.int32))
            jax.block_until_ready(state)
            start = time.perf_counter()
            checkpoints.save(state)
            blocking.append(time.perf_counter() - start)
            checkpoints.wait()
            whole.append(time.perf_counter() - start)
    return {
        "parameters": saved,
        "moments_each": moments_each,
        "blocking_seconds": statistics.median(blocking),
        "seconds": statistics.median(whole),
    }


def _input(folder: Path, rows: int, repeats: int, say: Say) -> list[dict[str, Any]]:
    """Examples per second that one thread reads from a packed store: 4 modalities, 512 floats."""
    store = _packed(folder, rows, 512, say)
    found = []
    for size in (256, 1024):
        rates = []
        for number in range(repeats):
            say(f"training: batches of {size}, round {number + 1} of {repeats}")
            reader = batches(store, batch_size=size, seed=number)
            count = max(1, rows // 2 // size)
            next(reader)
            start = time.perf_counter()
            for _ in range(count):
                next(reader)
            rates.append(count * size / (time.perf_counter() - start))
            reader.close()
        found.append({"batch": size, "examples_per_second": statistics.median(rates)})
    return found


def _restart(folder: Path, rows: int, repeats: int, say: Say) -> dict[str, Any]:
    """Seconds until an open store's batches, restarted in the middle, are available again."""
    store = _packed(folder, rows, 4, say)
    first = []
    for number in range(repeats):
        start = time.perf_counter()
        reader = batches(store, batch_size=256, seed=0, start=100_000 + number)
        next(reader)
        first.append(time.perf_counter() - start)
        reader.close()
    return {"rows": rows, "seconds": statistics.median(first)}


def _packed(folder: Path, rows: int, width: int, say: Say) -> FeatureStore:
    say(f"training: packing {rows} rows of 4 x {width}")
    rng = np.random.default_rng(0)
    arrays = {f"m{n}": rng.standard_normal((rows, width), dtype=np.float32) for n in range(4)}
    pack(from_arrays(arrays), folder)
    return load(folder)
