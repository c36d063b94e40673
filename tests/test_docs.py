"""What the pages show is run, what they link to exists, and what they list is what there is.

`python -m tests.test_docs`, in the repository's root, writes the tables of methods anew.
"""

import re
import shlex
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gramalign import losses, normalize
from gramalign.cli.main import _read
from gramalign.cli.methods import markdown
from gramalign.methods import methods

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
LINKING = [*PAGES, *(str(x.relative_to(ROOT)) for x in sorted(ROOT.glob("experiments/**/*.md")))]
METHODS = ROOT / "docs" / "methods.md"
BEGIN, END = "<!-- methods: python -m tests.test_docs -->\n\n", "\n\n<!-- end of methods -->"


def without_code(text):
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def blocks_of(page):
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def run(page):
    names: dict = {}
    for block in blocks_of(page):
        exec(compile(block, page, "exec"), names)
    return names


WITH_BLOCKS = [page for page in PAGES if blocks_of(page)]


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_BLOCKS)
def test_python_blocks_of_a_page_run_one_after_another(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # some of them write files
    names = run(page)
    if page == "docs/losses.md":
        # Of a size at which jaxlib 0.10.2 makes NaN of some tiles on CPUs, for those who copy it.
        rows = jax.random.normal(jax.random.key(0), (256, 64))
        copied = dict.fromkeys("abc", normalize(rows))
        assert jnp.isfinite(losses.clip(copied, anchor=None, score_of=names["Nearness"])).all()
    if page == "docs/data.md":
        np.savez("a.npz", frames=np.ones((3, 4)), caption=np.ones(2))
        assert names["films"](".").dims == {"video": 4, "caption": 2}
    if page == "docs/training.md":
        tower = names["Signal"](6, 4, mean=np.zeros(6), std=np.ones(6), rngs=nnx.Rngs(0))
        rows = jax.ShapeDtypeStruct((*jax.export.symbolic_shape("rows"), 6), np.float32)
        jax.export.export(jax.jit(lambda x: tower(x)))(rows)  # as `gramalign stablehlo` does


def test_all_pages_with_python_are_known():
    assert {"README.md", "docs/data.md", "docs/losses.md", "docs/training.md"} <= set(WITH_BLOCKS)


def commands_of(page):
    """Those in blocks, but for the ones that name what a module of the reader's own would have."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    found = re.findall(r"^gramalign .*(?:\n  .*)*", "\n".join(blocks), re.MULTILINE)
    return [command for command in found if "mine:" not in command]


WITH_COMMANDS = [page for page in PAGES if commands_of(page)]


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_commands_of_a_page_are_understood(page):
    for command in commands_of(page):
        _read(shlex.split(command.replace("\n", " "), comments=True)[1:])


def test_all_pages_with_commands_are_known():
    assert {"README.md", "docs/data.md", "docs/training.md"} <= set(WITH_COMMANDS)


def anchors(text):
    """Of headings, as GitHub names them."""
    titles = re.findall(r"^#+ (.*)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", LINKING)
def test_links_of_a_page_lead_somewhere(page):
    path = ROOT / page
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", without_code(path.read_text())):
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


def test_the_readme_leads_to_every_page():
    text = (ROOT / "README.md").read_text()
    assert [page for page in PAGES if f"]({page})" not in text] == ["README.md"]


def with_tables(text):
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + markdown(methods()) + END + after


def test_the_tables_of_methods_are_those_of_the_docstrings():
    text = METHODS.read_text()
    assert text == with_tables(text), "run: python -m tests.test_docs"


if __name__ == "__main__":
    METHODS.write_text(with_tables(METHODS.read_text()))
