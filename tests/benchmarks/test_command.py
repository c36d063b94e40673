"""`gramalign bench` from its options to the tables, the JSON and the exit status."""

import dataclasses
import json
import math
import subprocess
import sys

import jax
import pytest

from gramalign.benchmarks import accuracy, device, report, speed
from gramalign.benchmarks.rounds import OUT_OF_MEMORY
from gramalign.benchmarks.speed_tables import largest_table
from gramalign.benchmarks.tables import tables
from gramalign.cli import main
from gramalign.cli.bench import USED_BY, Bench
from gramalign.cli.figures import write_figures
from gramalign.cli.targets import check_file
from gramalign.contrast import Engine
from gramalign.evaluation.tables import to_text
from gramalign.training.terms import TERMS
from tests import complaint as refused

TINY = ["--modalities", "2", "--dim", "16", "--repeats", "1"]


start = device.start


@pytest.fixture(autouse=True)
def same_devices(monkeypatch):
    """The command starts JAX anew; in this process it would leave later tests without theirs."""
    monkeypatch.setattr(device, "start", lambda platform, threads, devices: "cpu")


def measure(**options):
    """A report of the speed, on the devices that the tests have."""
    bench = Bench(only="speed", modalities=2, dim=16, repeats=1, **options)
    return report.measure(bench.plan("cpu"))


def complaint(capsys, *words):
    said = refused.complaint(capsys, "bench", *words)
    assert "error: --" in said and "--Bench" not in said
    return said


@pytest.mark.slow
def test_a_tiny_run_writes_every_field(tmp_path):
    out = tmp_path / "new" / "bench.json"
    words = ["--methods", "clip", "--batches", "8", "--peer-limit", "6", *TINY]
    words += ["--devices", "2", "--strategies", "ring", "--tiles", "2", "4"]
    words += ["--memory-batches", "64", "--resident-batch", "16", "--accuracy-modalities", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "gramalign", "bench", "--out", str(out), "--platform", "cpu"]
        + words,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for title in ("Speed:", "Work:", "Memory: temporary", "Memory: peak", "Accuracy:", str(out)):
        assert title in done.stdout
    assert max(map(len, done.stdout.replace(str(out), "").splitlines())) <= 100
    assert "2 devices" in done.stdout and "speed: clip, B = 8, float32: round 1" in done.stderr

    found = json.loads(out.read_text())
    parts = ["device_flops_per_second", "speed", "memory", "accuracy"]
    assert list(found) == ["machine", "plan", *parts]
    assert found["plan"]["batches"] == {"clip": [8]}
    machine = found["machine"]
    assert machine["versions"]["jax"] == jax.__version__
    assert machine["threads"] == 2 and machine["device_count"] == 2
    assert "gramalign bench --out" in machine["command"]
    assert machine["date"].endswith("+00:00")
    assert [(row["method"], row["tile"], row["strategy"]) for row in found["speed"]] == [
        ("clip", 2, "ring"),
        ("clip", 4, "ring"),
    ]
    for row in found["speed"]:
        assert row["seconds"] > 0 and row["peer_seconds"] is None  # above the peer's limit
        assert row["share_of_device"] is None  # nothing but a CPU's own products tells its rate
    memory = found["memory"]
    assert [row["method"] for row in memory["compiled"]] == ["clip"]
    assert [row["within_limit"] for row in memory["resident"]] == [True]
    assert len(found["accuracy"]) == len(accuracy.DISTANCES)
    assert set(found["accuracy"][0]["median_relative_error"]) == set(accuracy.METHODS)


def test_only_one_part():
    bench = Bench(only="accuracy", dim=16, accuracy_modalities=(2,))
    assert list(report.measure(bench.plan("cpu"))) == ["machine", "plan", "accuracy"]


def test_defaults_are_the_platforms():
    assert Bench().plan("cpu").batches["gram"] == (2048, 4096, 8192)
    assert Bench().plan("cpu").dtypes == ("float32",)
    assert {way.tile for way in Bench().plan("cpu").ways} == {Engine().tile_size()}
    for platform in ("gpu", "tpu"):
        plan = Bench().plan(platform)
        assert plan.dtypes == ("bfloat16",) and plan.peer_limit is None
        assert {65536, 262144} <= set(plan.batches["gram"])
    thirds = Bench(devices=3).plan("cpu")
    assert thirds.batches == {"gram": (2046, 4095, 8190), "pmrl": (255, 1023), "clip": (2046,)}
    several = Bench(devices=2, tiles=(64, 128)).plan("cpu")
    assert [(way.tile, way.strategy) for way in several.ways] == [
        (64, "gather"),
        (64, "ring"),
        (128, "gather"),
        (128, "ring"),
    ]


