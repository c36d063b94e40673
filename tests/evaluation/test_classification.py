import json
from dataclasses import asdict

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, top_k_accuracy_score

from gramalign.evaluation import (
    FUSED,
    SCORE_NAMES,
    Classification,
    bootstrap_interval,
    class_figures,
    class_prompts,
    classification_table,
    classify,
    classify_by_prompts,
    labelled,
    linear_probe,
    nearest_neighbours,
    probe,
    prompts_of,
    to_text,
)
from tests import every_score

NAMES = ("text", "audio", "video")


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    """Of which each takes long in Python; how many there are is none of these tests' business."""
    monkeypatch.setattr(class_figures, "_RESAMPLES", 200)


LABELS = np.array([-7, 3, 12, 40, 41, 90, 91])  # neither from 0 nor without gaps


def rows(rng, examples, *, noise=0.8, gaps=0.0, names=NAMES, groups=None, classes=LABELS):
    """Rows about one centre for each class, every class at least once."""
    centres = np.random.default_rng(9).normal(size=(len(LABELS), 6))
    number = rng.permutation(np.arange(examples) % len(classes))
    embeddings = {
        name: (centres[number] + noise * rng.normal(size=(examples, 6))).astype(np.float32)
        for name in names
    }
    present = {name: rng.random(examples) >= gaps for name in names}
    return labelled(embeddings, classes[number], present, groups)


@pytest.mark.parametrize("score", ["cosine", "height"])
def test_rows_of_zeros_are_wrong(score):
    centres = np.eye(7, dtype=np.float32)
    prompts = class_prompts("words", centres, LABELS)
    embeddings = {name: np.where(np.arange(7)[:, None] == 2, 0, centres) for name in NAMES[:2]}
    test = labelled(embeddings, LABELS)
    found = classify_by_prompts(test, prompts, score=score)
    assert found.rows == 7 and found.ranks is not None
    assert np.flatnonzero(found.ranks != 1).tolist() == [2]
    nearest = nearest_neighbours(labelled({"text": centres}, LABELS), test, ("text",), k=1)
    assert nearest.rows == 7 and round(nearest.accuracy[1].value) == 86


def dense(score, prompts, test, names, truth):
    """Ranks by the rule, from the whole score matrix in float64."""
    classes, examples = len(prompts.classes), len(test)
    filler = np.zeros((max(classes, examples), 6))
    anchor, others, masks = filler.copy(), {}, {}
    anchor[:classes] = prompts.directions
    for name in names:
        others[name] = filler.copy()
        others[name][:examples] = test.data.embeddings[name]
        masks[name] = np.zeros(len(filler), bool)
        masks[name][:examples] = test.data.present[name]
    masks[every_score.ANCHOR] = np.ones(len(filler), bool)
    of_score = every_score.definition(score)
    matrix = of_score({every_score.ANCHOR: anchor, **others}, masks, every_score.ANCHOR)
    matrix = matrix[:classes, :examples].T
    return (matrix >= np.take_along_axis(matrix, truth[:, None], 1)).sum(axis=1)


@pytest.mark.parametrize("score", SCORE_NAMES)
def test_prompts_rank_classes_as_the_dense_score_does(score):
    rng = np.random.default_rng(1)
    train, test = rows(rng, 60), rows(rng, 60, gaps=0.3)
    prompts = prompts_of(train, "text")
    found = classify_by_prompts(test, prompts, score=score)
    truth = np.searchsorted(LABELS, test.labels)
    expected = dense(score, prompts, test, ("audio", "video"), truth)
    there = test.there(("audio", "video"))
    assert found.rows == there.sum() < 60
    np.testing.assert_array_equal(found.ranks, np.where(there, expected, 0))
    assert found.accuracy[5].value == pytest.approx(100 * np.mean(expected[there] <= 5))
    assert found.chance == {1: pytest.approx(100 / 7), 5: pytest.approx(500 / 7)}


