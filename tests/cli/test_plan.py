"""`gramalign plan` on a tiny store: what it prints, writes, and says when something is wrong."""

import json

import numpy as np
import pytest

from gramalign.cli import main
from gramalign.programs import topology
from tests.tpu import tpu

SMALL = ["--objective", "clip", "--steps", "30", "--optimizer.warmup", "3", "--model.dim", "8"]
SMALL += ["--model.hidden", "16", "--engine.tile", "64", "--topology", "v5e:2x2"]


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


@tpu
def test_tables_and_figures(store, tmp_path, capsys):
    out = tmp_path / "plans" / "plan.json"
    words = [*store, *SMALL, "--batch-size", "256", "--cap", "515", "--out", str(out)]
    main(["plan", *words])
    printed = capsys.readouterr().out
    for word in ("clip on v5e:2x2, 4 chips, batch 256", "temporary", "available", "15.75 GiB"):
        assert word in printed
    for word in ("matrix products", "all-gather", "not a measurement", "largest batch: "):
        assert word in printed
    assert max(map(len, printed.splitlines())) <= 100

    record = json.loads(out.read_text())
    assert record["topology"] == "v5e:2x2" and record["dims"] == {"sound": 6, "text": 7}
    assert record["config"]["batch_size"] == record["plan"]["batch_size"] == 256
    assert record["plan"]["bfloat16_flops"] > record["plan"]["flops"] > 0
    assert record["plan"]["memory"]["total"] < record["available"]
    assert {"all-gather", "all-reduce"} <= {c["kind"] for c in record["plan"]["collectives"]}
    assert record["largest"]["batch_size"] == 512 and record["largest"]["capped"]
    assert "largest batch: 512 fits" in printed and "none larger was tried" in printed


@tpu
def test_out_of_memory_is_a_table(store, tmp_path, capsys):
    out = tmp_path / "plan.json"
    words = [*store, *SMALL, "--batch-size", str(2**27), "--no-largest", "--out", str(out)]
    status, printed, complaints = stopped(capsys, *words)
    assert status == 1 and not complaints
    for word in ("out of memory", "needed", "15.75 GiB", "--microbatch", "--engine.strategy ring"):
        assert word in printed
    record = json.loads(out.read_text())
    assert record["plan"] is None
    assert record["out_of_memory"]["needed"] > record["available"]


@tpu
def test_errors_name_the_cure(store, capsys):
    status, _, complaint = stopped(capsys, *store, *SMALL, "--batch-size", "254")
    assert status == 2 and "--batch-size 252 or 256" in complaint
    status, _, complaint = stopped(capsys, *store, *SMALL, "--topology", "v9:2x2")
    assert status == 2 and "such as v5e:4x4" in complaint
    status, _, complaint = stopped(capsys, *store, *SMALL, "--attempts", "0")
    assert status == 2 and "--no-largest" in complaint


def test_without_libtpu(store, capsys, monkeypatch):
    monkeypatch.setattr(topology, "find_spec", lambda name: None)
    status, _, complaint = stopped(capsys, *store, *SMALL)
    assert status == 2 and "pip install 'gramalign[tpu]'" in complaint


def test_the_topology_has_to_be_named(capsys):
    status, _, complaint = stopped(capsys, "digits")
    assert status == 2 and "--topology" in complaint