def test_all_methods_are_those_that_so_many_modalities_allow():
    plan = Bench(methods=("all",), modalities=3).plan("cpu")
    assert plan.methods == tuple(TERMS) and plan.batches["siglip"] == plan.batches["clip"]
    assert {*TERMS} - {*Bench(methods=("all",)).plan("gpu").methods} == {"triangle"}


def test_a_method_without_a_peer_or_a_floor(short_rounds):
    found = measure(methods=("alignment", "vast"), batches=(8,))
    alignment, vast = found["speed"]
    assert alignment["seconds"] > 0 and alignment["product_seconds"] is None
    assert vast["times_products"] > 0 and vast["peer_seconds"] is None
    text = " ".join(to_text(tables(found)).split())
    assert "n/a for alignment 8, vast 8: published code exists only for gram, pmrl, clip" in text


def test_tiles_above_the_batch_are_one_way(short_rounds):
    found = measure(methods=("clip",), batches=(8,), tiles=(4, 512, 1024), peer_limit=1)
    assert [row["tile"] for row in found["speed"]] == [4, 8]


def test_an_accelerator_has_a_rate_and_a_peak(short_rounds, monkeypatch):
    peaks = iter([10, 30, 30, 30])  # the second way needs no more than the first
    monkeypatch.setattr(device, "peak_bytes", lambda: next(peaks))
    monkeypatch.setattr(report, "SQUARE", 16)
    bench = Bench(only="speed", modalities=2, dim=16, repeats=1, methods=("clip",))
    plan = Bench.plan(
        Bench(**vars(bench) | {"batches": (16,), "tiles": (8, 16), "peer_limit": 1}), "gpu"
    )
    found = report.measure(plan)
    (rate,) = found["device_flops_per_second"].values()
    first, second = found["speed"]
    assert first["share_of_device"] == first["flops_per_second"] / rate
    assert (first["device_peak_bytes"], second["device_peak_bytes"]) == (30, None)
    text = to_text(tables(found))
    assert "Of device: " in text and "bfloat16" in text
    assert "Device peak: a device reports only its peak" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 100


def test_a_rate_that_cannot_be_measured_leaves_the_rows(short_rounds, monkeypatch):
    def fail(*_):
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    monkeypatch.setattr(report, "square_rate", fail)
    bench = Bench(only="speed", methods=("clip",), batches=(8,), modalities=2, dim=16, repeats=1)
    found = report.measure(dataclasses.replace(bench.plan("gpu"), peer_limit=1))
    assert found["device_flops_per_second"] == {"bfloat16": None}
    (row,) = found["speed"]
    assert row["seconds"] > 0 and row["share_of_device"] is None
    assert "Of device" not in to_text(tables(found))


def test_the_widest_tables_fit(short_rounds):
    row, _ = measure(methods=("clip",), batches=(8,), devices=2)["speed"]
    row |= {"method": max(TERMS, key=len), "batch": 262144, "dtype": "bfloat16"}
    row |= {"tile": 4096, "spread": [0, 3 * row["seconds"]]}
    row |= {"speedup": 1234.5, "agree": False, "loss_difference": 2.0, "share_of_device": 0.5}
    row |= {"peer_note": OUT_OF_MEMORY, "temporary_bytes": 999 * 2**20}
    row |= {"device_peak_bytes": 79 * 2**30, "times_products": 100.0}
    lost = {**row, "status": OUT_OF_MEMORY, "fastest": True}
    for other in ({}, {"strategy": "ring"}, {"strategy": "ring", "implementation": "pallas"}):
        text = to_text(tables({"speed": [row, {**lost, **other}]}))
        assert max(map(len, text.splitlines())) <= 100
        assert "\u2026" not in text  # what rich puts where it cuts
    for whole in (
        "same loss",
        "temporary",
        "262144",
        "bfloat16",
        "4096*",
        "1234.5x",
        "79.00 GiB",
    ):
        assert whole in text