def test_prompts_are_means_of_directions():
    train = rows(np.random.default_rng(0), 50, gaps=0.2)
    prompts = prompts_of(train, "audio")
    there = train.data.present["audio"]
    for label, direction in zip(prompts.classes, prompts.directions, strict=True):
        total = train.data.embeddings["audio"][there & (train.labels == label)].sum(axis=0)
        np.testing.assert_allclose(direction, total / np.linalg.norm(total), rtol=1e-5)
    long = class_prompts("text", np.array([[9.0, 0.0], [0.0, 2.0]]), np.array([1, 1]))
    np.testing.assert_allclose(long.directions, [[0.5**0.5] * 2], rtol=1e-6)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(2)
    train, test = rows(rng, 60), rows(rng, 60)

    def every():
        found = classify_by_prompts(test, prompts_of(train, "text"), score="volume")
        return found, nearest_neighbours(train, test, NAMES)

    whole = every()
    monkeypatch.setattr("gramalign.evaluation.class_figures._BLOCK", 25 * len(LABELS))
    for once, again in zip(whole, every(), strict=True):
        np.testing.assert_array_equal(once.ranks, again.ranks)
        np.testing.assert_equal(asdict(once), asdict(again))  # NaN as NaN


@pytest.mark.parametrize("k, temperature", [(9, 0.1), (60, 2.0)])
@pytest.mark.parametrize("names", [("audio",), NAMES])
def test_neighbours_vote_as_in_numpy(names, k, temperature):
    rng = np.random.default_rng(3)
    train, test = rows(rng, 60, gaps=0.3), rows(rng, 60, gaps=0.3)
    found = nearest_neighbours(train, test, names, k=k, temperature=temperature)

    def directions(part):
        total = sum(part.data.embeddings[name].astype(np.float64) for name in names)
        length = np.linalg.norm(total, axis=1, keepdims=True)
        return total / np.where(length == 0, 1, length)

    kept = train.there(names)
    cosines = directions(test) @ directions(train)[kept].T
    for i in np.flatnonzero(test.there(names)):
        nearest = np.argsort(-cosines[i], kind="stable")[:k]
        votes = [
            np.exp(cosines[i, nearest] / temperature)[train.labels[kept][nearest] == label].sum()
            for label in LABELS
        ]
        own = votes[np.flatnonzero(test.labels[i] == LABELS)[0]]
        assert found.ranks[i] == sum(vote >= own for vote in votes)
        if np.argmax(votes) == np.searchsorted(LABELS, test.labels[i]):
            assert found.predicted[i] == test.labels[i]
    assert found.rows == test.there(names).sum()
    assert found.settings == {"k": min(k, kept.sum()), "temperature": temperature}


@pytest.mark.parametrize("classes", [LABELS, LABELS[:2]])
def test_the_probe_is_a_logistic_regression_of_the_training_rows(classes):
    rng = np.random.default_rng(4)
    train, validation, test = (
        rows(rng, n, gaps=0.2, noise=1.5, classes=classes) for n in (80, 60, 60)
    )
    found = linear_probe(train, test, NAMES, validation=validation)

    def sides(part):
        kept = part.there(NAMES)
        return part.side_by_side(NAMES)[kept].astype(np.float64), part.labels[kept]

    right = [
        LogisticRegression(C=c, max_iter=1000).fit(*sides(train)).score(*sides(validation))
        for c in probe.STRENGTHS
    ]
    # Fits that start elsewhere may differ by a row.
    place = probe.STRENGTHS.index(found.settings["C"])
    assert right[place] >= max(right) - 1.5 / 60
    model = LogisticRegression(C=found.settings["C"], max_iter=1000).fit(*sides(train))
    np.testing.assert_array_equal(found.predicted[test.there(NAMES)], model.predict(sides(test)[0]))
    assert found.accuracy[1].value == pytest.approx(100 * model.score(*sides(test)))
    if len(classes) > 2:
        logits = model.decision_function(sides(test)[0])
        top = top_k_accuracy_score(sides(test)[1], logits, k=5, labels=model.classes_)
        assert found.accuracy[5].value == pytest.approx(100 * top)


