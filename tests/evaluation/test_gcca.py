import numpy as np
import pytest
from sklearn.cross_decomposition import CCA

from gramalign.data import digits
from gramalign.evaluation import checked, fit_gcca, retrieval_figures

NAMES = ("text", "audio", "video")


class Views:
    """Three views that mix a shared latent and private noise, each by its own matrix."""

    def __init__(self, shared=4, private=3, seed=0):
        self.rng = np.random.default_rng(seed)
        self.shared, self.private = shared, private
        size = shared + private
        self.mixing = {name: self.rng.normal(size=(size, size + 2)) for name in NAMES}

    def draw(self, examples):
        latent = self.rng.normal(size=(examples, self.shared))
        own = {name: self.rng.normal(size=(examples, self.private)) for name in NAMES}
        return {
            name: np.concatenate([latent, own[name]], axis=1) @ mixing + 5
            for name, mixing in self.mixing.items()
        }


def recall_at_1(embedded, present=None):
    """By the cosine in percent, the mean over pairs and that over the rest -> one."""
    found = retrieval_figures(checked(embedded, present), "cosine")
    return (
        np.mean([r.recall[1] for r in found if (len(r.query), len(r.gallery)) == (number, 1)])
        for number in (1, len(embedded) - 1)
    )


def test_finds_what_the_views_share_and_nothing_else():
    views = Views()
    embedded = fit_gcca(views.draw(4000), dim=4, components=7, ridge=0.0).embed(views.draw(300))
    for name in NAMES[1:]:
        assert np.sum(embedded["text"] * embedded[name], axis=1).min() > 0.98
    for x in embedded.values():
        np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, rtol=1e-5)
        assert x.dtype == np.float32
    pair, _ = recall_at_1(embedded)
    assert pair > 95


def test_two_views_give_classical_canonical_correlations():
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(500, 3))
    a = latent @ rng.normal(size=(3, 5)) + rng.normal(size=(500, 5))
    b = latent @ rng.normal(size=(3, 4)) + rng.normal(size=(500, 4))
    fitted = fit_gcca({"a": a, "b": b}, dim=3, ridge=0.0)
    ours = [
        fitted.views[name].whiten(x) @ fitted.views[name].weights
        for name, x in [("a", a), ("b", b)]
    ]
    theirs = CCA(3, max_iter=5000, tol=1e-10).fit_transform(a, b)
    for i in range(3):
        mine = np.corrcoef(ours[0][:, i], ours[1][:, i])[0, 1]
        assert mine == pytest.approx(np.corrcoef(theirs[0][:, i], theirs[1][:, i])[0, 1], abs=1e-4)


def test_every_step_by_numpy():
    train = Views().draw(60)
    found = fit_gcca(train, dim=3, components=6, ridge=0.2).embed(train)
    white = []
    for x in train.values():
        z = (x - x.mean(axis=0)) / x.std(axis=0)
        _, scale, axes = np.linalg.svd(z, full_matrices=False)
        variance = scale[:6] ** 2 / 59
        white.append(z @ axes[:6].T / np.sqrt(variance + 0.2 * variance.mean()))
    _, strength, shared = np.linalg.svd(np.concatenate(white, axis=1), full_matrices=False)
    weights = shared[:3].T * (strength[:3] / strength[0]) ** 2
    wanted = np.concatenate([w @ part for w, part in zip(white, np.split(weights, 3), strict=True)])
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    # But for the signs of directions, which cosines do not see.
    cosines = [x @ x.T for x in (np.concatenate([*found.values()]), wanted)]
    np.testing.assert_allclose(*cosines, atol=1e-5)


def test_incomplete_rows_are_left_out_of_the_fit_and_masked_in_the_result():
    views = Views()
    train, test = views.draw(200), views.draw(20)
    there = np.arange(200) % 3 != 0
    train["audio"][~there] = np.nan
    expected = fit_gcca({name: x[there] for name, x in train.items()}, dim=4).embed(test)
    half = np.arange(20) < 10
    fitted = fit_gcca(train, {"audio": there}, dim=4)
    test["audio"][~half] = np.nan
    embedded = fitted.embed(test, {"audio": half})
    np.testing.assert_array_equal(embedded["text"], expected["text"])
    np.testing.assert_array_equal(embedded["audio"][half], expected["audio"][half])
    assert not embedded["audio"][~half].any()
    assert not fitted.embed(test, {"audio": np.zeros(20, bool)})["audio"].any()


def test_the_digits_views():
    store = digits()
    train, test = store.part("train"), store.part("test")
    embedded = fit_gcca(train.features, train.present).embed(test.features, test.present)
    pair, rest = recall_at_1(embedded, test.present)
    assert 28 < pair < 34 and 44 < rest < 50


def test_a_view_without_variance_in_some_columns_is_fine():
    views = Views()
    train = views.draw(100)
    train["text"][:, 0] = 3
    assert np.isfinite(fit_gcca(train, dim=4).embed(views.draw(5))["text"]).all()


def test_bad_input_is_refused_with_its_cure():
    views = Views().draw(40)
    with pytest.raises(ValueError, match=r"got 1 modality.*leave the linear baseline out"):
        fit_gcca({"text": views["text"]})
    with pytest.raises(ValueError, match=r"'audio': 39.*same example"):
        fit_gcca(views | {"audio": views["audio"][1:]}, dim=4)
    with pytest.raises(
        ValueError, match=r"got 40 rows in which all of.*2 \* dim = 64.*smaller dim"
    ):
        fit_gcca(views)
    with pytest.raises(ValueError, match=r"'audio'\]: all 40 complete rows are equal.*drop"):
        fit_gcca(views | {"audio": np.ones((40, 3))}, dim=4)
    with pytest.raises(ValueError, match=r"'audio'\]: got bool \(39,\), expected bool \(40,\)"):
        fit_gcca(views, {"audio": np.ones(39, bool)}, dim=4)
    holes = views["audio"].copy()
    holes[3, 0] = np.nan
    with pytest.raises(ValueError, match=r"'audio'\]: some are NaN or infinite.*mask"):
        fit_gcca(views | {"audio": holes}, dim=4)
    for sizes in ({"dim": 0}, {"dim": 4, "components": 0}):
        with pytest.raises(ValueError, match="dim and components: got .* expected at least 1"):
            fit_gcca(views, **sizes)
    with pytest.raises(ValueError, match=r"'audio'\]: got shape \(40, 2\), expected \d+ features"):
        fit_gcca(views, dim=4).embed(views | {"audio": views["audio"][:, :2]})
    with pytest.raises(ValueError, match=r"got a mask for adio"):
        fit_gcca(views, {"adio": np.ones(40, bool)}, dim=4)
    with pytest.raises(ValueError, match=r"got text, expected text, audio, video"):
        fit_gcca(views, dim=4).embed({"text": views["text"]})
