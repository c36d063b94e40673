"""Settings of a term reach its loss; what it learns is trained, logged, saved and resumed."""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file

from gramalign import losses, scores, training
from gramalign.data import load
from gramalign.geometry import normalize
from gramalign.models import LogitScale, Number
from gramalign.training import Clip, Config, Layout, embed_store, load_run, train
from gramalign.training.model import Learned, Model
from gramalign.training.restore import make_run
from gramalign.training.term import Contrastive, Term
from gramalign.training.terms import TERMS, Hypergram
from tests.training.commands import train_until
from tests.training.one_step import first_gradient


class Head(nnx.Module):
    """A linear map of two modalities that are side by side."""

    def __init__(self, modalities, dim, *, rngs):
        self.modalities = modalities
        self.linear = nnx.Linear(len(modalities) * dim, dim, rngs=rngs)

    def __call__(self, embeddings, present):
        vectors = jnp.concatenate([embeddings[name] for name in self.modalities], axis=1)
        mask = jnp.stack([present[name] for name in self.modalities]).all(axis=0)
        return jnp.where(mask[:, None], normalize(self.linear(vectors)), 0), mask


def pulled_to_the_head(embeddings, *, bias, **settings):
    """CLIP against the one embedding that no tower made, with a number added for good measure."""
    (head,) = [name for name in embeddings if "+" in name]
    return losses.clip(embeddings, anchor=head, **settings) + bias * bias


@dataclass(frozen=True)
class Fused(Contrastive):
    """CLIP to a learned mixture."""

    loss = staticmethod(lambda embeddings, anchor, **rest: pulled_to_the_head(embeddings, **rest))
    learns = {**Contrastive.learns, "bias": lambda start: Number(start, low=-1.0, high=1.0)}

    bias: float = 0.5
    """Added to the loss, squared."""
    learn_bias: bool = True
    """Learn it."""
    head_modalities: int = 2
    """How many are mixed."""

    def heads(self, modalities, dim, rngs):
        mixed = modalities[: self.head_modalities]
        return {"+".join(mixed): Head(mixed, dim, rngs=rngs)}


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setitem(TERMS, "fused", Fused)


@pytest.fixture(scope="module")
def config(small_config):
    def make(**changes):
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(TERMS, "fused", Fused)
            learned = {"fused": Fused(learn_temperature=True), "clip": Clip(learn_temperature=True)}
            fields = {"objective": "fused + clip", "log_every": 1, "settings": learned}
            return small_config(**{**fields, **changes})

    return make


def test_a_number_without_a_switch_is_learned():
    @dataclass(frozen=True)
    class Always(Term):
        learns = {"bias": Number}
        bias: float = 0.5

    assert Always().numbers().keys() == {"bias"}


def test_a_learned_share_stays_a_share():
    mix = Hypergram().numbers()["mix"]
    for number, share in ((-9.0, 0.0), (9.0, 1.0)):
        mix.number[...] = jnp.asarray(number)
        assert mix.value == share


seen = {}


def loss_that_remembers(embeddings, *, anchor, temperature, label_smoothing, present=None):
    settings = dict(anchor=anchor, temperature=temperature, label_smoothing=label_smoothing)
    seen.update(settings, present=present)
    return jnp.zeros(1)


class Recorded(Contrastive):
    loss = staticmethod(loss_that_remembers)


def test_a_loss_gets_its_settings_and_what_it_takes_of_the_batch():
    seen.clear()
    Recorded(anchor="a", temperature=0.2)({}, present={}, groups=None, temperature=0.3)
    assert seen == {"anchor": "a", "temperature": 0.3, "label_smoothing": 0.0, "present": {}}


def test_a_number_that_the_loss_does_not_know_is_an_error():
    with pytest.raises(TypeError, match="nonsense"):
        Recorded()({}, nonsense=1.0)


def test_numbers_are_learned_unless_told_otherwise():
    assert {n: type(x) for n, x in Fused(learn_temperature=True).numbers().items()} == {
        "temperature": LogitScale,
        "bias": Number,
    }
    assert set(Fused().numbers()) == {"bias"}


@pytest.mark.parametrize("name", TERMS)
def test_every_term(name):
    """Settings that its loss takes, a Score that there is, a class that can be imported."""
    kind, term = TERMS[name], TERMS[name]()
    assert getattr(training, kind.__name__) is kind
    assert term.score.partition("(")[0] in (*scores.SCORES, "fused")
    embeddings = {m: jnp.eye(4) for m in ("text", "audio", "video")}
    learned = Learned(term, tuple(embeddings), 4, rngs=nnx.Rngs(0))
    vectors, masks = learned.with_heads(embeddings, None)
    batch = dict(present=masks, groups=jnp.array([0, 1, 2, 2]), engine=Config().engine)
    values = jax.eval_shape(lambda x: term(x, **batch, **learned.given()), vectors)
    assert values.shape == (4,) and values.dtype == jnp.float32


@pytest.mark.slow
def test_a_run_that_is_killed_resumes_to_the_same_bits(config, tmp_path, small_store, quiet):
    rows = []
    whole = train(config(), tmp_path / "whole", report=rows.append)
    train_until(6, config(), tmp_path / "killed")
    again = train(config(), tmp_path / "killed", resume=True, report=quiet)
    for name in ("params.safetensors", "metrics.jsonl", "config.json"):
        assert (again.folder / name).read_bytes() == (whole.folder / name).read_bytes()

    # What is learned is in the log and in the file, and has moved.
    assert rows[0]["bias/fused"] == 0.5 > rows[-1]["bias/fused"]
    assert {"temperature/fused", "temperature/clip", "loss/fused"} <= set(rows[0])
    saved = load_file(whole.folder / "params.safetensors")
    assert saved["terms.fused.numbers.bias.number"] < 0.5
    assert saved["terms.fused.heads.audio+text.linear.kernel"].shape == (16, 8)
    assert load_run(whole.folder).config == config()
    assert set(embed_store(whole, load(small_store))) == {"text", "audio"}


@pytest.mark.slow
def test_heads_and_numbers_on_a_mesh_and_in_microbatches(config):
    found = first_gradient(config(microbatch=3, layout=Layout(data=4)))
    plain = first_gradient(config())
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=2e-6), found, plain)


def test_heads_leave_the_initial_towers_as_they_are(config):
    def towers(objective):
        model = Model(
            dataclasses.replace(config(), objective=objective), {"a": 5, "b": 5}, rngs=nnx.Rngs(0)
        )
        return nnx.to_pure_dict(nnx.state(model.encoder))

    jax.tree.map(np.testing.assert_array_equal, towers("clip"), towers("fused"))


def test_what_is_fused_of_a_modality_that_is_not_given_is_zero(tmp_path):
    """Whatever its mask says."""
    config, dims = Config(objective="confu"), dict.fromkeys("abc", 3)
    model = Model(config, dims, rngs=nnx.Rngs(0))
    run = make_run(tmp_path, config, dims, model, nnx.to_pure_dict(nnx.state(model)), 0)
    rows, here = np.ones((2, 3), np.float32), np.ones(2, bool)
    some = np.array([True, False])
    found = run.embed({"a": rows, "b": rows}, {"b": some, "c": here}, fused="confu")
    assert set(found) == {"a", "b", *run.fusing["confu"]}
    lengths = {name: np.linalg.norm(x, axis=1).round(5).tolist() for name, x in found.items()}
    assert lengths == {"a": [1, 1], "b": [1, 0], "a+b": [1, 0], "a+c": [0, 0], "b+c": [0, 0]}
