"""Messages of the losses, as users meet them: without run-time type checks."""

from collections import OrderedDict
from functools import partial
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign import losses, normalize
from gramalign.scores import VolumeScore
from tests import samples

ROWS = jnp.eye(4, 3)


pytestmark = pytest.mark.usefixtures("unchecked")

FUNCTIONS = {
    "gram": lambda x: losses.gram(x, anchor="text"),
    "gram, all anchors": lambda x: losses.gram(x, anchor=None),
    "clip": lambda x: losses.clip(x, anchor="text"),
    "clip, all pairs": lambda x: losses.clip(x, anchor=None),
    "pmrl": losses.pmrl,
    "pmrl_alignment": losses.pmrl_alignment,
    "pmrl_instance": losses.pmrl_instance,
    "vast": lambda x: losses.vast(x, fused="text"),
    "confu": losses.confu,
    "centrobind": losses.centrobind,
    "barybind": losses.barybind,
    "symile": losses.symile,
    "spectral": losses.spectral,
    "height": losses.height,
    "simplex": losses.simplex,
    "sca": losses.sca,
    "supcon": partial(losses.supcon, groups=jnp.arange(4)),
    "supcon of volumes": partial(losses.supcon, groups=jnp.arange(4), score_of=VolumeScore),
    "clip of volumes": partial(losses.clip, score_of=VolumeScore),
    "siglip": losses.siglip,
    "siglip of volumes": partial(losses.siglip, score_of=VolumeScore),
    "alignment": losses.alignment,
    "uniformity": losses.uniformity,
    "modality gap": losses.modality_gap,
    "separation": losses.separation,
    "consistency": losses.consistency,
    "vicreg": losses.vicreg,
    "participants": losses.participants,
}


@pytest.mark.parametrize("kind", [OrderedDict, MappingProxyType])
def test_any_mapping_in_any_order(kind):
    rows = jax.random.split(jax.random.key(0), 3)
    rows = {
        m: normalize(jax.random.normal(key, (6, 4))) for m, key in zip("cab", rows, strict=True)
    }
    present = {"a": jnp.arange(6) != 1}
    found = losses.symile(kind(rows), present=kind(present))
    np.testing.assert_array_equal(found, losses.symile(rows, present=present))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        ({"text": ROWS}, r"at least two modalities to compare, got \['text'\]"),
        ({}, r"at least two modalities to compare, got \[\]"),
        ({"text": ROWS, "b": jnp.ones((5, 3))}, r"'text': \(4, 3\), 'b': \(5, 3\)"),
        ({"text": ROWS[:0], "b": ROWS[:0]}, r"at least one example and number, .* \(0, 3\)"),
        ({"text": ROWS[:, :0], "b": ROWS[:, :0]}, r"at least one example and number, .* \(4, 0\)"),
        ({"text": ROWS, "b": ROWS.astype(int)}, r"embeddings\['b'\] must be floating point"),
    ],
)
def test_embeddings(name, embeddings, message):
    with pytest.raises(ValueError, match=message):
        FUNCTIONS[name](embeddings)


ANCHORED = ["gram", "clip", "vast", "spectral", "height", "simplex", "sca", "supcon", "siglip"]


@pytest.mark.parametrize("name", [*ANCHORED, "supcon of volumes", "siglip of volumes"])
def test_an_unknown_anchor_names_the_modalities(name):
    message = r"anchor is 'text', but the modalities are \['audio', 'video'\]"
    with pytest.raises(ValueError, match=message):
        FUNCTIONS[name]({"video": ROWS, "audio": ROWS})


@pytest.mark.parametrize(
    ("loss", "argument"),
    [(losses.vast, "fused"), (losses.barybind, "barycentre"), (losses.participants, "anchor")],
)
def test_an_unknown_entry_names_those_there_are(loss, argument):
    message = rf"{argument} is 'x', but the modalities are \['audio', 'text'\]"
    with pytest.raises(ValueError, match=message):
        loss({"text": ROWS, "audio": ROWS}, **{argument: "x"})


