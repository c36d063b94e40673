import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gramalign.data import batches, load
from gramalign.training.layout import mesh_of, shardings
from gramalign.training.model import Model, split
from gramalign.training.moments import moments
from gramalign.training.optimizer import make_optimizer
from gramalign.training.state import init_state
from gramalign.training.step import is_logged, make_step
from tests.compilations import compilations
from tests.training.one_step import first_gradient


@pytest.fixture(scope="module")
def made(small_store, small_config):
    """A step, compiled once for all tests here, and what makes its input."""
    config = small_config(log_every=2)
    store = load(small_store).part("train")
    model = Model(config, store.dims, moments(store), rngs=nnx.Rngs(params=0))
    graphdef, params, fixed = split(model)
    tx = make_optimizer(config.optimizer, config.steps)
    mesh = mesh_of(config.layout)
    compiled = make_step(config, graphdef, tx, mesh)

    def step(state, batch):
        return compiled(state, fixed, batch)

    def new_state():
        state = init_state(jax.tree.map(jnp.copy, params), tx, jax.random.key(1))
        return jax.device_put(state, shardings(config.layout, mesh, state))

    return step, new_state, store


@pytest.fixture
def start(made):
    step, new_state, store = made
    return new_state(), step, batches(store, batch_size=16, seed=0)


def test_three_steps(start):
    state, step, data = start
    first, rng = jax.tree.map(np.asarray, state.params), np.asarray(jax.random.key_data(state.rng))
    rows = []
    for _ in range(3):
        donated = state
        with compilations() as compiled:
            state, metrics = step(state, next(data))
        rows.append({name: np.asarray(value) for name, value in metrics.items()})
        assert len(rows) == 1 or not compiled, "one compilation for one shape"

    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(donated.params))
    assert int(state.step) == 3
    np.testing.assert_array_equal(jax.random.key_data(state.rng), rng)
    # The learning rate of the first step of a warm-up is zero; the later ones move everything.
    moved = jax.tree.map(lambda old, new: (old != np.asarray(new)).any(), first, state.params)
    assert jax.tree.all(moved)
    assert all(row["finite"] for row in rows)
    assert set(rows[0]) == {
        *("loss", "loss/clip", "temperature/clip", "skipped"),
        *("grad_norm", "grad_norm/text", "grad_norm/audio"),
        *("finite", "finite/text", "finite/audio"),
        *("matched_volume", "mismatched_volume", "leading_share"),
    }
    # Diagnostics are computed at logged steps only.
    assert [float(row["leading_share"]) > 0.4 for row in rows] == [False, True, False]


def test_diagnostics_know_what_is_absent(start):
    state, step, data = start
    batch = next(data)
    for kind in ("present", "features"):
        batch[kind]["text"][:] = 0
    _, metrics = step(dataclasses.replace(state, step=jnp.int32(1)), batch)
    # There is no tuple, and a single vector would have all its length in one direction.
    assert metrics["leading_share"] == metrics["matched_volume"] == 0


def test_the_last_step_is_logged_as_well(small_config):
    config = small_config(steps=5, log_every=2)
    assert [step for step in range(1, 6) if is_logged(step, config)] == [2, 4, 5]


def test_dropout_differs_between_steps_and_not_between_runs(start):
    state, step, data = start
    batch = next(data)

    def loss_at(number):
        copy = dataclasses.replace(jax.tree.map(jnp.copy, state), step=jnp.int32(number))
        return float(step(copy, batch)[1]["loss"])

    assert loss_at(0) == loss_at(0) != loss_at(1)


def test_dropout_differs_between_rows(start):
    """Rows that are all the same come apart by nothing else."""
    state, step, data = start
    batch = next(data)
    for x in (*batch["features"].values(), *batch["present"].values()):
        x[:] = x[:1]
    assert all(mask.all() for mask in batch["present"].values())
    loss = float(step(state, batch)[1]["loss"])
    assert abs(loss - np.log(16)) > 1e-2


def test_dropout_augmentation_and_negatives_have_keys_of_their_own(small_config, monkeypatch):
    config = small_config(augment="dataclasses:replace")  # any function: it is not called
    seen = []

    def keep(key):
        jax.debug.callback(lambda x: seen.append(x.tolist()), jax.random.key_data(key))

    def augmented(augment, key, *batch):
        keep(key)
        return batch

    def objective(embeddings, *, key, **settings):
        keep(key)
        return sum(x.sum() for x in embeddings.values()), {}

    monkeypatch.setattr("gramalign.training.step.augmented", augmented)
    monkeypatch.setattr("gramalign.training.step.objective", objective)
    first_gradient(config, seed=1)
    jax.effects_barrier()
    of_step = jax.random.fold_in(jax.random.key(1), 0)
    of_rows = jax.vmap(jax.random.fold_in, (None, 0))(of_step, jnp.arange(config.batch_size))
    assert len(seen) == 2
    seen += [jax.random.key_data(of_step).tolist(), *jax.random.key_data(of_rows).tolist()]
    assert len({tuple(x) for x in seen}) == len(seen)


def test_the_rate_ends_with_the_run(small_config):
    config = dataclasses.replace(small_config().optimizer, warmup=4, weight_decay=0.0)
    tx = make_optimizer(config, steps=24)
    params = {"bias": jnp.ones(1)}
    opt_state, moved = tx.init(params), []
    for _ in range(25):
        updates, opt_state = tx.update({"bias": jnp.full(1, 1e-3)}, opt_state, params)
        moved.append(-float(updates["bias"][0]) / config.learning_rate)
    # Up to the peak after 4, half of it half the way from there, and nothing behind the last step.
    np.testing.assert_allclose(
        [moved[at] for at in (0, 2, 4, 14, 24)], [0, 0.5, 1, 0.5, 0], atol=1e-3
    )


def test_a_step_that_is_not_finite_changes_nothing_but_its_number(start):
    state, step, data = start
    kept = jax.tree.map(np.asarray, (state.params, state.opt_state))
    batch = next(data)
    batch["features"]["text"][3] = np.inf
    state, metrics = step(state, batch)
    assert not metrics["finite"] and not metrics["finite/text"] and metrics["finite/audio"]
    assert int(state.step) == int(state.skipped) == int(metrics["skipped"]) == 1
    jax.tree.map(np.testing.assert_array_equal, (state.params, state.opt_state), kept)
    state, metrics = step(state, next(data))
    assert metrics["finite"] and int(metrics["skipped"]) == 1


def test_only_matrices_decay(small_config):
    config = small_config().optimizer
    tx = make_optimizer(config, steps=12)
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2), "log_scale": jnp.ones(())}
    zeros = jax.tree.map(jnp.zeros_like, params)
    opt_state = tx.init(params)
    update = functools.partial(tx.update, zeros)
    _, opt_state = update(opt_state, params)
    updates, _ = update(opt_state, params)
    assert (updates["kernel"] < 0).all()
    assert (updates["bias"] == 0).all() and updates["log_scale"] == 0
    twice = make_optimizer(dataclasses.replace(config, weight_decay=2 * config.weight_decay), 12)
    _, opt_state = twice.update(zeros, twice.init(params), params)
    more, _ = twice.update(zeros, opt_state, params)
    np.testing.assert_allclose(more["kernel"], 2 * updates["kernel"], rtol=1e-6)