def test_tables_say_what_was_not_measured(short_rounds, monkeypatch):
    found = measure(methods=("clip",), batches=(8, 16), peer_limit=1)
    monkeypatch.setattr(speed, "_ours", lambda *_, keep: (_ for _ in ()).throw(MemoryError()))
    full = measure(methods=("clip",), batches=(8,), peer_limit=1)
    text = " ".join(to_text(tables({"speed": found["speed"] + full["speed"]})).split())
    assert "n/a for clip 8, clip 16: " in text
    assert "no memory" in text
    if "torch is not installed" not in text:
        assert "the peer is not run above --peer-limit 1." in text


def test_the_peers_largest_batch_beside_ours(short_rounds, monkeypatch):
    rows = iter(
        [
            {"batch": 16, "ended_at": "out of memory", "seconds": 2.0, "peak_bytes": 2**30},
            {"batch": None, "ended_at": "out of memory", "seconds": None, "peak_bytes": None},
        ]
    )

    def search(method, modalities, dim, dtype, where, seconds):
        return {"method": method, "dtype": dtype, **next(rows)}

    monkeypatch.setattr(report.largest, "elsewhere", search)
    options = dict(methods=("clip", "pmrl"), modalities=2, dim=16, repeats=1, tiles=(4, 8))
    kept = []
    plan = Bench(only="peer-largest", **options).plan("gpu")
    told = report.measure(plan, keep=lambda found: kept.append(json.dumps(found)))
    found = told["peer_largest"]
    steps = [json.loads(text)["peer_largest"] for text in kept]
    # Nothing beside a peer that could hold no batch.
    ways = [[len(row["gramalign"]) for row in rows] for rows in steps]
    assert ways == [[0], [0, 0], [1, 0], [2, 0], [2, 0]]
    both = found[0]["gramalign"]
    assert [(row["batch"], row["tile"], row["seconds"] > 0) for row in both] == [
        (16, 4, True),
        (16, 8, True),
    ]
    both[0]["seconds"], both[1]["seconds"] = 0.5, 0.25
    text = " ".join(to_text(largest_table(found)).split())
    assert "clip bfloat16 16 2.00 s 1.00 GiB 250.00 ms 8 8.0x" in text
    assert "none" in text and "clip: out of memory" in text
    both[0] |= {"seconds": None, "status": OUT_OF_MEMORY}
    text = " ".join(to_text(largest_table([{**found[0], "gramalign": both[:1]}])).split())
    assert "no memory 4 n/a" in text


def test_problems():
    row = {"method": "gram", "batch": 8, "dtype": "float32", "tile": 8, "agree": False}
    row["status"] = "ok"
    wrong = {"speed": [{**row, "loss": 1.0, "peer_loss": 1.1}]}
    (problem,) = report.problems(wrong)
    assert problem == (
        "gram at B = 8 in float32, tile 8: the losses differ, 1.0 here and 1.1 in torch"
    )
    alone = {"speed": [{**row, "agree": None, "loss": float("nan")}]}
    assert report.problems(alone) == ["gram at B = 8 in float32, tile 8: the loss is nan"]
    beside = {"gramalign": [{**row, "agree": None, "status": "ValueError: no"}]}
    (problem,) = report.problems({"peer_largest": [beside, {"gramalign": []}]})
    assert problem == "gram at B = 8 in float32, tile 8: ValueError: no"
    resident = {"method": "gram", "batch": 9, "peak_bytes": 5, "limit_bytes": 4}
    large = {"memory": {"resident": [{**resident, "within_limit": False}]}}
    assert report.problems(large) == ["gram at B = 9 took 5 bytes, more than 4"]
    assert report.problems({"speed": [{**row, "agree": True, "loss": 1.0}]}) == []