@pytest.mark.parametrize(
    "name", ["gram", "clip", "centrobind", "barybind", "spectral", "height", "simplex", "sca"]
)
def test_label_smoothing(name):
    loss = getattr(losses, name)
    with pytest.raises(ValueError, match=r"label_smoothing must be in \[0, 1\), got 1.0"):
        jax.eval_shape(lambda x: loss(x, label_smoothing=1.0), {"text": ROWS, "audio": ROWS})


@pytest.mark.parametrize(
    "loss",
    [
        losses.gram,
        losses.clip,
        losses.pmrl,
        losses.centrobind,
        losses.barybind,
        losses.spectral,
        losses.height,
        losses.simplex,
        losses.sca,
        losses.supcon,
        losses.siglip,
        losses.uniformity,
        losses.separation,
    ],
)
def test_groups(loss):
    with pytest.raises(ValueError, match=r"groups must be an array of integers \(4,\), got int32"):
        jax.eval_shape(lambda x: loss(x, groups=jnp.ones(3, int)), {"text": ROWS, "audio": ROWS})


def test_an_engine_by_its_strategys_name():
    with pytest.raises(TypeError, match=r"such as Engine\(\"ring\"\), got 'gather'"):
        losses.gram({"text": ROWS, "audio": ROWS}, engine="gather")


def test_rows_that_are_split_over_an_explicit_axis():
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    split = jax.device_put(ROWS, jax.NamedSharding(mesh, jax.P("data")))
    message = r"\['text'\] is split over explicit axes of a mesh, .*'data'.*: wrap the loss"
    for loss in (losses.gram, losses.pmrl_alignment, losses.uniformity):
        with pytest.raises(ValueError, match=message):
            loss({"text": split, "audio": ROWS})
    both = {"text": split, "audio": split}
    for loss in (losses.alignment, losses.modality_gap):  # no pairs of examples
        with jax.set_mesh(mesh):
            assert jnp.all(jax.jit(loss)(both) == 0)


TWO = {"text": ROWS, "audio": ROWS}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: losses.supcon(TWO, groups=None), "supcon needs groups, the label of each example"),
        (
            lambda: losses.triangle(TWO),
            r"exactly three modalities, got \['audio', 'text'\]: .* use losses.simplex",
        ),
        (
            lambda: losses.triangle({"a": ROWS, "b": ROWS, "c": ROWS}),
            r"anchor is 'text', but the modalities are \['a', 'b', 'c'\]",
        ),
        (lambda: losses.gram(TWO, form="cube"), "form must be one of volume, .* got 'cube'"),
        (lambda: losses.sca(TWO, weight_temperature=0.0), "weight_temperature must be positive"),
        (lambda: losses.alignment(TWO, power=0.5), "power must be at least 1, got 0.5"),
        (lambda: losses.alignment(TWO, power=jnp.nan), "power must be finite, got nan"),
        (lambda: losses.uniformity(TWO, t=0.0), "t must be positive, got 0.0"),
        (lambda: losses.modality_gap(TWO, axis_name="data"), "'data' is not a mesh axis here"),
        (
            lambda: losses.consistency(TWO, axis_name="data"),
            "'data' is not a mesh axis here",
        ),
        (lambda: losses.vicreg(TWO, axis_name="data"), "'data' is not a mesh axis here"),
        (
            lambda: losses.consistency(TWO, in_modal=-1.0),
            "in_modal must be at least 0, got -1.0",
        ),
        (
            lambda: losses.consistency(TWO, cross_modal=jnp.nan),
            "cross_modal must be finite, got nan",
        ),
        (lambda: losses.vicreg(TWO, deviation=0.0), "deviation must be positive, got 0.0"),
        (lambda: losses.vicreg(TWO, variance=jnp.ones(2)), "variance must be one number"),
    ],
)
def test_settings_out_of_range(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("name", ["gram", "clip", "participants"])
@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        ([ROWS, ROWS], "embeddings must map modality names to arrays, got list"),
        (
            {"text": ROWS, "b": [[1.0]]},
            r"embeddings\['b'\] must be a JAX or NumPy array, got list",
        ),
    ],
)
def test_what_is_no_mapping_and_no_array(name, embeddings, message):
    with pytest.raises(TypeError, match=message):
        FUNCTIONS[name](embeddings)


