"""Under `jax.set_mesh`, as loops of one's own may be: split arrays, and what splits its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gramalign import (
    Index,
    leading_direction,
    losses,
    normalize,
    singular_values,
    volume,
)
from gramalign.contrast import Engine
from gramalign.evaluation import checked, devices, retrieve_both_ways, retrieve_by_label
from gramalign.models import Completion
from tests import every_loss, samples

MESH = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
SPLIT = jax.NamedSharding(MESH, jax.P("data"))
ROWS = samples.embeddings(np.random.default_rng(0), 8, 6, "abc")
EMBEDDINGS = samples.as_jax(ROWS)
PRESENT = {"b": jnp.arange(8) % 3 > 0}
SETTINGS = {"temperature": 0.1, "present": None, "groups": jnp.arange(8), "axis_name": None}
WITHOUT_PAIRS = {"alignment", "distance", "modality gap"}


def stack(embeddings):
    return jnp.stack([embeddings[m] for m in "ab"], axis=1)


def completion(embeddings, present):
    head = Completion(tuple("abc"), 6, rank=2, rngs=nnx.Rngs(0))
    return head(embeddings, present)


FUNCTIONS = {
    "alignment": lambda e, p: losses.alignment(e, present=p, power=1.0),
    "modality_gap": lambda e, p: losses.modality_gap(e, present=p),
    "masked_mean": lambda e, p: losses.masked_mean(e["a"][:, 0], losses.participants(e, p, "b")),
    "Completion": completion,
    "volume": lambda e, p: volume(stack(e)),
    "singular_values": lambda e, p: singular_values(stack(e)),
    "leading_direction": lambda e, p: leading_direction(stack(e), method="power"),
    "normalize": lambda e, p: normalize(2 * e["a"]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_rows_that_are_split_over_an_explicit_axis(name):
    @jax.jit
    def both(embeddings, present):
        def total(embeddings):
            values = FUNCTIONS[name](embeddings, present)
            return sum(jnp.sum(jnp.sin(x)) for x in jax.tree.leaves(values)), values

        return jax.grad(total, has_aux=True)(embeddings)

    exact = both(EMBEDDINGS, PRESENT)
    with jax.set_mesh(MESH):
        found = both(*jax.device_put((EMBEDDINGS, PRESENT), SPLIT))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), found, exact)


def test_outside_of_a_compiled_function():
    e, p = jax.device_put((EMBEDDINGS, PRESENT), SPLIT)
    exact = losses.participants(EMBEDDINGS, PRESENT, "b")
    found = losses.participants(e, p, "b")
    with jax.set_mesh(MESH):
        assert losses.participants(e, p, "b").tolist() == found.tolist() == exact.tolist()
        # Masks from elsewhere.
        assert losses.participants(e, PRESENT, "b").tolist() == exact.tolist()
        assert losses.masked_mean(e["a"][:, 0], np.asarray(exact)).shape == ()
    assert found.sharding.spec == jax.P("data")


@pytest.mark.parametrize("name", sorted(every_loss.EVERY.keys() - WITHOUT_PAIRS))
def test_losses_that_compare_examples_say_how(name):
    names = every_loss.modalities_of(name)
    rows = samples.embeddings(np.random.default_rng(0), 8, 6, names)
    split = jax.device_put(samples.as_jax(rows), SPLIT)
    with jax.set_mesh(MESH), pytest.raises(ValueError, match=r"wrap the loss, losses.over_mesh"):
        every_loss.EVERY[name](split, **SETTINGS, engine=Engine())


def calls():
    index, data = Index(ROWS), checked(ROWS)
    query = {"a": ROWS["a"][:3]}
    forth, back = retrieve_both_ways(data, ["a"], ["b", "c"], "cosine")
    hits = index.search(query, k=2, where=np.arange(8) % 2 == 0)
    labelled = retrieve_by_label(data, np.arange(8) % 3, ["a"], ["b"], "cosine")
    return [hits.scores, hits.numbers, forth.ranks, back.ranks, np.array(labelled.recall[1])]


def test_what_divides_its_rows_by_itself(monkeypatch):
    monkeypatch.setattr(devices, "ROWS_PER_DEVICE", 2)
    exact = calls()
    with jax.set_mesh(MESH):
        found = calls()
        assert jax.sharding.get_abstract_mesh() == MESH.abstract_mesh
    for x, y in zip(found, exact, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6)
