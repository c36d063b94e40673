"""The speed rows are complete and say what could not be measured; speed itself is no test."""

import sys

import jax
import pytest
from rich.console import Console

from gramalign.benchmarks import peer, report, rounds, speed
from gramalign.benchmarks.rounds import OUT_OF_MEMORY, Failed, Timed, attempt, in_turn
from gramalign.benchmarks.speed_tables import speed_table, work_table
from gramalign.benchmarks.steps import made_up, place, step
from gramalign.benchmarks.workload import Way, Workload

pytestmark = pytest.mark.usefixtures("short_rounds")


def measure(workload, *ways, limit=None, repeats=1):
    *_, rows = speed.measure(
        workload,
        ways,
        repeats=repeats,
        threads=2,
        peer_limit=limit,
        peer_seconds=60,
        say=lambda text: None,
    )
    return rows


def no_memory(*_args, **_options):
    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")


@pytest.mark.peer
def test_a_row_with_a_peer():
    pytest.importorskip("torch")
    (row,) = measure(Workload("pmrl", 8, 3, 16), Way(8), repeats=2)
    assert row["agree"] is True and row["gradient_difference"] < 1e-3
    assert row["peer_note"] is None and row["status"] == "ok"
    assert row["speedup"] == row["peer_seconds"] / row["seconds"]
    assert row["peer_threads"] in (1, 2)
    assert len(row["rounds"]["seconds"]) == len(row["rounds"]["product_seconds"]) == 2
    assert {n: len(x) for n, x in row["rounds"]["peer_seconds"].items()} == {1: 2, 2: 2}
    assert row["spread"][0] <= row["seconds"] <= row["spread"][1]
    assert row["flops_per_second"] == row["flops"] / row["seconds"]
    assert row["flops"] == 3 * 2 * 8 * 8 * 16
    assert row["share_of_products"] == pytest.approx(1 / row["times_products"])
    assert row["temporary_bytes"] > 0 and row["device_peak_bytes"] is None


@pytest.mark.peer
def test_a_bfloat16_row_agrees_too():
    pytest.importorskip("torch")
    (row,) = measure(Workload("clip", 16, 3, 32, "bfloat16"), Way(16))
    assert row["dtype"] == "bfloat16" and row["agree"] is True
    assert set(row["rounds"]["peer_seconds"]) == {1, 2}  # threads, of which the faster counts
    assert row["loss_difference"] > 0


def test_fused_tiles_are_another_row():
    ways = [Way(384, implementation=each) for each in ("xla", "pallas")]
    rows = measure(Workload("clip", 384, 2, 8), *ways, limit=1)
    assert [row["implementation"] for row in rows] == ["xla", "pallas"]
    assert rows[0]["flops"] == rows[1]["flops"]  # the kernel's count as often as it runs
    assert rows[0]["loss"] == pytest.approx(rows[1]["loss"], rel=1e-6)
    with (screen := Console(width=100)).capture() as printed:
        screen.print(speed_table(rows), work_table([{**x, "share_of_device": None} for x in rows]))
    assert printed.get().count("pallas") == 2


def test_strategies_and_tiles_give_a_row_each_and_one_loss():
    ways = [Way(tile, 2, strategy) for tile in (4, 8) for strategy in ("gather", "ring")]
    rows = measure(Workload("clip", 16, 2, 8), *ways, limit=1)
    assert [(row["tile"], row["strategy"]) for row in rows] == [
        (4, "gather"),
        (4, "ring"),
        (8, "gather"),
        (8, "ring"),
    ]
    (one_device,) = measure(Workload("clip", 16, 2, 8), Way(16), limit=1)
    for row in rows:
        assert row["devices"] == 2 and row["flops"] == one_device["flops"]
        assert row["loss"] == pytest.approx(one_device["loss"], rel=1e-6)
    (fastest,) = [row for row in rows if row["fastest"]]
    assert fastest["seconds"] == min(row["seconds"] for row in rows)
    assert one_device["fastest"] is False  # there is nothing to be faster than


def only_small(fail):
    """The step, but tiles above 4 fail."""
    return lambda method, way: fail() if way.tile > 4 else step(method, way)