def test_rounding_does_not_move_the_probe(monkeypatch):
    """Along most directions rows hardly differ, and there a weak fit has a long way to go."""
    monkeypatch.setattr(probe, "STRENGTHS", (1e3,))
    rng = np.random.default_rng(0)
    labels = np.arange(900) % 15
    centres = rng.normal(size=(15, 16))[labels]
    spread = (0.6 * centres + rng.normal(size=(900, 16))) / np.arange(1, 17) + 2 * np.eye(16)[0]

    def predicted(noise):
        x = spread / np.linalg.norm(spread, axis=1, keepdims=True) + noise
        train, test = (
            labelled({"text": x[part]}, labels[part]) for part in (slice(300), slice(300, None))
        )
        found = linear_probe(train, test, ("text",))
        assert found.settings == {"C": 1e3, "converged": 1}
        return found.predicted

    once = predicted(0)
    for _ in range(3):
        again = predicted(1e-7 * rng.normal(size=spread.shape))
        np.testing.assert_array_equal(once, again)


def test_test_rows_do_not_choose_the_probe():
    rng = np.random.default_rng(5)
    train, test = rows(rng, 80, noise=2), rows(rng, 60, noise=2)
    shuffled = labelled(test.data.embeddings, rng.permutation(test.labels))
    settings = [linear_probe(train, part, NAMES).settings for part in (test, shuffled)]
    assert settings[0] == settings[1]


def test_rows_without_the_modality_do_not_choose_the_probe():
    train = rows(np.random.default_rng(5), 80, noise=2)
    validation = labelled({"text": np.zeros((7, 6))}, LABELS, {"text": np.zeros(7, bool)})
    of_none, of_these = (
        linear_probe(train, train, ("text",), validation=x) for x in (None, validation)
    )
    assert of_none.settings == of_these.settings and of_none.accuracy == of_these.accuracy


