"""Each degenerate space is warned of in words, and a healthy one is not."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.evaluation import checked, diagnose, evaluate, tables, to_text
from gramalign.evaluation.modality_figures import repeated_rows
from gramalign.evaluation.retrieval import retrieval_figures
from gramalign.evaluation.tuple_sizes import size_factors
from gramalign.scores import CosineScore
from tests import samples

NAMES = ("text", "audio", "video")
ROWS, DIM = 32, 16


def healthy():
    return samples.embeddings(np.random.default_rng(0), ROWS, DIM, NAMES, 0.5)


def warnings_of(embeddings, **options):
    return {
        item.kind: item
        for item in diagnose(checked(embeddings, **options), neighbours=False).warnings
    }


def constant_rows(x, share):
    changed = x["text"].copy()
    changed[: round(share * ROWS)] = x["text"][-1]
    return {**x, "text": changed}


def nearly(one, distance):
    rng = np.random.default_rng(1)
    return samples.normalized(one + distance * samples.unit(rng, *one.shape)).astype(np.float32)


def overridden(x):
    """Every third tuple of others is closer than texts are to theirs, but does not coincide."""
    third = (np.arange(ROWS) % 3 == 0)[:, None]
    text = samples.unit(np.random.default_rng(2), ROWS, DIM).astype(np.float32)
    apart = samples.unit(np.random.default_rng(3), ROWS, DIM).astype(np.float32)
    return {**x, "text": text, "video": np.where(third, nearly(x["audio"], 0.5), apart)}


CASES = {
    "collapsed to a point": lambda x: {**x, "text": nearly(np.tile(x["text"][:1], (ROWS, 1)), 0.2)},
    "collapsed to a line": lambda x: {
        **x,
        "text": x["text"][:1] * np.where(np.arange(ROWS) % 2, -1, 1).astype(np.float32)[:, None],
    },
    "repeated": lambda x: constant_rows(x, 0.2),
    "opposed": lambda x: {**x, "text": -x["text"]},
    "coincident": lambda x: {**x, "video": nearly(x["audio"], 0.03)},
    "overriding": overridden,
}


def test_a_healthy_space_has_none():
    assert warnings_of(healthy()) == {}
    assert "Warnings" not in to_text(tables(evaluate(healthy(), score="volume")))


@pytest.mark.parametrize("kind", CASES)
def test_each_is_told_of_whom_it_concerns(kind):
    found = warnings_of(CASES[kind](healthy()))[kind]
    expected = {"opposed": {"text - audio", "text - video"}}.get(kind, {"text"})
    assert set(found.figures) == expected
    for name in expected:
        assert name in found.sentence


def test_figures_of_what_is_repeated():
    repeated = constant_rows(healthy(), 0.25)
    found = warnings_of(repeated)["repeated"]
    assert found.figures == {"text": 9 / 32} and "text 28%" in found.sentence
    # One video of many captions is one thing, however many rows it has.
    groups = np.where(np.arange(ROWS) < 8, 31, np.arange(ROWS))
    assert "repeated" not in warnings_of(repeated, groups=groups)
    # Nor does it hide what other groups have in common.
    silent = healthy()
    silent["text"][:8], silent["text"][8:12] = silent["text"][0], silent["text"][9]
    assert warnings_of(silent, groups=np.where(np.arange(ROWS) < 8, 31, np.arange(ROWS)))[
        "repeated"
    ].figures == {"text": 4 / 24}
    silent["text"][:12] = silent["text"][0]
    assert warnings_of(silent, groups=np.where(np.arange(ROWS) < 8, 31, np.arange(ROWS)))[
        "repeated"
    ].figures == {"text": 5 / 24}
    # Rounding to bfloat16 makes no difference to what is one vector.
    rng = np.random.default_rng(0)
    noisy = {**repeated, "text": repeated["text"] + 1e-5 * rng.normal(size=(ROWS, DIM))}
    assert warnings_of(noisy)["repeated"].figures == found.figures


@pytest.mark.parametrize("dim", [2, 256, 1024])
def test_copies_may_differ_by_noise_in_any_dim(dim):
    rng = np.random.default_rng(0)
    rows = samples.unit(rng, 200, dim)
    near = rows[0] + 4e-4 * samples.unit(rng, 100, dim)  # any two less than 1e-3 apart
    # Of some others many are near, but none as near as that.
    rows[:100], rows[100:180] = near, rows[100] + 0.01 * samples.unit(rng, 80, dim)
    found = repeated_rows(checked({"text": rows, "audio": rows}))
    assert 0.5 <= found["text"] <= (0.5 if dim > 2 else 0.53)


def test_absent_rows_are_not_repeated():
    present = {"text": np.arange(ROWS) % 2 == 0}
    assert repeated_rows(checked(healthy(), present))["text"] == 0


def test_they_are_printed():
    embeddings = CASES["opposed"](healthy())
    text = to_text(tables(evaluate(embeddings, score="volume")))
    assert "Warnings" in text and "text - audio 100%" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 100


def with_gaps(rows=300):
    """A space in which the cosine finds tuples of one modality nearly as well as those of two."""
    rng = np.random.default_rng(4)
    present = {name: rng.random(rows) < 0.6 for name in NAMES[1:]}
    return samples.embeddings(rng, rows, 64, NAMES, 0.8), present


def uneven(score, embeddings, present, **fused):
    found = evaluate(embeddings, present, score=score, neighbours=False, **fused)
    found = found.diagnostics.warnings
    return next((item for item in found if item.kind == "uneven"), None)


@pytest.mark.parametrize("score", ["volume", "volume(form='root')", "spectral", "product"])
def test_a_score_that_ranks_tuples_by_their_size(score):
    embeddings, present = with_gaps()
    found = uneven(score, embeddings, present)
    assert found.figures["text"] > 3 and "text" in found.sentence and "cosine" in found.sentence
    assert uneven(score, embeddings, None) is None
    # Two sizes, but too few of one to say anything.
    rarely = {"audio": np.arange(300) >= 10}
    assert uneven(score, embeddings, rarely) is None


def test_a_fusion_is_not_told_to_use_what_it_does_not_train():
    embeddings, present = with_gaps()
    less = np.where(np.all([*present.values()], axis=0), 1.0, 0.2)[:, None]
    noise = np.random.default_rng(5).normal(size=(300, 64))
    fused = {"text": less * np.asarray(embeddings["text"]) + (1 - less) * noise}
    others = {name: np.asarray(x) for name, x in embeddings.items() if name != "text"}
    fused |= {name: np.asarray(embeddings["text"]) for name in others}
    found = uneven("fused", embeddings, present, fused=fused)
    assert found.figures["text"] > 3 and "how many modalities" in found.sentence
    assert "complete tuples only" in found.sentence and "height" not in found.sentence


@pytest.mark.parametrize("score", ["cosine", "aggregate", "height"])
def test_a_score_with_one_scale_for_all_sizes(score):
    assert uneven(score, *with_gaps()) is None


@pytest.mark.parametrize("noise", [1.0, 3.0])
def test_a_score_that_is_as_fair_as_the_cosine_but_worse(noise):
    """They find the match first for 82 and 12 % of queries, the cosine for all."""

    @dataclasses.dataclass(frozen=True)
    class Noisy(CosineScore):
        """The cosine of what noise was added to."""

        def rows(self, embeddings, present=None):
            return super().rows(
                {
                    name: x + noise * jax.random.normal(jax.random.key(0), x.shape) / 8
                    for name, x in embeddings.items()
                },
                present,
            )

        def matched(self, embeddings, present=None):
            rows, cols = self.rows(embeddings, present), self.cols(embeddings, present)
            return jnp.sum(rows.factors * cols.factors, axis=1)

    assert uneven(Noisy, *with_gaps()) is None


def test_how_much_deeper_one_size_ranks():
    embeddings, present = with_gaps()
    data = checked(embeddings, present)
    found = retrieval_figures(data, "volume") + retrieval_figures(data, "cosine")
    audio, video = (np.where(present[name], 1, 0) for name in NAMES[1:])
    text, *others = (np.asarray(embeddings[name], np.float64) for name in NAMES)
    others[0] *= audio[:, None]
    others[1] *= video[:, None]
    cosines = [text @ other.T for other in others]
    between = np.sum(others[0] * others[1], axis=1)
    # 1 + 2abc - a^2 - b^2 - c^2, which is that of the pair where the other one is 0.
    volumes = 1 + 2 * cosines[0] * cosines[1] * between - cosines[0] ** 2 - cosines[1] ** 2
    sums = others[0] + others[1]
    sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
    size = audio + video
    depth = []
    for scores in (-(volumes - between**2), text @ sums.T):
        scores[:, size == 0] = -np.inf
        logs = np.log(np.sum(scores >= np.diag(scores)[:, None], axis=1))
        depth.append(logs[size == 1].mean() - logs[size == 2].mean())
    assert depth[0] > depth[1]
    factors = size_factors(data, found, "volume")
    assert factors["text"] == pytest.approx(np.exp(depth[0] - depth[1]), rel=0.02)
    assert size_factors(data, found, "cosine")["text"] == 1


def test_too_few_modalities_or_matches_have_no_factor():
    embeddings, _ = with_gaps(30)
    data = checked(embeddings)
    factors = size_factors(data, retrieval_figures(data, "cosine"), "cosine")
    assert set(factors) == set(NAMES) and np.isnan(list(factors.values())).all()
    pair = checked({name: embeddings[name] for name in NAMES[:2]})
    assert size_factors(pair, retrieval_figures(pair, "cosine"), "cosine") == {}


def test_uneven_ranks_are_printed():
    embeddings, present = with_gaps()
    text = to_text(tables(evaluate(embeddings, present, score="volume")))
    assert "how many modalities they have" in " ".join(text.split())
