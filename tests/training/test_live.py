import io

import pytest
import rich.console

from gramalign.training.live import live

ROWS = [
    {"step": step, "grad_norm": 0.5, "loss": 2.0 / step, "loss/gram": 2.0, "temperature/gram": 0.07}
    for step in (50, 100)
]


@pytest.fixture
def clock(monkeypatch):
    times = iter([10.0, 12.0])
    monkeypatch.setattr("time.monotonic", lambda: next(times))


def show(term="xterm", width=120, more=None, **terminal):
    out = io.StringIO()
    console = rich.console.Console(file=out, width=width, _environ={"TERM": term}, **terminal)
    with live(200, console) as report:
        for row in ROWS:
            report(row | (more or {}))
    return out.getvalue()


def test_plain_lines_where_there_is_no_terminal(clock):
    waiting, first, second = show(more={"bias/siglip": -10.0}).splitlines()
    assert "compiling" in waiting
    learned = "bias/siglip -10  temperature/gram 0.07"
    assert first.startswith(f"step 50  loss 0.04  loss/gram 2  {learned}  grad norm 0.5")
    assert first.endswith("steps/s -  ETA -")
    assert second.endswith("steps/s 25  ETA 0:04")


@pytest.mark.parametrize("times, more", [([10.0, 10.0], {}), ([10.0, 12.0], {"step": 50})])
def test_no_rate_where_clock_or_step_has_not_moved(times, more, monkeypatch):
    monkeypatch.setattr("time.monotonic", iter(times).__next__)
    assert all(line.endswith("steps/s -  ETA -") for line in show(more=more).splitlines()[1:])


def test_a_table_on_a_terminal(monkeypatch):
    shown = show(force_terminal=True, legacy_windows=False)
    assert "temperature" in shown and "ETA" in shown and "0.02" in shown
    assert "\x1b[" in shown  # redrawn in place
    assert shown.count("temperature") == shown.count("ETA")  # one column for both rows
    assert "more in metrics.jsonl" not in shown


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_narrow_terminal_shows_whole_what_tells_most(width):
    modalities = ("text", "audio", "video", "depth", "touch")
    more = {f"grad_norm/{name}": 0.123456 for name in modalities} | {"matched_volume": 0.5}
    more["validation/rest -> one R@1, own"] = 12.3456
    shown = show(force_terminal=True, legacy_windows=False, width=width, more=more)
    assert "\u2026" not in shown  # what rich puts where it cuts
    assert "0.04" in shown and "0.02" in shown and "ETA" in shown
    assert "more in metrics.jsonl" in shown and "touch" not in shown
    assert ("12.35" in shown) == (width > 40)


def test_plain_lines_on_a_terminal_that_cannot_redraw(clock):
    shown = show(term="dumb", force_terminal=True)
    assert len(shown.splitlines()) == 3 and "\x1b[" not in shown


def test_names_of_modalities_stay_as_they_are(clock):
    more = {"grad_norm/$x_1$": 0.5, "matched_volume": 0.5}
    first = show(more=more).splitlines()[1]
    assert "grad norm/$x_1$ 0.5" in first and "matched volume 0.5" in first


@pytest.mark.parametrize("terminal", [False, True])
def test_names_are_never_markup(terminal, monkeypatch, capsys):
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "200")
    with live(200) as report:
        report({"step": 1, "loss": 1.0, "grad_norm/[b] video": 0.5, "grad_norm/:eye:": 0.5})
    out = capsys.readouterr().out
    assert "[b]" in out and ":eye:" in out