def test_problems_end_the_command_with_status_1(short_rounds, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(report, "problems", lambda found: ["the losses differ"])
    out = tmp_path / "bench.json"
    with pytest.raises(SystemExit, match="bench: the losses differ"):
        main(["bench", "--only", "accuracy", "--accuracy-modalities", "2", "--out", str(out)])
    check_file("--out", out, "bench")  # may be replaced
    assert out.exists() and "Accuracy:" in capsys.readouterr().out


def test_options_are_checked_by_name(capsys):
    assert "--repeats must be at least 1, got 0" in complaint(capsys, "--repeats", "0")
    assert "--batches must be at least 2, got 8 1" in complaint(capsys, "--batches", "8", "1")
    assert "--tiles names a value twice: 8 8" in complaint(capsys, "--tiles", "8", "8")
    assert "--modalities must be at least 2, got 1" in complaint(capsys, "--modalities", "1")
    assert "--strategies applies to several" in complaint(capsys, "--strategies", "ring")
    words = ["--accuracy-modalities", "2", "900"]
    assert "--accuracy-modalities must be at most --dim 512" in complaint(capsys, *words)
    assert "--methods: nothing is not an objective" in complaint(capsys, "--methods", "nothing")
    with pytest.raises(ValueError, match="--methods: triangle needs exactly three modalities"):
        Bench(methods=("triangle",))
    with pytest.raises(ValueError, match="--methods: got none, expected at least one"):
        Bench(methods=())
    largest = ["--only", "peer-largest"]
    assert "--only peer-largest needs a GPU" in complaint(capsys, *largest)
    assert "give some of gram pmrl clip" in complaint(capsys, *largest, "--methods", "siglip")
    assert "pallas does not run on a cpu" in complaint(capsys, "--implementations", "pallas")
    words = ["--devices", "2", "--batches", "9"]
    assert "--batches 9 does not divide evenly over --devices 2: try 8" in complaint(capsys, *words)


def test_options_for_other_parts_are_refused(capsys):
    words = ["--only", "memory", "--devices", "4", "--methods", "pmrl", "--repeats", "3"]
    assert (
        "--only memory makes no use of --devices (for speed), --repeats (for speed, training, "
        "retrieval, peer-largest): leave these out, or --only"
    ) in " ".join(complaint(capsys, *words).split())
    Bench(only="retrieval", repeats=3, threads=1, platform="cpu")
    everywhere = {"only", "platform", "threads", "out"}
    assert {field.name for field in dataclasses.fields(Bench)} - everywhere == set(USED_BY)


def test_devices_that_are_not_there(monkeypatch):
    monkeypatch.setattr(device, "clear_backends", lambda: None)
    monkeypatch.setattr(device, "use_threads", lambda count: None)
    monkeypatch.setattr(jax.config, "update", lambda name, value: None)
    with pytest.raises(ValueError, match="--devices is 9, but JAX sees 8 x cpu"):
        start(None, 1, 9)
    with pytest.raises(ValueError, match=r"is tpu, but JAX finds no such .* 'gramalign.tpu.'"):
        start("tpu", 1, 1)

    def fails():
        raise RuntimeError("Unable to initialize backend\nand more")

    monkeypatch.setattr(jax, "default_backend", fails)
    with pytest.raises(ValueError, match=r"is rocm, .* \(Unable to initialize backend\)\. Leave"):
        start("rocm", 1, 1)
    with pytest.raises(ValueError, match="check JAX_PLATFORMS"):
        start(None, 1, 1)


def test_what_was_measured_before_an_error_is_kept(tmp_path, monkeypatch, short_rounds):
    once, out = speed.measure, tmp_path / "bench.json"

    def breaks(workload, *args, **settings):
        if workload.batch == 16:
            raise RuntimeError("the machine went away")
        return once(workload, *args, **settings)

    monkeypatch.setattr(speed, "measure", breaks)
    with pytest.raises(RuntimeError, match="went away"):
        main(
            ["bench", "--only", "speed", "--methods", "clip", "--batches", "8", "16", *TINY]
            + ["--out", str(out)]
        )
    assert [row["batch"] for row in json.loads(out.read_text())["speed"]] == [8]


def test_figures_are_json_whatever_they_are(tmp_path):
    write_figures(tmp_path / "a.json", {"loss": math.inf, "spread": [-math.inf, math.nan, 1.0]})
    written = (tmp_path / "a.json").read_text()
    assert json.loads(written) == {"loss": None, "spread": [None, None, 1.0]}


def test_a_folder_is_refused_before_anything_is_measured(tmp_path, capsys):
    assert "a folder, expected a file" in complaint(capsys, "--out", str(tmp_path))