def test_copies_of_a_row_do_not_choose_the_probe():
    """What is learned by heart is right of copies, and here nothing else can be learned."""
    rng = np.random.default_rng(0)
    labels = np.repeat(rng.integers(0, 2, 40), 4)
    copies = {"text": np.repeat(rng.normal(size=(40, 30)), 4, axis=0)}
    alone, together = labelled(copies, labels), labelled(copies, labels, None, np.arange(160) // 4)
    assert linear_probe(alone, alone, ("text",)).settings["C"] > 1
    assert linear_probe(together, alone, ("text",)).settings["C"] == probe.STRENGTHS[0]


def test_of_strengths_that_are_equal_the_stronger_is_taken():
    eye = labelled({"text": np.repeat(np.eye(4), 10, axis=0)}, np.repeat(np.arange(4), 10))
    found = linear_probe(eye, eye, ("text",))
    assert found.accuracy[1].value == 100 and found.settings["C"] == probe.STRENGTHS[0]


def test_parts_are_stratified_and_groups_stay_whole():
    labels = np.repeat([5, 2, 9], [20, 11, 3])
    held = np.array(list(probe._held_out(labels, np.arange(34))))
    assert (held.sum(axis=0) == 1).all() and len(held) == probe.PARTS
    for label in (5, 2):
        counts = held[:, labels == label].sum(axis=1)
        assert counts.max() - counts.min() <= 1
    groups = np.repeat(np.arange(17), 2)
    held = np.array(list(probe._held_out(np.repeat([1, 2], 17), groups)))
    assert (held[:, ::2] == held[:, 1::2]).all()


def test_neighbours_of_a_low_temperature_vote_in_order_of_their_distance():
    rng = np.random.default_rng(5)
    train, test = rows(rng, 60, noise=2), rows(rng, 60, noise=2)
    found = nearest_neighbours(train, test, ("audio",), k=60, temperature=1e-6)
    cosines = test.data.embeddings["audio"] @ train.data.embeddings["audio"].T
    nearest = np.stack([cosines[:, train.labels == label].max(axis=1) for label in LABELS], axis=1)
    own = nearest[test.labels[:, None] == LABELS]
    np.testing.assert_array_equal(found.ranks, (nearest >= own[:, None]).sum(axis=1))


def test_figures_are_those_of_scikit_learn_and_scipy():
    rng = np.random.default_rng(6)
    train, test = rows(rng, 60, noise=2), rows(rng, 60, noise=2, gaps=0.2)
    found = nearest_neighbours(train, test, ("video",))
    kept = test.data.present["video"]
    true, predicted = test.labels[kept], found.predicted[kept]
    hits = int((true == predicted).sum())
    wilson = stats.binomtest(hits, len(true)).proportion_ci(method="wilson")
    assert found.accuracy[1].value == pytest.approx(100 * hits / len(true))
    assert found.accuracy[1].low == pytest.approx(100 * wilson.low)
    assert found.accuracy[1].high == pytest.approx(100 * wilson.high)
    expected = 100 * f1_score(true, predicted, average="macro", zero_division=0)
    assert found.macro_f1.value == pytest.approx(expected)
    assert found.macro_f1.low < expected < found.macro_f1.high
    values, counts = np.unique(train.labels, return_counts=True)
    most = values[np.argmax(counts)]
    assert found.majority == pytest.approx(100 * np.mean(true == most))


def test_repeated_rows_in_groups_are_no_more_evidence():
    rng = np.random.default_rng(7)
    train, test = rows(rng, 60, noise=2), rows(rng, 60, noise=2)
    tenfold = labelled(
        {name: np.repeat(x, 10, axis=0) for name, x in test.data.embeddings.items()},
        np.repeat(test.labels, 10),
        groups=np.repeat(np.arange(60), 10),
    )
    one, ten = (nearest_neighbours(train, part, NAMES) for part in (test, tenfold))
    for figure in (lambda x: x.accuracy[1], lambda x: x.macro_f1):
        once, again = figure(one), figure(ten)
        assert again.value == pytest.approx(once.value)
        assert again.high - again.low == pytest.approx(once.high - once.low, rel=0.15)


def test_groups_that_are_all_right_are_as_sure_as_so_many_rows():
    eye = np.eye(2, dtype=np.float32)
    train = labelled({"text": eye}, np.array([0, 1]))
    pairs = labelled({"text": eye[np.arange(40) % 2]}, np.arange(40) % 2, None, np.arange(40) // 4)
    found = nearest_neighbours(train, pairs, ("text",)).accuracy[1]
    wilson = stats.binomtest(10, 10).proportion_ci(method="wilson")
    assert (found.value, found.high) == (100, 100) and found.low == pytest.approx(100 * wilson.low)
    alone = labelled({"text": eye[np.zeros(4, int)]}, np.zeros(4, int), None, np.zeros(4, int))
    result = nearest_neighbours(train, alone, ("text",))
    assert np.isnan([result.accuracy[1].low, result.macro_f1.high]).all()


@pytest.mark.parametrize(
    "size, number, share", [(300, 1500, 0.6), (100, 300, 0.9), (10, 100, 0.97), (3, 60, 0.8)]
)
def test_the_interval_of_macro_f1_holds_what_all_rows_would_give(size, number, share):
    """Draws miss classes of few rows, and lie below the figure: their percentiles do not do."""

    def predicted(rng, number):
        true = rng.integers(0, size, number)
        return true, np.where(rng.random(number) < share, true, rng.integers(0, size, number))

    rng = np.random.default_rng(0)
    true, said = predicted(rng, 400_000)
    limit = 100 * f1_score(true, said, average="macro")
    held = 0
    for _ in range(40):
        true, said = predicted(rng, number)
        test = labelled({"text": np.ones((number, 1), np.float32)}, true)
        found = class_figures.class_figures(
            lambda rows, said=said: np.eye(size)[said[rows]],
            np.arange(size),
            test,
            np.ones(number, bool),
            classifier="probe",
            modalities=("text",),
            majority=None,
            settings={},
        ).macro_f1
        assert found.low <= found.value <= found.high
        held += found.low <= limit <= found.high
    assert held >= 35, held


def test_draws_that_lack_a_class_are_means_over_the_others():
    rng = np.random.default_rng(1)
    true = rng.integers(0, 8, 20)
    said = np.where(rng.random(20) < 0.5, true, rng.integers(0, 8, 20))

    def macro_f1(drawn):
        t, p = true[drawn.astype(int)], said[drawn.astype(int)]
        each = [2 * np.sum((t == c) & (p == c)) / np.sum([t == c, p == c]) for c in {*t, *p}]
        return 100 * np.mean(each)

    rows = np.arange(20.0)
    wanted = bootstrap_interval(rows, statistic=macro_f1, method="centred", resamples=200)
    found = class_figures._macro_f1(true, said, np.arange(20))
    ends = [wanted.estimate, wanted.low, wanted.high]
    assert [found.value, found.low, found.high] == pytest.approx(ends)


def test_the_interval_of_macro_f1_ends_at_0_and_100():
    """Centred, it would reach beyond them where nearly all rows are wrong, or right."""
    true = np.arange(8) % 2
    one = np.arange(8) == 0
    ends = []
    for right in (one, ~one):
        found = class_figures._macro_f1(true, np.where(right, true, 1 - true), np.arange(8))
        ends.append((found.low, found.high))
    assert ends[0][0] == 0 and ends[1][1] == 100


@pytest.mark.parametrize("classes, at", [(2, [1]), (5, [1]), (6, [1, 5])])
def test_among_as_many_as_there_are_every_row_would_be_right(classes, at):
    same = labelled({"text": np.eye(classes, dtype=np.float32)}, np.arange(classes))
    assert list(nearest_neighbours(same, same, ("text",)).accuracy) == at


def test_a_perfect_space_and_a_collapsed_one():
    eye = np.eye(len(LABELS), dtype=np.float32)
    perfect = labelled(dict.fromkeys(NAMES[:2], np.repeat(eye, 3, 0)), np.repeat(LABELS, 3))
    for each in classify(perfect, perfect, score="cosine").all:
        assert (each.accuracy[1].value, each.macro_f1) == (100, each.accuracy[1])
        assert each.accuracy[1].high == 100 and 80 < each.accuracy[1].low < 90
    same = labelled(dict.fromkeys(NAMES[:2], np.ones((21, 7), np.float32)), np.repeat(LABELS, 3))
    for score in ("cosine", "volume"):
        found = classify_by_prompts(same, prompts_of(same, "text"), score=score)
        assert (found.accuracy[1].value, found.accuracy[5].value) == (0, 0)


def test_a_class_without_a_row_of_the_modality_is_named_and_wrong():
    rng = np.random.default_rng(8)
    train, test = rows(rng, 60), rows(rng, 60, noise=0.1)
    present = {**train.data.present, "text": train.labels != 12}
    train = labelled(train.data.embeddings, train.labels, present)
    for found in (
        classify_by_prompts(test, prompts_of(train, "text"), score="cosine"),
        nearest_neighbours(train, test, ("text",)),
        linear_probe(train, test, ("text",)),
    ):
        assert (found.unknown, found.rows, found.classes) == ((12,), 60, 6)
        known = 1 - np.mean(test.labels == 12)
        assert found.accuracy[5].value <= 100 * known + 1e-6
        assert found.chance == {k: pytest.approx(100 * known * k / 6) for k in (1, 5)}
        assert (found.predicted[test.labels == 12] != 12).all()
    result = classify(train, test, score="cosine", prompts="text")
    assert len(result.prompts) == 1
    assert "classes 12 have no training row with text, so their" in " ".join(
        to_text(classification_table(result)).split()
    )


def test_a_modality_that_training_lacks_has_no_figures_rather_than_wrong_ones():
    rng = np.random.default_rng(8)
    train, test = rows(rng, 60), rows(rng, 60)
    present = {**train.data.present, "audio": np.zeros(60, bool)}
    train = labelled(train.data.embeddings, train.labels, present)
    result = classify(train, test, score="volume")
    text = to_text(classification_table(result))
    for each in (*result.prompts, *result.probe, *result.neighbours):
        alone = each.modalities == ("audio",) or each.prompts == "audio"
        assert np.isnan(each.accuracy[1].value) == np.isnan(each.macro_f1.value) == alone
        assert each.rows == (0 if alone else 60)
    assert "n/a" in text and "nan" not in text
    json.dumps(result.to_json(), allow_nan=False)


def test_what_is_known_of_training_rows_is_so_of_all_classifiers():
    rng = np.random.default_rng(4)
    train, test = rows(rng, 62, noise=2), rows(rng, 60, noise=2, classes=LABELS[1:])
    others = labelled(rows(rng, 40).data.embeddings, rng.permutation(np.resize(LABELS, 40)))
    found = classify(train, test, score="cosine", validation=others)
    most = 100 * np.mean(test.labels == train.most_frequent)
    assert train.most_frequent != test.most_frequent
    assert [x.majority for x in found.all] == pytest.approx([most] * len(found.all))
    chosen = linear_probe(train, test, NAMES, validation=others)
    assert found.probe[-1] == chosen != linear_probe(train, test, NAMES)


def test_given_prompts_are_zero_shot_and_one_modality_is_enough():
    rng = np.random.default_rng(10)
    centres = np.random.default_rng(9).normal(size=(len(LABELS), 6))
    prompts = class_prompts("words", np.repeat(centres, 2, axis=0), np.repeat(LABELS, 2))
    train, test = rows(rng, 60, names=("image",)), rows(rng, 60, noise=0.1, names=("image",))
    result = classify(train, test, score="volume", prompts=prompts)
    assert result.zero_shot and [each.name for each in result.prompts] == [
        "words prompts -> image, volume",
        "words prompts -> image, cosine",
    ]
    assert all(each.accuracy[1].value == 100 for each in result.prompts)
    assert not classify(train, test, score="volume").prompts
    with pytest.raises(ValueError, match="have no prompt: 90, 91; give each a prompt"):
        classify(train, test, score="cosine", prompts=class_prompts("w", centres[:5], LABELS[:5]))
    with pytest.raises(ValueError, match="got dim 3, expected that of the embeddings, 6"):
        classify(train, test, score="cosine", prompts=class_prompts("w", centres[:, :3], LABELS))


def test_fused_tuples_are_classified_by_what_they_were_fused_to():
    rng = np.random.default_rng(11)
    train, test = rows(rng, 60), rows(rng, 60)
    fused = {"text": test.direction(("audio", "video"))}
    with_fused = labelled(test.data.embeddings, test.labels, fused=fused)
    prompts = prompts_of(train, "text")
    one, other = (
        classify_by_prompts(with_fused, prompts, score=score) for score in (FUSED, "cosine")
    )
    np.testing.assert_array_equal(one.ranks, other.ranks)
    assert classify_by_prompts(with_fused, prompts_of(train, "audio"), score=FUSED).rows == 0
    with pytest.raises(ValueError, match="for audio, video, but none are fused; expected"):
        classify_by_prompts(test, prompts, score=FUSED)


def test_records_come_back_and_the_table_holds_them():
    rng = np.random.default_rng(12)
    result = classify(rows(rng, 60), rows(rng, 60, noise=1.5), score="volume")
    again = Classification.from_json(json.loads(json.dumps(result.to_json(), allow_nan=False)))
    assert again == result
    text = to_text(classification_table(result))
    assert text == to_text(classification_table(again))
    assert max(map(len, text.splitlines())) <= 100 and "…" not in text
    for each in result.all:
        accuracy = each.accuracy[1]
        assert f"{accuracy.value:.1f} [{accuracy.low:.1f}, {accuracy.high:.1f}]" in text
    assert len(result.prompts) == 6 and len(result.probe) == len(result.neighbours) == 4
    assert len(result.predictions()) == 2 * len(result.all)


def test_placed_counts_ties_and_nan_against_the_row():
    scores = np.array([[1, 1, 0], [np.nan, 0, 1], [0, np.nan, 1], [0, 1, 2.0]])
    ranks, best = class_figures.placed(scores, np.array([0, 0, 2, -1]))
    assert ranks.tolist() == [2, 3, 2, 4]
    assert best.tolist() == [1, 2, 1, 2]


@pytest.mark.parametrize(
    "labels", [LABELS.astype(np.int8), LABELS.astype(str), jnp.asarray(LABELS)]
)
def test_labels_of_any_kind(labels):
    eye = np.eye(len(LABELS), dtype=np.float32)
    part = labelled({"text": eye}, labels)
    result = classify(part, part, score="cosine", prompts=class_prompts("words", eye, labels))
    assert all(each.accuracy[1].value == 100 for each in result.prompts)
    json.dumps(result.to_json(), allow_nan=False)


def test_errors_name_what_is_wrong():
    rng = np.random.default_rng(13)
    train, test = rows(rng, 60), rows(rng, 60)
    fewer = rows(rng, 60, classes=LABELS[:4])
    with pytest.raises(
        ValueError, match=r"of classes that no training row has: 41, 90, 91; move some"
    ):
        classify(fewer, test, score="cosine")
    with pytest.raises(ValueError, match="got 60 rows of one class, -7"):
        classify(rows(rng, 60, classes=LABELS[:1]), test, score="cosine")
    with pytest.raises(ValueError, match="train: got text, audio, but test has"):
        classify(rows(rng, 60, names=NAMES[:2]), test, score="cosine")
    with pytest.raises(ValueError, match="'smell', expected one of text, audio, video"):
        classify(train, test, score="cosine", prompts="smell")
    with pytest.raises(ValueError, match="score: got 'direction'"):
        classify(train, test, score="direction")
    with pytest.raises(ValueError, match="k: got 0"):
        nearest_neighbours(train, test, NAMES, k=0)
    with pytest.raises(ValueError, match="temperature: got 0"):
        nearest_neighbours(train, test, NAMES, temperature=0.0)
    with pytest.raises(ValueError, match="test: got no modality but the prompts', text;"):
        classify_by_prompts(
            rows(rng, 9, names=("text",)), prompts_of(train, "text"), score="cosine"
        )
    with pytest.raises(ValueError, match="expected a row and a label for each prompt of text"):
        class_prompts.__wrapped__("text", np.ones((1, 2)), np.arange(3))
    with pytest.raises(ValueError, match="smell, expected some of text, audio, video"):
        nearest_neighbours(train, test, ("smell",))
    with pytest.raises(ValueError, match="no prompt of text"):
        class_prompts("text", np.zeros((0, 4), np.float32), LABELS[:0])
    with pytest.raises(ValueError, match="holds NaN"):
        class_prompts("text", np.full((1, 4), np.nan), LABELS[:1])
    with pytest.raises(ValueError, match="prompts of text for b have no direction"):
        class_prompts("text", np.array([[1.0, 0], [0, 1], [0, -1]]), np.array(["a", "b", "b"]))
    eye = np.eye(7)
    with pytest.raises(ValueError, match="row 2 holds NaN"):
        labelled({"text": np.where(np.arange(7) == 2, np.nan, eye)[::1].T}, LABELS)
    for bad in (LABELS[:5], LABELS.astype(float)):
        with pytest.raises(ValueError, match="expected integers or strings"):
            labelled({"text": eye}, bad)


def test_few_rows_of_a_class_do_not_stop_the_probe():
    embeddings = {"text": np.eye(4, dtype=np.float32)[:3], "audio": np.eye(4)[:3]}
    part = labelled(embeddings, np.array([5, 5, 8]))
    found = linear_probe(part, part, ("text", "audio"))
    assert found.rows == 3 and found.settings["C"] in probe.STRENGTHS


def test_labels_may_be_the_strings_of_a_table():
    eye = {"text": np.eye(3)}
    names = np.array(["cat", "dog", "cat"], object)
    assert labelled(eye, names).labels.dtype.kind == "U"
    assert class_prompts("text", np.eye(3), names).classes.dtype.kind == "U"
    with pytest.raises(ValueError, match="expected integers or strings"):
        labelled(eye, np.array(["cat", None, "cat"], object))


def test_a_name_is_not_several():
    some = labelled({"text": np.eye(3)}, np.array([0, 1, 0]))
    for classifier in (linear_probe, nearest_neighbours):
        with pytest.raises(TypeError, match=r"modalities: got 'text', expected .*\('text',\)"):
            classifier(some, some, "text")


def test_where_a_rate_has_an_interval():
    found = class_figures._rate(np.array([True]), np.array([0]))
    assert (found.value, found.high) == (100, 100) and 0 < found.low < 100
    of_one_group = class_figures._rate(np.array([True, False]), np.array([0, 0]))
    assert of_one_group.value == 50 and np.isnan([of_one_group.low, of_one_group.high]).all()
    nothing = class_figures._rate(np.array([], bool), np.array([], int))
    assert np.isnan([nothing.value, nothing.low, nothing.high]).all()