def test_a_way_out_of_memory_leaves_the_others(monkeypatch):
    monkeypatch.setattr(speed, "step", only_small(no_memory))
    small, large = measure(Workload("clip", 8, 2, 8), Way(4), Way(8), limit=1)
    assert small["status"] == "ok" and small["seconds"] > 0
    assert large["status"] == OUT_OF_MEMORY
    assert large["seconds"] is large["flops_per_second"] is large["loss"] is None


def test_products_or_embeddings_out_of_memory(monkeypatch):
    monkeypatch.setattr(speed, "bare_products", lambda method, way: no_memory)
    monkeypatch.setattr(speed, "matmul_flops", lambda *_: 1)
    (row,) = measure(Workload("clip", 8, 2, 8), Way(8), limit=1)
    assert row["seconds"] > 0
    assert row["product_seconds"] is row["share_of_products"] is None

    monkeypatch.setattr(speed, "made_up_for", no_memory)
    (row,) = measure(Workload("clip", 8, 2, 8), Way(8))
    assert row["status"] == OUT_OF_MEMORY and "embeddings" in row["peer_note"]


def test_a_floor_that_fails_or_is_not_most_of_the_work_is_none(monkeypatch):
    def fail(*_):
        raise ValueError("no such slice")

    monkeypatch.setattr(speed, "operands", fail)
    (row,) = measure(Workload("clip", 8, 2, 8), Way(8), limit=1)
    assert row["status"] == "ok" and row["seconds"] > 0 and row["product_seconds"] is None
    monkeypatch.undo()
    of = Workload("clip", 8, 2, 8), Way(8), place(made_up(8, 2, 8), "float32", 1)
    most = 4 * 2 * 8 * 8 * 8
    assert speed._floor(*of, 2 * most)[1] == most
    assert speed._floor(*of, 2 * most + 1) == (None, 0)


@pytest.mark.peer
@pytest.mark.parametrize("at_once", [True, False])
def test_a_peer_out_of_memory(at_once, monkeypatch):
    """In its first call, or in a round later on."""
    pytest.importorskip("torch")
    run = peer.Peer.run
    calls = iter([False, True])

    def fail(self):
        return no_memory() if at_once or next(calls) else run(self)

    monkeypatch.setattr(peer.Peer, "run", fail)
    (row,) = measure(Workload("clip", 8, 2, 8), Way(8))
    assert row["status"] == "ok" and row["seconds"] > 0
    assert row["peer_note"] == OUT_OF_MEMORY and row["peer_seconds"] is None


@pytest.mark.peer
@pytest.mark.parametrize("already", [32, 256])
def test_a_peer_that_takes_too_long(already, monkeypatch):
    """As fewer examples tell, with no call of all; or in the one call of all, after which none."""
    pytest.importorskip("torch")
    run, calls, clock = peer.Peer.run, [], [0.0]

    def takes(self):
        calls.append(len(self._leaves[0]))
        clock[0] += 9.0 if calls[-1] >= already else 0.0
        return run(self)

    monkeypatch.setattr(peer.Peer, "run", takes)
    monkeypatch.setattr(speed.time, "perf_counter", lambda: clock[0])
    found = speed._theirs(Workload("pmrl", 256, 2, 8), made_up(256, 2, 8), 1, 8, lambda text: None)
    assert "--peer-seconds 8" in found.note and not found.timed
    assert calls == ([32, 32] if already == 32 else [32, 32, 256])
    assert (found.loss is None) == (already == 32)


