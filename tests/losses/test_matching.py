"""Matching against its formula in float64 NumPy, on any mesh, with a head of parameters."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gramalign import losses, normalize
from gramalign.contrast import Engine, hard_negatives
from gramalign.models import MatchingHead
from gramalign.scores import VolumeScore

B, NAMES = 24, ("text", "audio", "video")


@pytest.fixture(scope="module")
def embeddings():
    keys = jax.random.split(jax.random.key(0), len(NAMES))
    return {n: normalize(jax.random.normal(k, (B, 8))) for n, k in zip(NAMES, keys, strict=True)}


@pytest.fixture(scope="module")
def present():
    return {"audio": jnp.arange(B) % 3 != 0, "video": jnp.arange(B) % 4 != 0}


@pytest.fixture(scope="module")
def head():
    return MatchingHead(NAMES, 8, hidden=16, rngs=nnx.Rngs(0))


def test_the_head_multiplies_as_elsewhere(embeddings, monkeypatch):
    """Whatever the precision of pairs, also under another precision than JAX's own."""
    seen = []

    def head(embeddings, present):
        seen.append(jax.config.jax_default_matmul_precision)
        return jnp.sum(embeddings["text"] * embeddings["audio"], axis=1)

    narrow = Engine(precision="bfloat16")
    losses.matching(embeddings, head=head, anchor="text", engine=narrow)
    with jax.default_matmul_precision("highest"):
        losses.matching(embeddings, head=head, anchor="text", engine=narrow)
    assert set(seen[: len(seen) // 2]) == {None} and set(seen[len(seen) // 2 :]) == {"highest"}


def test_a_head_in_half_precision(embeddings, head):
    """Only the logits are rounded; the loss of them is not."""

    def halves(embeddings, present):
        return head(embeddings, present).astype(jnp.bfloat16)

    def rounded(embeddings, present):
        return halves(embeddings, present).astype(jnp.float32)

    found = losses.matching(embeddings, head=halves)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, losses.matching(embeddings, head=rounded))


def test_over_an_axis_beside_one_that_is_the_compiler_s(embeddings, head):
    mesh = jax.make_mesh((4, 2), ("data", "model"), (jax.sharding.AxisType.Auto,) * 2)
    whole = jax.shard_map(
        lambda x: losses.matching(x, head=head, anchor="text", axis_name="data"),
        mesh=mesh,
        axis_names={"data"},
        in_specs=jax.P("data"),
        out_specs=jax.P("data"),
    )
    exact = losses.matching(embeddings, head=head, anchor="text")
    np.testing.assert_allclose(jax.jit(whole)(embeddings), exact, rtol=1e-5)


def negatives(embeddings, anchor, present=None, **settings):
    score = VolumeScore(anchor)
    sides = score.rows(embeddings, present), score.cols(embeddings, present)
    return map(np.asarray, hard_negatives(score, *sides, **settings))


@pytest.mark.parametrize("key", [None, 1])
def test_the_formula(embeddings, present, head, key):
    """Each example's own negatives, and the mean over those there are."""
    key = None if key is None else jax.random.key(key)
    own = None if key is None else jax.random.fold_in(key, sorted(NAMES).index("text"))
    groups = np.arange(B, dtype=np.int32) // 8
    found = losses.matching(
        embeddings, head=head, key=key, present=present, groups=groups, temperature=0.5
    )
    others, texts = negatives(
        embeddings, "text", present, key=own, groups=jnp.asarray(groups), scale=2.0
    )
    masks = {"text": np.ones(B, bool)} | {n: np.asarray(x) for n, x in present.items()}

    def logits(text, rest):
        rows = {"text": text, "audio": rest, "video": rest}
        given = {n: embeddings[n][jnp.asarray(rows[n])] for n in NAMES}
        there = {n: jnp.asarray(masks[n][rows[n]]) for n in NAMES}
        return np.asarray(head(given, there), np.float64)

    here = np.arange(B)
    wanted, number = np.logaddexp(0, -logits(here, here)), np.ones(B)
    for numbers, logit in ((others, logits(here, others)), (texts, logits(texts, here))):
        wanted += np.where(numbers >= 0, np.logaddexp(0, logit), 0)
        number += numbers >= 0
    taking_part = masks["audio"] | masks["video"]
    assert not taking_part.all() and len({*others}) > 2
    np.testing.assert_allclose(found, np.where(taking_part, wanted / number, 0), rtol=2e-6)


def test_every_anchor_in_turn_draws_its_own(embeddings, head):
    key = jax.random.key(2)
    settings = {"head": head, "temperature": 10.0}  # nearly uniform draws
    each = [
        losses.matching(embeddings, anchor=n, key=key, **settings)
        for n in ("text", "audio", "video")
    ]
    all_ = losses.matching(embeddings, anchor=None, key=key, **settings)
    np.testing.assert_allclose(all_, sum(each) / 3, rtol=1e-5)
    drawn = [
        [*negatives(embeddings, "text", key=jax.random.fold_in(key, i), scale=0.1)]
        for i in range(2)
    ]
    assert (drawn[0][0] != drawn[1][0]).any() and (drawn[0][0] != drawn[0][1]).any()


def test_no_negatives_are_no_error(embeddings, head):
    one = jnp.zeros(B, jnp.int32)
    found = losses.matching(embeddings, head=head, groups=one)
    masks = {n: jnp.ones(B, bool) for n in NAMES}
    np.testing.assert_allclose(found, jax.nn.softplus(-head(embeddings, masks)), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["gather", "ring"])
def test_devices_change_neither_values_nor_gradients(embeddings, present, head, strategy):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split = losses.over_mesh(losses.matching, mesh)
    groups, weights = jnp.arange(B, dtype=jnp.int32) // 2, jnp.arange(1.0, B + 1)
    engine = Engine(strategy=strategy)

    def weighted(loss, embeddings, head):
        key = jax.random.key(3)
        given = {"present": present, "groups": groups, "key": key, "engine": engine}
        return jnp.vdot(weights, loss(embeddings, head=head, anchor=None, **given))

    one, other = (
        jax.jit(jax.value_and_grad(lambda e, h, f=f: weighted(f, e, h), argnums=(0, 1)))(
            embeddings, head
        )
        for f in (losses.matching, split)
    )
    assert all(jnp.abs(x).max() > 0 for x in jax.tree.leaves(one))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-5, atol=2e-6), one, other)


