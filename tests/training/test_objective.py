import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gramalign import losses
from gramalign.geometry import normalize
from gramalign.training import Clip, Config, Gram, Layout
from gramalign.training.layout import mesh_of
from gramalign.training.model import Learned
from gramalign.training.objective import objective

KEYS = jax.random.split(jax.random.key(0), 3)
EMBEDDINGS = {n: normalize(jax.random.normal(k, (8, 6))) for n, k in zip("abc", KEYS, strict=True)}
GROUPS = jnp.arange(8, dtype=jnp.int32)
MESH = mesh_of(Layout(data=1))


def learned_by(config):
    return {
        name: Learned(term, tuple(EMBEDDINGS), 6, rngs=nnx.Rngs(0))
        for name, term in config.terms.items()
    }


def compute(config, present=None, learned=None):
    return objective(
        EMBEDDINGS,
        present=present,
        groups=GROUPS,
        learned=learned or learned_by(config),
        key=jax.random.key(0),
        config=config,
        mesh=MESH,
    )


def test_the_total_is_the_weighted_sum_of_the_terms():
    total, terms = compute(Config(objective="pmrl + 0.3*clip"))
    assert list(terms) == ["loss/pmrl", "loss/clip"]
    expected = terms["loss/pmrl"] + 0.3 * terms["loss/clip"]
    np.testing.assert_allclose(total, expected, rtol=1e-6)


def test_a_term_passes_its_settings_on():
    settings = {"anchor": "b", "temperature": 0.2, "label_smoothing": 0.3}
    total, _ = compute(Config(settings={"gram": Gram(**settings)}))
    expected = losses.gram(EMBEDDINGS, groups=GROUPS, **settings).mean()
    np.testing.assert_allclose(total, expected, rtol=1e-6)


def test_a_learned_temperature_takes_the_place_of_the_first():
    config = Config(
        objective="clip", settings={"clip": Clip(temperature=0.5, learn_temperature=True)}
    )
    learned = learned_by(config)
    learned["clip"].numbers["temperature"].number[...] = -jnp.log(jnp.float32(0.1))
    total, _ = compute(config, learned=learned)
    expected = losses.clip(EMBEDDINGS, anchor=None, temperature=0.1, groups=GROUPS).mean()
    np.testing.assert_allclose(total, expected, rtol=1e-6)


def test_classes_are_the_groups_of_a_term_that_wants_them():
    labels = jnp.arange(8, dtype=jnp.int32) % 3
    config = Config(objective="supcon")
    learned = learned_by(config)
    given = {"present": None, "groups": GROUPS, "labels": labels, "key": jax.random.key(0)}
    total, _ = objective(EMBEDDINGS, **given, learned=learned, config=config, mesh=MESH)
    expected = config.terms["supcon"](EMBEDDINGS, groups=labels).mean()
    np.testing.assert_allclose(total, expected, rtol=1e-6)


def test_the_mean_is_over_those_who_take_part():
    present = {"a": jnp.arange(8) < 5}
    config = Config(objective="clip", settings={"clip": Clip(anchor="a")})
    total, _ = compute(config, present=present)
    values = losses.clip(EMBEDDINGS, anchor="a", groups=GROUPS, present=present)
    np.testing.assert_allclose(total, values[:5].mean(), rtol=1e-5)