@pytest.mark.peer
def test_a_number_of_threads_that_takes_too_long_is_left_out(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(speed.patience, "fits", lambda *_: next(fitting))
    for answers, left in (([True, False], [1]), ([False, True], [2]), ([False, False], [])):
        fitting = iter(answers)
        given = Workload("clip", 8, 2, 8), made_up(8, 2, 8)
        found = speed._theirs(*given, 2, 60, lambda text: None)
        assert list(found.timed) == left and (found.loss is None) == (not left)


def test_why_there_is_no_peer(monkeypatch):
    workload = Workload("clip", 8, 2, 16)
    monkeypatch.setattr(peer, "find_spec", lambda name: None)
    (row,) = measure(workload, Way(8))
    assert row["seconds"] > 0
    assert row["peer_seconds"] is row["speedup"] is row["agree"] is row["peer_loss"] is None
    assert "make bench" in row["peer_note"]

    monkeypatch.setattr(peer, "without_torch", lambda: None)
    assert peer.why_not(workload, 2, 8) is None
    assert "--peer-limit 7" in peer.why_not(workload, 1, 7)
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert "on a TPU" in peer.why_not(workload, 1, None)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(peer, "_cuda", lambda: False)
    assert "sees none" in peer.why_not(workload, 1, None)
    monkeypatch.setattr(peer, "_cuda", lambda: True)
    monkeypatch.setattr(peer, "_memory", lambda where: 2**30)
    assert peer.why_not(workload, 1, None) is None and peer.peer_device() == "cuda"
    assert "gramalign on 2" in peer.why_not(workload, 2, None)


def test_a_torch_that_cannot_be_imported_is_a_note(monkeypatch, tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('libcudnn.so.9: cannot open\\nit')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    (row,) = measure(Workload("clip", 8, 2, 16), Way(8))
    assert row["status"] == "ok" and row["seconds"] > 0
    assert row["peer_note"] == "torch cannot be imported: libcudnn.so.9: cannot open"


def test_a_gpu_that_does_not_tell_torch_its_memory_is_a_note(monkeypatch):
    def fail(_):
        raise RuntimeError("CUDA error: initialization error\nMore.")

    monkeypatch.setattr(peer, "without_torch", lambda: None)
    monkeypatch.setattr(peer, "_memory", fail)
    (row,) = measure(Workload("clip", 8, 2, 16), Way(8))
    assert row["status"] == "ok" and row["seconds"] > 0
    assert row["peer_note"] == "RuntimeError: CUDA error: initialization error"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes."),
        RuntimeError("CUDA out of memory. Tried to allocate 1 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate`"),
        RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling"),
        RuntimeError("cusolver error: CUSOLVER_STATUS_INTERNAL_ERROR, when `cusolverDnCreate`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
        RuntimeError("CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        jax.errors.JaxRuntimeError("INTERNAL: Failed to allocate 9 bytes for new constant"),
        jax.errors.JaxRuntimeError("INTERNAL: gpusolverDnCreate(&handle) failed: internal error"),
        jax.errors.JaxRuntimeError("FAILED_PRECONDITION: DNN library initialization failed."),
        jax.errors.JaxRuntimeError("INTERNAL: CUDA_ERROR_OUT_OF_MEMORY"),
    ],
)
def test_what_counts_as_out_of_memory(error):
    def fail():
        raise error

    assert attempt(fail) == Failed(OUT_OF_MEMORY)


@pytest.mark.peer
def test_decompositions_run_out_of_memory_too():
    torch = pytest.importorskip("torch")

    def fail(text):
        raise torch.linalg.LinAlgError(text)

    full = attempt(lambda: fail("CUSOLVER_STATUS_ALLOC_FAILED, when calling"))
    assert full == Failed(OUT_OF_MEMORY)
    other = attempt(lambda: fail("linalg.svd: the algorithm failed to converge\nMore."))
    assert other == Failed("_LinAlgError: linalg.svd: the algorithm failed to converge")


def broken(*_args, **_options):
    raise jax.errors.JaxRuntimeError("INTERNAL: Autotuning failed\nfor 9 configs")


def test_a_side_that_fails_leaves_the_others_and_mistakes_pass():
    cleaned, done = [], Timed(lambda: None)
    side = Timed(broken, clean=lambda: cleaned.append(True))
    in_turn([side, done], 2, lambda text: None)
    assert side.failed == "JaxRuntimeError: INTERNAL: Autotuning failed"
    assert not side.seconds and cleaned == [True] and len(done.seconds) == 2

    def mistaken():
        raise TypeError("nobody calls it so")

    with pytest.raises(TypeError, match="nobody"):
        in_turn([Timed(mistaken)], 1, lambda text: None)


def test_a_way_that_fails_is_a_row_and_a_problem(monkeypatch):
    monkeypatch.setattr(speed, "step", only_small(broken))
    rows = measure(Workload("clip", 8, 2, 8), Way(4), Way(8), limit=1)
    assert rows[0]["status"] == "ok" and rows[0]["seconds"] > 0
    assert rows[1]["status"].endswith("Autotuning failed") and rows[1]["seconds"] is None
    (problem,) = report.problems({"speed": rows})
    assert problem.endswith("tile 8: JaxRuntimeError: INTERNAL: Autotuning failed")
    monkeypatch.setattr(speed, "step", broken)
    (row,) = measure(Workload("clip", 8, 2, 8), Way(8))
    assert row["seconds"] is None and not row["fastest"]
    assert row["peer_seconds"] or peer.without_torch()


def test_a_score_that_the_kernel_refuses_leaves_the_other_way():
    ways = [Way(128, implementation=each) for each in ("pallas", "xla")]
    refused, done = measure(Workload("spectral", 128, 3, 8), *ways, limit=1)
    assert refused["status"].startswith('ValueError: implementation="pallas" is for Scores')
    assert refused["seconds"] is None and done["status"] == "ok" and done["seconds"] > 0


@pytest.mark.peer
def test_a_peer_that_fails_is_a_note(monkeypatch):
    pytest.importorskip("torch")

    def fail(_):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(peer.Peer, "run", fail)
    monkeypatch.setattr(peer, "release", fail)  # as all that is asked of the GPU from there on
    (row,) = measure(Workload("clip", 8, 2, 8), Way(8))
    assert row["status"] == "ok" and row["seconds"] > 0 and row["peer_seconds"] is None
    assert row["peer_note"].startswith("RuntimeError: CUDA error: an illegal memory access")
    assert report.problems({"speed": [row]}) == []


def test_every_first_call_and_every_round_is_told_of():
    workload = Workload("clip", 8, 2, 8)
    steps = speed.measure(
        *(workload, [Way(4), Way(8)]),
        repeats=3,
        threads=2,
        peer_limit=1,
        peer_seconds=60,
        say=lambda text: None,
    )
    first = next(steps)
    assert [row["status"] for row in first] == ["ok"] and first[0]["loss"] > 0
    assert first[0]["first_seconds"] > 0 and first[0]["seconds"] is first[0]["spread"] is None
    numbers = [[len(row["rounds"]["seconds"]) for row in rows] for rows in steps]
    assert numbers == [[0, 0], [1, 1], [2, 2], [3, 3]]


@pytest.mark.parametrize(
    "method, each", [("gram", 16 * 6 * 10**12), ("clip", 6 * 10**12), ("pmrl", 4 * 64 * 10**6)]
)
def test_what_cannot_fit_is_not_tried(method, each, monkeypatch):
    monkeypatch.setattr(peer, "without_torch", lambda: None)
    workload = Workload(method, 10**6, 4, 8, "bfloat16")
    assert peer.least_bytes(workload) == each
    monkeypatch.setattr(peer, "_memory", lambda where: each - 1)
    assert "the peer needs at least" in peer.why_not(workload, 1, None)
    monkeypatch.setattr(peer, "_memory", lambda where: each)
    assert peer.why_not(workload, 1, None) is None
    monkeypatch.undo()
    assert 2**28 < peer._memory("cpu") < 2**50


def test_rounds_hold_median_calls(monkeypatch):
    monkeypatch.setattr(rounds, "FILL", 0.2)
    now = iter([0.0, 0.15, 1.0, 1.06, 2.0, 2.08])
    monkeypatch.setattr(rounds.time, "perf_counter", lambda: next(now))
    # The first of several calls is not counted; those after it fill the round.
    assert rounds._round(Timed(lambda: None)) == pytest.approx([0.06])
    long = iter([0.0, 3.0])
    monkeypatch.setattr(rounds.time, "perf_counter", lambda: next(long))
    assert rounds._round(Timed(lambda: None)) == [3.0]


def test_taking_memory_anew_is_not_timed(monkeypatch):
    monkeypatch.setattr(rounds, "FILL", 0.2)
    cleaned = []

    def spent(*times):
        now = iter(times)
        monkeypatch.setattr(rounds.time, "perf_counter", lambda: next(now))
        return rounds._round(Timed(lambda: None, clean=lambda: cleaned.append(True)))

    assert spent(0.0, 3.0, 4.0, 6.5) == [2.5] and cleaned == [True]
    assert spent(0.0, 60.0) == [60.0], "a call beside which it counts for nothing"


def test_sides_take_turns():
    order = []
    sides = [Timed(lambda name=name: order.append(name)) for name in "ab"]
    in_turn(sides, 2, lambda text: None)
    assert order == ["a", "b", "a", "b"]
    assert [len(side.seconds) for side in sides] == [2, 2]