@pytest.mark.parametrize(
    ("present", "message"),
    [
        (jnp.ones((4, 2), bool), "present must map modality names"),
        ({"b": [True] * 4}, r"present\['b'\] must be a JAX or NumPy array, got list"),
        ({"b": None}, r"present\['b'\] must be a JAX or NumPy array, got NoneType"),
    ],
)
def test_masks_that_are_none(present, message):
    with pytest.raises(TypeError, match=message):
        losses.clip({"text": ROWS, "b": ROWS}, present=present)


@pytest.mark.parametrize(
    ("loss", "settings", "error", "message"),
    [
        (losses.clip, {"temperature": 0.0}, ValueError, "temperature must be positive .*, got 0.0"),
        (
            losses.gram,
            {"temperature": jnp.array(-0.1)},
            ValueError,
            "positive .*, got -0.1",
        ),
        (losses.pmrl, {"tau_instance": -1}, ValueError, "tau_instance must be positive .*, got -1"),
        (losses.clip, {"temperature": 1e-50}, ValueError, "from 1e-18 to 3.4e.38, got 1e-50"),
        (losses.clip, {"temperature": 1e-38}, ValueError, "from 1e-18 to 3.4e.38, got 1e-38"),
        (losses.clip, {"temperature": 1e39}, ValueError, r"from 1e-18 to 3.4e\+38, got 1e\+39"),
        (losses.siglip, {"temperature": jnp.inf}, ValueError, "from 1e-18 to 3.4e.38, got inf"),
        (losses.siglip, {"bias": jnp.ones(4)}, ValueError, r"bias must be one number, .* \(4,\)"),
        (losses.hypergram, {"mix": jnp.ones(4)}, ValueError, "mix must be one number"),
        (losses.hypergram, {"mix": 2.0}, ValueError, r"mix must be in \[0, 1\], got 2.0"),
        (losses.hypergram, {"mix": "a"}, TypeError, "mix must be a number, got 'a'"),
        (losses.clip, {"label_smoothing": "a"}, TypeError, "label_smoothing must be a number"),
        (losses.uniformity, {"t": "a"}, TypeError, "t must be a number, got 'a'"),
        (losses.uniformity, {"t": np.inf}, ValueError, "t must be finite, got inf"),
        (losses.alignment, {"power": None}, TypeError, "power must be a number, got None"),
        (losses.kernel_volume, {"bandwidth": np.inf}, ValueError, "bandwidth must be finite"),
        (losses.consistency, {"in_modal": np.inf}, ValueError, "in_modal must be finite"),
        (losses.consistency, {"in_modal": None}, TypeError, "in_modal must be a number"),
        (losses.vicreg, {"deviation": np.inf}, ValueError, "deviation must be finite, got inf"),
        (losses.vicreg, {"deviation": "1"}, TypeError, "deviation must be a number, got '1'"),
        (losses.vicreg, {"variance": -25.0}, ValueError, "variance must be at least 0, got -25.0"),
        (losses.vicreg, {"invariance": np.inf}, ValueError, "invariance must be finite, got inf"),
        (losses.siglip, {"bias": jnp.nan}, ValueError, "bias must be finite, got nan"),
        (losses.clip, {"groups": [0, 1, 2, 3]}, ValueError, "array of integers .*, got list"),
        (
            losses.clip,
            {"groups": 2 ** np.arange(30, 34)},
            ValueError,
            "more than 32 bits.*np.unique",
        ),
        (losses.gram, {"anchor": ["text"]}, TypeError, "give a plain Python value$"),
        (losses.gram, {"anchor": jnp.array(1)}, TypeError, r"such as anchor=anchor.item\(\)$"),
        (losses.symile, {"key": 0}, TypeError, r"such as jax.random.key\(0\), got 0"),
        (
            losses.symile,
            {"key": jax.random.split(jax.random.key(0), 3)},
            TypeError,
            r"one JAX key, .*, got key<fry> of shape \(3,\)",
        ),
        (losses.symile, {"key": jnp.array(3)}, TypeError, r"one JAX key, .*, got int32 of shape"),
        (losses.siglip, {"score_of": "area"}, ValueError, "score_of: got 'area', expected one of"),
        (losses.siglip, {"score_of": VolumeScore("b")}, TypeError, "score_of must be one of"),
        (losses.clip, {"temperature": None}, TypeError, "temperature must be a number, got None"),
        (losses.clip, {"temperature": "0.07"}, TypeError, "must be a number, got '0.07'"),
        (losses.clip, {"temperature": True}, TypeError, "temperature must be a number, got True"),
        (losses.siglip, {"bias": jnp.array(True)}, TypeError, "bias must be a number, got Array"),
        (losses.pmrl, {"signed": "False"}, TypeError, "signed must be True or False, got 'False'"),
        (losses.height, {"squared": "no"}, TypeError, "squared must be True or False, got 'no'"),
        (losses.simplex, {"squared": 1}, TypeError, "squared must be True or False, got 1"),
        (losses.uniformity, {"t": np.True_}, TypeError, "t must be a number, got np.True_"),
        (losses.clip, {"label_smoothing": False}, TypeError, "label_smoothing must be a number"),
        (
            losses.pmrl,
            {"anchor": "text"},
            TypeError,
            r"pmrl has no arguments \['anchor'\]; it has \['tau_",
        ),
    ],
)
def test_settings(loss, settings, error, message):
    with pytest.raises(error, match=message):
        loss({"text": ROWS, "b": ROWS}, **settings)


