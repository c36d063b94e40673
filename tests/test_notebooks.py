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
    return [x for x in json.loads(path.read_text())["cells"] if x["cell_type"] == "code"]


@each
def test_cells_run_one_after_another(path, monkeypatch):
    plt.switch_backend("agg")
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.get_fignums()) or plt.close("all"))
    names: dict = {}
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # as readers do
        for cell in cells(path):
            exec(compile("".join(cell["source"]), str(path), "exec"), names)
    assert shown == [[1]] * "".join("".join(cell["source"]) for cell in cells(path)).count("show()")


@each
def test_what_they_showed_is_kept(path):
    assert [cell["execution_count"] for cell in cells(path)] == [*range(1, len(cells(path)) + 1)]
    for cell in cells(path):
        source, kinds = "".join(cell["source"]), [x["output_type"] for x in cell["outputs"]]
        assert kinds.count("display_data") == source.count("plt.show()")
        assert ("stream" in kinds) == ("print(" in source) and "error" not in kinds


def test_there_are_some():
    assert NOTEBOOKS
