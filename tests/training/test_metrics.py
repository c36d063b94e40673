import math

import pytest

from gramalign.training.metrics import MetricsLog, read_metrics

ROWS = [{"step": step, "loss": 1 / step} for step in (2, 4, 6)]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path) as log:
        for row in ROWS:
            log.write(row)
    return path


def test_each_line_is_there_as_soon_as_it_is_written(tmp_path):
    with MetricsLog(tmp_path / "log") as log:
        log.write(ROWS[0])
        assert read_metrics(tmp_path / "log") == ROWS[:1]


def test_opening_drops_later_lines_and_appends(path):
    with MetricsLog(path, last_step=4) as log:
        assert read_metrics(path) == ROWS[:2]
        log.write(ROWS[2])
    assert read_metrics(path) == ROWS


@pytest.mark.parametrize("torn", [b'{"step": 8, "lo', b'{"step": 8}'])
def test_a_line_cut_short_is_dropped(path, torn):
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    with MetricsLog(path, last_step=100):
        assert path.read_bytes() == whole


@pytest.mark.parametrize("line", [b"\0\0\0\n", b"[]\n", b'{"loss": 1}\n'])
def test_a_damaged_line_is_named(path, line):
    path.write_bytes(line + path.read_bytes())
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"jsonl: line 1 is damaged .* delete it"):
        MetricsLog(path, last_step=100)
    assert path.read_bytes() == before


@pytest.mark.parametrize("line", [b"\0\0\0\n", b"[]\n", b"\xff\n", b'{"a": 1}\n'])
def test_a_damaged_line_is_told_with_its_file(path, line):
    path.write_bytes(line + path.read_bytes())
    with pytest.raises(ValueError, match="jsonl: line 1 is damaged .* delete it"):
        read_metrics(path)


def test_a_new_run_starts_with_an_empty_log(path):
    with MetricsLog(path):
        assert read_metrics(path) == []


def test_numbers_that_are_not_finite_are_null(path):
    with MetricsLog(path, last_step=6) as log:
        log.write({"step": 8, "loss": float("nan"), "grad_norm": float("inf")})
    assert path.read_text().endswith('{"step": 8, "loss": null, "grad_norm": null}\n')
    assert math.isnan(read_metrics(path)[-1]["loss"])
