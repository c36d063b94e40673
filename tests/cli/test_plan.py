"""`gramalign plan` on a tiny store: what it prints, writes, and says when something is wrong."""

import json
from dataclasses import replace

import numpy as np
import pytest

from gramalign.cli import main
from gramalign.cli.plan_tables import largest_line, refused_table, title, verdict
from gramalign.cli.targets import check_file
from gramalign.contrast import Engine
from gramalign.programs import tpus
from gramalign.programs.chips import CHIPS
from gramalign.programs.collectives import Collective
from gramalign.programs.memory import Memory, OutOfMemory
from gramalign.programs.traffic import Traffic
from gramalign.training import Config, Layout
from gramalign.training import plan as planned
from gramalign.training.largest import Largest
from tests.compilers import cuda, tpu

SMALL = ["--objective", "clip", "--steps", "30", "--optimizer.warmup", "3", "--model.dim", "8"]
SMALL += ["--model.hidden", "16", "--engine.tile", "64"]
SLICE = ["--topology", "v5e:2x2"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Twenty rows, fewer than any batch that is planned here."""
    path = tmp_path_factory.mktemp("plan") / "store.npz"
    rng = np.random.default_rng(0)
    widths = {"sound": 6, "text": 7}
    np.savez(path, **{n: rng.normal(size=(20, w)).astype(np.float32) for n, w in widths.items()})
    return ["--data", str(path)]


def stopped(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main(["plan", *words])
    printed = capsys.readouterr()
    return stop.value.code, printed.out, printed.err


@pytest.mark.slow
@pytest.mark.parametrize(
    "topology, pieces, available",
    [
        pytest.param("v5e:2x2", "4 chips", "15.75 GiB", marks=tpu),
        pytest.param("h100:4", "4 GPUs", "59.74 GiB", marks=cuda),
    ],
)
def test_tables_and_figures(topology, pieces, available, store, tmp_path, capsys, monkeypatch):
    for name in ("XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION"):
        monkeypatch.delenv(name, raising=False)
    out = tmp_path / "plans" / "plan.json"
    words = [*store, *SMALL, "--topology", topology, "--batch-size", "256", "--cap", "515"]
    main(["plan", *words, "--out", str(out)])
    printed = capsys.readouterr().out
    for word in (f"clip on {topology}, {pieces}, batch 256", "temporary", "available", available):
        assert word in printed
    for word in (
        "matrix products",
        "memory traffic",
        "all-gather",
        "published peaks",
        "not measured",
        "largest batch: ",
    ):
        assert word in printed
    assert max(map(len, printed.splitlines())) <= 100
    assert "could not be read" not in printed

    check_file("--out", out, "plan")  # may be replaced
    record = json.loads(out.read_text())
    assert record["topology"] == topology and record["dims"] == {"sound": 6, "text": 7}
    assert record["config"]["batch_size"] == record["plan"]["batch_size"] == 256
    assert record["plan"]["bfloat16_flops"] > record["plan"]["flops"] > 0
    assert record["plan"]["traffic"]["exact"] and record["plan"]["traffic"]["moved"] > 0
    assert record["plan"]["memory"]["total"] < record["available"]
    assert {"all-gather", "all-reduce"} <= {c["kind"] for c in record["plan"]["collectives"]}
    assert record["largest"]["batch_size"] == 512 and record["largest"]["capped"]
    assert "largest batch: 512 fits" in printed and "no larger one was tried" in printed


@cuda
def test_a_gpu_is_out_of_memory_by_what_jax_takes_of_it(store, capsys, monkeypatch):
    monkeypatch.setenv("XLA_CLIENT_MEM_FRACTION", "1e-5")
    words = [*store, *SMALL, "--topology", "a100:1", "--batch-size", "8192", "--no-largest"]
    status, printed, complaints = stopped(capsys, *words)
    assert status == 1 and not complaints
    assert "838.9 KiB" in printed and "needed on each" in printed


@tpu
def test_out_of_memory_is_a_table(store, tmp_path, capsys, monkeypatch):
    def refuse(*_):
        raise OutOfMemory("no", 20 * 2**30)

    monkeypatch.setattr("gramalign.cli.plan.plan", refuse)
    out = tmp_path / "plan.json"
    words = [*store, *SMALL, *SLICE, "--no-largest", "--out", str(out)]
    status, printed, complaints = stopped(capsys, *words)
    assert status == 1 and not complaints
    for word in ("out of memory", "needed", "15.75 GiB", "--microbatch"):
        assert word in printed
    record = json.loads(out.read_text())
    assert record["plan"] is None
    assert record["out_of_memory"]["needed"] > record["available"]


@pytest.mark.parametrize(
    ("parts", "model", "strategy", "offered"),
    [(1, 1, "gather", False), (4, 1, "gather", True), (1, 4, "gather", True), (4, 1, None, False)],
)
def test_a_ring_is_a_cure_of_what_is_gathered_from_others(parts, model, strategy, offered):
    """Where nothing is said, what does not fit is a ring already."""
    config = Config(batch_size=8, engine=Engine(strategy), layout=Layout(model=model))
    table = refused_table(OutOfMemory("no"), config, "v5e:2x2", parts, 2**30)
    assert any("ring" in cell for cell in table.columns[1].cells) == offered


@pytest.mark.parametrize(
    ("refused", "capped", "told"),
    [(None, True, "no larger one was tried"), (64, True, "64 does not"), (None, False, "may")],
)
def test_the_largest_batch_says_how_sure_it_is(refused, capped, told):
    assert told in largest_line(Largest(32, 5, refused, capped), 10)


@tpu
def test_errors_name_the_cure(store, capsys):
    status, _, complaint = stopped(capsys, *store, *SMALL, *SLICE, "--batch-size", "254")
    assert status == 2 and "--batch-size 252 or 256" in complaint
    status, _, complaint = stopped(capsys, *store, *SMALL, "--topology", "v9:2x2")
    assert status == 2 and "such as v5e:4x4" in complaint
    status, _, complaint = stopped(capsys, *store, *SMALL, *SLICE, "--attempts", "0")
    assert status == 2 and "--no-largest" in complaint
    status, _, complaint = stopped(capsys, *store, *SMALL, *SLICE, "--cap", "0")
    assert status == 2 and "cap is 0" in complaint
    status, _, complaint = stopped(
        capsys, *store, *SLICE, "--steps", "0", "--optimizer.warmup", "0"
    )
    assert status == 2 and "steps is 0, expected at least 1" in complaint


@tpu
def test_groups_that_cannot_be_read_are_told(store, capsys, monkeypatch):
    """A program that is written as none is today costs a line and not the plan."""
    known = Collective("all-reduce", True, 5, 100, True)
    found = planned.Plan(
        batch_size=256,
        devices=4,
        chip=CHIPS["TPU v5 lite"],
        memory=Memory(1, 2, 3, 4),
        flops=10,
        bfloat16_flops=20,
        traffic=Traffic(30),
        collectives=(known, replace(known, unread=3)),
    )
    monkeypatch.setattr("gramalign.cli.plan.plan", lambda *_: found)
    main(["plan", *store, *SMALL, *SLICE, "--no-largest"])
    assert (
        "groups of 3 collectives could not be read: counted over all devices"
        in capsys.readouterr().out
    )


def test_one_gpu_has_nothing_to_communicate():
    chip = CHIPS["NVIDIA H200"]
    alone = planned.Plan(8, 1, chip, Memory(1, 2, 3, 4), 10, 20, Traffic(30), ())
    assert title(Config(objective="clip"), alone, "h200:1") == "clip on h200:1, 1 GPU, batch 8"
    assert verdict(alone).splitlines() == [
        "nothing to communicate",
        "rings from published peaks, not measured",
        "h200: 989 TFLOP/s, 4800 GB/s of memory, a link of 450 GB/s",
    ]


def test_links_are_those_of_a_whole_torus_which_is_told_where_chips_communicate():
    sums = (Collective("all-reduce", True, 5, 100, True),)
    chips = CHIPS["TPU v5 lite"], CHIPS["NVIDIA H200"]
    plans = [
        planned.Plan(8, 4, chip, Memory(1, 2, 3, 4), 10, 20, Traffic(30), found)
        for chip, found in ((chips[0], sums), (chips[0], ()), (chips[1], sums))
    ]
    told = ["not measured; a chip of a small slice has fewer links" in verdict(x) for x in plans]
    assert told == [True, False, False]


def test_without_libtpu(store, capsys, monkeypatch):
    monkeypatch.setattr(tpus, "find_spec", lambda name: None)
    status, _, complaint = stopped(capsys, *store, *SMALL, *SLICE)
    assert status == 2 and "pip install 'gramalign[tpu]'" in complaint


def test_the_topology_has_to_be_named(capsys):
    status, _, complaint = stopped(capsys, "digits")
    assert status == 2 and "--topology" in complaint
