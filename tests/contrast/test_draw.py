"""Hard negatives: drawn as a softmax says, the same on any mesh and in any tiles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign import normalize
from gramalign.contrast import Engine, hard_negatives, rows_at, score_matrix
from gramalign.contrast.draw import _gumbel, _noise
from gramalign.scores import CosineScore, VolumeScore

B = 24


def embeddings(size=B, names="abc", dim=6):
    keys = jax.random.split(jax.random.key(0), len(names))
    return {
        n: normalize(jax.random.normal(k, (size, dim))) for n, k in zip(names, keys, strict=True)
    }


def mesh_of(devices):
    return jax.make_mesh((devices,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))


def drawn(score, emb, present=None, **settings):
    rows, cols = score.rows(emb, present), score.cols(emb, present)
    return hard_negatives(score, rows, cols, **settings)


@pytest.mark.parametrize("score", [CosineScore("a", "b"), VolumeScore("a")])
def test_without_a_key_the_hardest(score):
    emb = embeddings()
    matrix = np.array(score_matrix(score, score.rows(emb), score.cols(emb)))
    np.fill_diagonal(matrix, -np.inf)
    cols, rows = drawn(score, emb)
    np.testing.assert_array_equal(cols, matrix.argmax(axis=1))
    np.testing.assert_array_equal(rows, matrix.argmax(axis=0))


def test_members_of_a_group_and_the_absent_are_no_negatives():
    emb, groups = embeddings(), np.arange(B, dtype=np.int32) // 4
    present = {"a": np.arange(B) != 3, "b": np.arange(B) != 5}
    cols, rows = map(np.asarray, drawn(CosineScore("a", "b"), emb, present, groups=groups))
    assert cols[3] == -1 and rows[5] == -1
    assert (np.delete(cols, 3) >= 0).all() and (np.delete(rows, 5) >= 0).all()
    assert not (cols == 5).any() and not (rows == 3).any()
    for found in (cols, rows):
        assert (groups[found[found >= 0]] != groups[found >= 0]).all()
    one = jnp.zeros(B, jnp.int32)
    assert all((x == -1).all() for x in drawn(CosineScore("a", "b"), emb, groups=one))


@pytest.mark.parametrize("flipped", [0, 1])
def test_draws_follow_the_softmax(flipped):
    """Of 4000 keys; the largest deviation of 23 shares is within five standard errors."""
    score, emb, scale, number = CosineScore("a", "b"), embeddings(), 3.0, 4000
    matrix = np.array(score_matrix(score, score.rows(emb), score.cols(emb)), np.float64) * scale
    np.fill_diagonal(matrix, -np.inf)
    matrix = matrix.T if flipped else matrix
    wanted = np.exp(matrix) / np.exp(matrix).sum(axis=1, keepdims=True)
    keys = jax.random.split(jax.random.key(1), number)
    draw = jax.jit(jax.vmap(lambda key: drawn(score, emb, scale=scale, key=key)[flipped]))
    found = np.asarray(draw(keys))
    shares = (found[:, :, None] == np.arange(B)).mean(axis=0)
    error = np.sqrt(wanted * (1 - wanted) / number)
    np.testing.assert_array_less(np.abs(shares - wanted), 5 * error + 1e-9)
    # Two examples' draws are independent: a shared noise would make them agree or differ.
    both = np.mean((found[:, 0] == 2) & (found[:, 1] == 2))
    assert abs(both - wanted[0, 2] * wanted[1, 2]) < 0.01


def test_noise_is_gumbel_and_independent_of_pair_to_pair():
    n = 600
    numbers = jnp.arange(n, dtype=jnp.int32)
    noise = np.asarray(_gumbel(jax.random.key(5), numbers, numbers), np.float64)
    ordered = np.exp(-np.exp(-np.sort(noise.ravel())))  # its distribution function: uniform
    expected = (np.arange(n * n) + 0.5) / n**2
    assert np.abs(ordered - expected).max() < 2 / n  # Kolmogorov and Smirnov, p = 1e-3
    uniform = np.exp(-np.exp(-noise))
    for turned in (uniform, uniform.T):
        # Means of rows scatter as those of independent numbers, and so do products of two rows.
        scatter = np.var(turned.mean(axis=1)) * n * 12
        assert abs(scatter - 1) < 4 * np.sqrt(2 / n)
        centred = (turned - 0.5) * np.sqrt(12)
        correlation = (centred @ centred.T / np.sqrt(n))[np.triu_indices(n, 1)]
        assert abs(np.var(correlation) - 1) < 0.05 and np.abs(correlation).max() < 6
    cross = (uniform - 0.5) * (uniform.T - 0.5) * 12
    assert abs(cross[np.triu_indices(n, 1)].mean()) < 4 / np.sqrt(n * n / 2)


def test_noise_of_any_word_is_finite_and_exact():
    words = np.array([0, 1, 2, 1000, 2**20 + 1, 2**31, 2**32 - 2**9, 2**32 - 1], np.uint32)
    found = np.asarray(_noise(jnp.asarray(words)[None]))[0]
    wanted = -np.log(-np.log1p(-np.minimum((words + 0.5) / 2**32, 1 - 2**-24)))
    np.testing.assert_allclose(found[:-2], wanted[:-2], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found, wanted, rtol=1e-4)  # the least decide nothing
    assert (np.diff(found) <= 0).all() and found[0] > 22 and found[-1] > -3


@pytest.mark.parametrize("key", [None, 3])
@pytest.mark.parametrize("tile", [5, 7, 24])
def test_tiles_change_nothing(key, tile):
    key = None if key is None else jax.random.key(key)
    for one, other in zip(
        drawn(VolumeScore("a"), embeddings(), key=key, scale=5.0),
        drawn(VolumeScore("a"), embeddings(), key=key, scale=5.0, engine=Engine(tile=tile)),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("strategy", ["gather", "ring"])
@pytest.mark.parametrize("devices", [2, 8])
def test_devices_change_nothing(strategy, devices):
    emb, groups, key = embeddings(), jnp.arange(B, dtype=jnp.int32) // 2, jax.random.key(7)
    present = {"b": jnp.arange(B) % 5 != 0, "c": jnp.arange(B) % 7 != 0}
    engine = Engine(strategy=strategy, tile=2)

    def part(emb, present, groups, key, axis_name="data"):
        shared = {"axis_name": axis_name, "engine": engine}
        found = drawn(VolumeScore("a"), emb, present, groups=groups, key=key, scale=4.0, **shared)
        return *found, rows_at((emb["b"], groups), found[0], **shared)

    mesh = mesh_of(devices)
    split = jax.P("data")
    specs = (split, split, split, jax.P())
    mapped = jax.jit(jax.shard_map(part, mesh=mesh, in_specs=specs, out_specs=split))
    given = emb, present, groups, key
    jax.tree.map(np.testing.assert_array_equal, part(*given, axis_name=None), mapped(*given))


def test_memory_does_not_grow_with_the_score_matrix():
    score = VolumeScore("a")

    def temporary(size):
        emb = jax.eval_shape(lambda: embeddings(size, dim=32))
        draw = jax.jit(lambda e, key: drawn(score, e, key=key, engine=Engine(tile=256)))
        like = jax.eval_shape(lambda: jax.random.key(0))
        return draw.lower(emb, like).compile().memory_analysis().temp_size_in_bytes

    assert temporary(8192) < 2.2 * temporary(4096)