def test_the_gradient_is_the_finite_difference(embeddings, head):
    """Of two examples, each other's only negatives: what is drawn does not jump."""
    two = {n: x[:2] for n, x in embeddings.items()}

    def mean(embeddings, head):
        return losses.matching(embeddings, head=head, key=jax.random.key(4)).mean()

    rng = np.random.default_rng(0)
    direction = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), (two, head))
    slopes = jax.grad(mean, argnums=(0, 1))(two, head)
    both = zip(*map(jax.tree.leaves, (slopes, direction)), strict=True)
    slope = sum(jnp.vdot(a, b) for a, b in both)

    def moved(step):
        return mean(*jax.tree.map(lambda x, d: x + step * d, (two, head), direction))

    step = 1e-3
    np.testing.assert_allclose((moved(step) - moved(-step)) / (2 * step), slope, rtol=1e-2)


def test_memory_is_linear_in_the_batch(head):
    def temporary(size):
        like = {n: jax.ShapeDtypeStruct((size, 8), jnp.float32) for n in NAMES}
        mean = jax.grad(
            lambda e, h, key: losses.matching(e, head=h, key=key, engine=Engine(tile=256)).mean(),
            argnums=(0, 1),
        )
        key = jax.eval_shape(lambda: jax.random.key(0))
        return jax.jit(mean).lower(like, head, key).compile().memory_analysis().temp_size_in_bytes

    assert temporary(8192) < 2.3 * temporary(4096)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"head": None}, TypeError, "head must be a function .*MatchingHead, got None"),
        ({"head": lambda e, p: e["text"]}, ValueError, r"of shape \(24,\), got float32\[24,8\]"),
        ({"head": lambda e, p: p["text"]}, ValueError, r"one logit .*, got bool\[24\]"),
        ({"head": lambda e, p: (e["text"][:, 0], e)}, ValueError, "one logit .*, got tuple"),
        ({"anchor": "smell"}, ValueError, "anchor is 'smell', but the modalities are"),
        ({"score_of": "smell"}, ValueError, "score_of"),
        ({"key": 3}, TypeError, "key must be one JAX key"),
        ({"temperature": 0.0}, ValueError, "temperature must be positive"),
    ],
)
def test_what_is_refused(embeddings, head, changes, error, message, unchecked):
    with pytest.raises(error, match=message):
        losses.matching(embeddings, **{"head": head, **changes})


def test_rows_that_are_not_of_unit_length(embeddings, head):
    with pytest.raises(ValueError, match="rows of length 1"):
        losses.matching({**embeddings, "text": 2 * embeddings["text"]}, head=head)


def test_a_head_says_what_it_judges(embeddings, head):
    with pytest.raises(ValueError, match=re.escape("embeddings['video']: got none, expected")):
        head({n: embeddings[n] for n in ("text", "audio")})
    with pytest.raises(ValueError, match=re.escape("got (24, 3), expected [batch, 8]")):
        head({**embeddings, "audio": jnp.ones((24, 3))})
    for names in (("text",), ("text", "text")):
        with pytest.raises(ValueError, match="two or more, each once"):
            MatchingHead(names, 8, hidden=4, rngs=nnx.Rngs(0))


def test_the_head_is_its_formula(embeddings, head):
    vectors = [np.asarray(embeddings[name], np.float64) for name in NAMES]
    products = [8 * v * (sum(vectors) - v) for v in vectors]
    x = np.concatenate([*(np.sqrt(8) * v for v in vectors), *products], axis=1)
    y = x @ np.asarray(head.hidden.kernel[...])
    y = y / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3)))
    y = (y - y.mean(axis=1, keepdims=True)) / y.std(axis=1, keepdims=True)
    wanted = (y @ np.asarray(head.head.kernel[...]))[:, 0]
    np.testing.assert_allclose(head(embeddings), wanted, atol=1e-4)


def test_absent_modalities_count_as_zeros(embeddings, present, head):
    bad = {
        n: jnp.where(present[n][:, None], x, jnp.nan) if n in present else x
        for n, x in embeddings.items()
    }
    zeros = {n: jnp.nan_to_num(x) for n, x in bad.items()}
    np.testing.assert_array_equal(head(bad, present), head(zeros))


def test_a_head_judges_by_products():
    """It learns from signs alone, which no sum of functions of single embeddings can."""
    rng = np.random.default_rng(0)
    head = MatchingHead(("a", "b"), 4, hidden=32, rngs=nnx.Rngs(0))
    a, b = (jnp.asarray(rng.choice([-0.5, 0.5], (256, 4)), jnp.float32) for _ in range(2))
    target = jnp.sum(a * b, axis=1) > 0

    def loss(head):
        logits = head({"a": a, "b": b})
        return jnp.mean(jax.nn.softplus(jnp.where(target, -logits, logits)))

    step = jax.jit(lambda h: jax.tree.map(lambda x, g: x - 0.3 * g, h, jax.grad(loss)(h)))
    for _ in range(200):
        head = step(head)
    assert jnp.mean((head({"a": a, "b": b}) > 0) == target) > 0.98
