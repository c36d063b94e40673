"""The two sides of the benchmark agree, and its report is complete; speed itself is no test."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import bench, bench_accuracy, bench_memory, bench_speed, bench_tables
from experiments.bench_speed import Timing, Workload
from experiments.bench_steps import bare_products, made_up, step
from gramalign.evaluation.tables import to_text

TINY = bench.Bench(
    repeats=2,
    modalities=2,
    dim=16,
    gram_batches=(8,),
    peer_limit=6,
    pmrl_batches=(8,),
    memory_batches=(64,),
    resident_batch=16,
    accuracy_modalities=(2, 4),
)


def silent(text):
    pass


@pytest.mark.peer
@pytest.mark.parametrize("objective", ["gram", "pmrl"])
def test_peers_compute_the_same_loss_and_gradient(objective):
    pytest.importorskip("torch")
    embeddings = made_up(24, 4, 32)
    loss, gradients = step(objective)(embeddings)
    peer_loss, peer_gradients = bench_speed.peer_step(objective, embeddings, threads=1)()
    np.testing.assert_allclose(float(loss), peer_loss, rtol=5e-5)
    for got, wanted in zip(gradients.values(), peer_gradients, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-3 * np.abs(wanted).max())


@pytest.mark.peer
def test_peer_volumes_are_those_of_all_pairs():
    torch = pytest.importorskip("torch")
    from experiments.peers import gram_volumes

    anchor, *others = made_up(5, 3, 8).values()
    tensors = [torch.from_numpy(x) for x in (anchor, *others)]
    volumes = gram_volumes(tensors[0], tensors[1:]).numpy()
    pairs = np.array(
        [[[anchor[i], *(other[j] for other in others)] for j in range(5)] for i in range(5)]
    )
    wanted = bench_accuracy.reference(pairs.reshape(25, 3, 8)).reshape(5, 5)
    np.testing.assert_allclose(volumes, wanted, rtol=1e-4)


@pytest.mark.peer
def test_a_row_with_a_peer():
    pytest.importorskip("torch")
    row = bench_speed.measure(Workload("pmrl", 8, 3, 16), 2, 2, silent).record()
    assert row["agree"] is True
    assert row["speedup"] == row["peer_seconds"] / row["seconds"]
    assert len(row["rounds"]["seconds"]) == 2
    assert {count: len(rounds) for count, rounds in row["rounds"]["peer_seconds"].items()} == {
        1: 2,
        2: 2,
    }
    assert row["peer_threads"] in (1, 2)


def test_losses_that_differ_are_a_problem():
    timing = Timing(Workload("gram", 8), loss=1.0, seconds=[1.0], peer_loss=1.1)
    timing.loss_difference = 0.1
    report = {"speed": [timing.record()]}
    assert report["speed"][0]["agree"] is False
    (problem,) = bench.problems(report)
    assert "gram at B = 8: the losses differ, 1.0 here and 1.1 in torch" == problem


def test_too_much_memory_is_a_problem():
    row = {"objective": "gram", "batch": 9, "peak_bytes": 5, "limit_bytes": 4}
    report = {"memory": {"resident": [{**row, "within_limit": False}]}}
    assert bench.problems(report) == ["gram at B = 9 took 5 bytes, more than 4"]
    report["memory"]["resident"][0]["within_limit"] = True
    assert bench.problems(report) == []


def test_without_torch_the_own_figures_remain(monkeypatch):
    monkeypatch.setattr(bench_speed, "torch_is_there", lambda: False)
    row = bench_speed.measure(Workload("gram", 8, 3, 16), 1, 2, silent).record()
    assert row["seconds"] > 0 and row["times_products"] > 0
    assert row["peer_seconds"] is row["speedup"] is row["agree"] is row["peer_loss"] is None
    machine = {"versions": {"torch": None}}
    text = to_text(bench_tables.tables({"speed": [row], "machine": machine}))
    assert "n/a" in text and "torch is not installed" in text and "make bench" in text


def test_rounds_hold_median_calls(monkeypatch):
    now = iter([0.0, 0.15, 1.0, 1.06, 2.0, 2.08])
    monkeypatch.setattr(bench_speed.time, "perf_counter", lambda: next(now))
    # The first of several calls is not counted; those after it fill the round.
    assert list(bench_speed._calls(lambda: None)) == pytest.approx([0.06])
    long = iter([0.0, 3.0])
    monkeypatch.setattr(bench_speed.time, "perf_counter", lambda: next(long))
    assert list(bench_speed._calls(lambda: None)) == [3.0]


def test_bare_products_are_what_they_say():
    embeddings = {name: jnp.asarray(x) for name, x in made_up(48, 2, 8).items()}
    a, b = embeddings.values()
    scores = a @ b.T
    forward, d_other, d_rows = bare_products(embeddings)
    np.testing.assert_allclose(forward, scores.sum(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(d_other, scores.T @ a, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(d_rows.reshape(48, 8), scores @ b, rtol=1e-4, atol=1e-5)


def test_made_up_embeddings_are_unit_rows_and_half_aligned():
    first, second = made_up(400, 2, 64).values()
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, rtol=1e-6)
    assert abs(np.mean(np.sum(first * second, axis=1)) - 0.5) < 0.05
    assert first.dtype == np.float32


def test_compiled_memory_is_read_without_running():
    figures = bench_memory.growth("clip", (64, 128), 2, 16, silent)
    assert figures["batches"] == [64, 128]
    assert all(size > 0 for size in figures["temporary_bytes"])
    small, large = figures["temporary_bytes"]
    assert figures["growth_over_linear"] == [large / small / 2]


def test_a_fresh_process_reports_its_own_peak():
    ballast = np.ones(2**28 // 8)  # 256 MiB here, none of them there
    row = bench_memory.resident("gram", 16, 3, 16)
    del ballast
    assert 50 * 2**20 < row["before_bytes"] <= row["peak_bytes"] < 2**30
    loss, _ = step("gram")(jax.device_put(made_up(16, 3, 16)))
    assert row["loss"] == pytest.approx(float(loss), rel=1e-5)


def test_a_process_that_fails_says_why():
    with pytest.raises(RuntimeError, match=r"(?s)nothing at B = 16 ended with status 1.*KeyError"):
        bench_memory.resident("nothing", 16, 3, 16)


@pytest.mark.parametrize("modalities", [2, 5])
def test_accuracy_of_close_tuples(modalities):
    errors = {
        distance: bench_accuracy.measure(modalities, 64, distance, tuples=32)
        for distance in bench_accuracy.DISTANCES
    }
    for figures in errors.values():
        assert figures["median_relative_error"]["gramalign"] < 1e-6
    near = errors[1e-4]["median_relative_error"]
    assert near["determinant"] > 0.1
    assert near["cholesky"] is None or near["cholesky"] > 0.1


def test_reference_volumes():
    angle = 1e-4
    pair = np.array([[1.0, 0.0, 0.0], [np.cos(angle), np.sin(angle), 0.0]])
    np.testing.assert_allclose(bench_accuracy.reference(pair[None]), [np.sin(angle)], rtol=1e-12)
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(6, 3, 7))
    determinants = np.linalg.det(wide @ wide.transpose(0, 2, 1))
    np.testing.assert_allclose(bench_accuracy.reference(wide), np.sqrt(determinants), rtol=1e-10)


def test_tuples_are_as_close_as_asked():
    vectors = bench_accuracy.close_tuples(50, 3, 256, 1e-3).astype(np.float64)
    gaps = np.linalg.norm(vectors[:, 0] - vectors[:, 1], axis=1)
    np.testing.assert_allclose(np.median(gaps), np.sqrt(2) * 1e-3, rtol=0.05)


@pytest.mark.slow
def test_a_tiny_run_writes_every_field(tmp_path):
    out = tmp_path / "new" / "bench.json"
    arguments = {
        "gram-batches": TINY.gram_batches,
        "pmrl-batches": TINY.pmrl_batches,
        "memory-batches": TINY.memory_batches,
        "accuracy-modalities": TINY.accuracy_modalities,
    }
    lists = [part for name, value in arguments.items() for part in (f"--{name}", *map(str, value))]
    numbers = ["repeats", "modalities", "dim", "peer-limit", "resident-batch"]
    for name in numbers:
        lists += [f"--{name}", str(getattr(TINY, name.replace("-", "_")))]
    done = subprocess.run(
        [sys.executable, "-m", "experiments.bench", "--out", str(out), *lists],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for title in ("Speed:", "Memory: temporary", "Memory: peak", "Accuracy:", str(out)):
        assert title in done.stdout
    assert "speed: gram, B = 8: round 2 of 2" in done.stderr
    report = json.loads(out.read_text())
    assert list(report) == ["machine", "config", "speed", "memory", "accuracy"]
    assert report["config"]["gram_batches"] == [8]
    machine = report["machine"]
    assert machine["versions"]["jax"] == jax.__version__
    assert machine["threads"] == 2 and machine["cpu_count"] >= 1
    assert "experiments.bench --out" in machine["command"]
    assert machine["date"].endswith("+00:00")
    assert [(row["objective"], row["batch"]) for row in report["speed"]] == [
        ("gram", 8),
        ("pmrl", 8),
    ]
    assert all(row["seconds"] > 0 for row in report["speed"])
    assert report["speed"][0]["peer_seconds"] is None  # above the peer's limit
    if machine["versions"]["torch"] is not None:
        assert report["speed"][1]["agree"]
    memory = report["memory"]
    assert [row["objective"] for row in memory["compiled"]] == ["gram", "pmrl", "clip"]
    assert [row["within_limit"] for row in memory["resident"]] == [True] * 3
    assert len(report["accuracy"]) == 2 * len(bench_accuracy.DISTANCES)
    assert set(report["accuracy"][0]["median_relative_error"]) == set(bench_accuracy.METHODS)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"repeats": 0}, "repeats must be at least 1, got 0"),
        ({"modalities": 1}, "modalities must be at least 2, got 1"),
        ({"gram_batches": (1,)}, r"gram_batches must be at least 2 each, got \(1,\)"),
        ({"accuracy_modalities": (2, 900)}, r"from 2 to dim \(512\) each, got \(2, 900\)"),
    ],
)
def test_settings_are_checked(change, message):
    with pytest.raises(ValueError, match=message):
        bench.Bench(**change)


def test_only_one_part():
    report = bench.measure(bench.Bench(only="accuracy", dim=16, accuracy_modalities=(2,)))
    assert list(report) == ["machine", "config", "accuracy"]
