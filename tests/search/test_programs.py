"""A search compiles once per shape, keeps its factors, and takes the memory of tiles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign import Index
from gramalign.programs.memory import memory
from gramalign.scores import Between, Side
from gramalign.search import index as index_module
from gramalign.search.programs import best, mesh_over
from tests import samples
from tests.compilations import compilations


def test_one_compilation_for_every_size_of_queries():
    rng = np.random.default_rng(0)
    index = Index(samples.embeddings(rng, 37, 7), devices=jax.devices()[:1])

    def ask(number, k, names="a"):
        index.search({m: samples.unit(rng, number, 7) for m in names}, k)

    with compilations() as found:
        ask(3, 3)
    assert len(found) == 2, "the gallery's factors, and the search"
    with compilations() as found:
        ask(2, 4)  # in the room of 4 queries and of 4 hits
        ask(4, 3)
        index.search({"c": samples.unit(rng, 3, 7)}, 3)  # against as many modalities
    assert not found
    with compilations() as found:
        ask(1, 3)
        ask(1, 4)
    assert len(found) == 1


def test_a_gallery_that_grows_a_little_compiles_nothing():
    rng = np.random.default_rng(0)
    query = {"a": samples.unit(rng, 1, 7)}
    index = Index(samples.embeddings(rng, 300, 7), devices=jax.devices()[:1])
    index.search(query, 3)
    for number in range(300, 304):
        index = index.joined(Index(samples.embeddings(rng, 1, 7), ids=[number]))
        with compilations() as found:
            index.search(query, 3)
        assert not found


def test_factors_are_made_once_for_a_score_and_a_gallery(monkeypatch):
    made, columns = [], index_module.columns

    def counted(score, *given, **settings):
        made.append(score)
        return columns(score, *given, **settings)

    monkeypatch.setattr(index_module, "columns", counted)
    rng = np.random.default_rng(0)
    index = Index(samples.embeddings(rng, 9, 4))
    query = {"a": samples.unit(rng, 2, 4)}
    for gallery in (None, ["b", "c"], ["c", "b"], None):
        index.search(query, 2, gallery=gallery)
    assert len(made) == 1
    index.search(query, 2, gallery=["b"])
    assert len(made) == 2
    index.forget()
    index.search(query, 2)
    assert len(made) == 3


def temporary_bytes(score, rows, queries):
    """Of the compiled search; nothing is run."""
    between = Between(score, ("query 0",), ("gallery 0", "gallery 1"))
    mesh = mesh_over(jax.devices()[:1])

    def shapes(names, number):
        return (
            {name: jax.ShapeDtypeStruct((number, 64), jnp.float32) for name in names},
            {name: jax.ShapeDtypeStruct((number,), bool) for name in names},
        )

    cols = jax.eval_shape(between.cols, *shapes(between.gallery, rows))
    assert isinstance(cols, Side)
    asked = shapes(between.query, queries)
    lowered = best.lower(between, *asked, cols, k=16, mesh=mesh, tile=1024)
    return memory(lowered.compile()).temporary


@pytest.mark.parametrize("score", ["cosine", "volume"])
def test_memory_is_that_of_tiles(score):
    small, large = (temporary_bytes(score, rows, 256) for rows in (2**15, 2**17))
    numbers = 4 * (2**17 - 2**15)
    assert large - small <= 1.1 * numbers, "besides tiles there is one integer for every row"
    assert large < 4 * 256 * 2**17 / 8, "less than an eighth of the score matrix"