def test_a_temperature_whose_inverse_16_bits_do_not_hold():
    exact = losses.clip({"text": ROWS, "b": ROWS[::-1]}, temperature=float(jnp.float16(1e-5)))
    for dtype in (jnp.float16, np.float16):
        found = losses.clip({"text": ROWS, "b": ROWS[::-1]}, temperature=dtype(1e-5))
        np.testing.assert_allclose(found, exact, rtol=1e-6)
    assert losses.clip({"text": ROWS, "b": ROWS}, label_smoothing=np.float32(0.5)).shape == (4,)
    slope = jax.grad(lambda t: losses.clip({"text": ROWS, "b": ROWS}, temperature=t).mean())
    assert slope(jnp.bfloat16(0.5)).dtype == jnp.bfloat16


@pytest.mark.parametrize("where", [jnp.ones(4), jnp.ones((4, 1), bool)])
def test_a_mean_over_what_is_no_mask(where):
    with pytest.raises(ValueError, match=r"where must be bool of shape \(4,\), got"):
        losses.masked_mean(jnp.ones(4), where)


@pytest.mark.parametrize(
    ("values", "where", "name"),
    [([1.0], jnp.ones(1, bool), "values"), (jnp.ones(1), [True], "where")],
)
def test_a_mean_of_what_is_no_array(values, where, name):
    with pytest.raises(TypeError, match=f"{name} must be a JAX or NumPy array, got list"):
        losses.masked_mean(values, where)


@pytest.mark.parametrize("name", ["clip", "gram", "siglip", "symile", "uniformity", "separation"])
def test_groups_of_numpy_are_those_of_jax(name):
    rows = samples.as_jax(samples.embeddings(np.random.default_rng(0), 6, 5, ("text", "b", "c")))
    groups, loss = np.arange(6) // 2, getattr(losses, name)
    found = loss(rows, groups=groups)
    np.testing.assert_array_equal(found, loss(rows, groups=jnp.asarray(groups, jnp.int32)))
    assert not np.allclose(found, loss(rows))
