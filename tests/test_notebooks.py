"""Notebooks run from top to bottom, and are kept as they ran.

After a change: `jupyter nbconvert --to notebook --execute --inplace notebooks/*.ipynb`.
"""

import json
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import pytest

NOTEBOOKS = sorted(Path(__file__).parents[1].glob("notebooks/*.ipynb"))
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path):
    """Of code: what stands in each, the number it ran as, and its outputs."""
    found = [x for x in json.loads(path.read_text())["cells"] if x["cell_type"] == "code"]
    return [("".join(x["source"]), x["execution_count"], x["outputs"]) for x in found]


@pytest.mark.slow
@each
def test_cells_run_one_after_another(path, monkeypatch):
    plt.switch_backend("agg")
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    names: dict = {}
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # as readers do
        for source, _, _ in cells(path):
            exec(compile(source, str(path), "exec"), names)
    assert not plt.get_fignums(), "each picture is shown"


@each
def test_what_they_showed_is_kept(path):
    for place, (source, number, outputs) in enumerate(cells(path), 1):
        assert number == place
        kinds = [output["output_type"] for output in outputs]
        assert kinds.count("display_data") == source.count("plt.show()")
        assert ("stream" in kinds) == ("print(" in source) and "error" not in kinds


def test_there_are_some():
    assert NOTEBOOKS
