"""What the README shows is run, and what it lists is what there is.

`python -m tests.test_readme`, in the repository's root, writes the README's tables of methods anew.
"""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from gramalign import losses, normalize
from gramalign.cli.methods import markdown
from gramalign.methods import methods

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- methods: python -m tests.test_readme -->\n\n", "\n\n<!-- end of methods -->"


@pytest.mark.slow
def test_python_blocks_run_one_after_another(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # one of them writes a file
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) >= 3
    names: dict = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
    assert names["embeddings"].keys() == {"text", "audio", "video"}
    # Of a size at which jaxlib 0.10.2 makes NaN of some tiles on CPUs, for those who copy this one.
    rows = jax.random.normal(jax.random.key(0), (256, 64))
    copied = dict.fromkeys("abc", normalize(rows))
    assert jnp.isfinite(losses.clip(copied, anchor=None, score_of=names["Nearness"])).all()


def with_tables(text):
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + markdown(methods()) + END + after


def test_the_tables_of_methods_are_those_of_the_docstrings():
    text = README.read_text()
    assert text == with_tables(text), "run: python -m tests.test_readme"


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text()))
