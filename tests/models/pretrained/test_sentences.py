"""What Sentence Transformers' folders say is done."""

import json

import numpy as np
import pytest

from gramalign.models import pretrained
from tests.models.pretrained.test_folders import GOLDEN, embeds_as, save
from tests.models.pretrained.tiny import drawn, drawn_inputs


def modules(folder, *types):
    """Writes `modules.json` of some types, each with a folder but the first."""
    paths = ["", *(f"{number}_{name}" for number, name in enumerate(types[1:], 1))]
    content = [
        {"path": path, "type": f"sentence_transformers.models.{name}"}
        for path, name in zip(paths, types, strict=True)
    ]
    (folder / "modules.json").write_text(json.dumps(content))
    for path in paths[1:]:
        (folder / path).mkdir(exist_ok=True)
    return paths


def pooling(folder, settings, *types):
    """Makes the folder one of Sentence Transformers."""
    paths = modules(folder, "Transformer", "Pooling", *types)
    (folder / paths[1] / "config.json").write_text(json.dumps(settings))
    return folder / paths[-1]


def switches(mode):
    """As versions before 5.2 write it."""
    modes = dict.fromkeys(("cls_token", "mean_tokens", "max_tokens"), False) | {mode: True}
    settings = {f"pooling_mode_{name}": on for name, on in modes.items()}
    return settings | {"word_embedding_dimension": 24, "include_prompt": True}


@pytest.mark.parametrize("older", [False, True])
def test_sentence_transformers_say_how_they_pool(model, older):
    folder = model("bert text")
    pooling(folder, switches("mean_tokens") if older else {"pooling_mode": "mean"})
    embeds_as(folder, "bert text")
    pooling(folder, switches("cls_token") if older else {"pooling_mode": ["cls"]}, "Normalize")
    encoder = pretrained.load(folder, "text")
    inputs = drawn_inputs(GOLDEN["bert text"]["inputs"])
    tokens = encoder.body(*encoder.front(inputs))
    np.testing.assert_array_equal(encoder(inputs), tokens[:, 0])
    (folder / "1_Pooling" / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match="1_Pooling.config.json does not exist, which mod"):
        pretrained.load(folder, "text")


DENSE = {"in_features": 24, "out_features": 10, "bias": False}
IDENTITY = "torch.nn.modules.linear.Identity"


@pytest.mark.parametrize("activation", [IDENTITY, None])
def test_sentence_transformers_map_what_was_pooled(model, activation):
    folder = model("bert text")
    dense = pooling(folder, {"pooling_mode": "mean"}, "Dense")
    settings = {**DENSE, **({} if activation is None else {"activation_function": activation})}
    (dense / "config.json").write_text(json.dumps(settings))
    kernel = drawn("kernel", (10, 24))
    save(dense, {"linear.weight": kernel})
    encoder = pretrained.load(folder, "text")
    found = encoder(drawn_inputs(GOLDEN["bert text"]["inputs"]))
    wanted = np.asarray(GOLDEN["bert text"]["result"]) @ kernel.T
    assert encoder.dim == 10
    np.testing.assert_allclose(found, wanted if activation else np.tanh(wanted), atol=5e-6)
    save(dense, {"linear.weight": kernel, "linear.bias": drawn("bias", (10,))})
    with pytest.raises(ValueError, match=r"no part of the encoder takes: \['dense.linear.bias'\]"):
        pretrained.load(folder, "text")
    # Where it says nothing of a bias, there is one.
    del settings["bias"]
    (dense / "config.json").write_text(json.dumps(settings))
    found = pretrained.load(folder, "text")(drawn_inputs(GOLDEN["bert text"]["inputs"]))
    wanted = wanted + drawn("bias", (10,))
    np.testing.assert_allclose(found, wanted if activation else np.tanh(wanted), atol=5e-6)
    (dense / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"2_Dense has no \*.safetensors"):
        pretrained.load(folder, "text")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"in_features": 12}, "in_features is 12 in 2_Dense, expected 24, what is p"),
        ({"use_residual": True}, "2_Dense.config.json: use_residual is true, expected"),
        ({"out_features": 0}, "2_Dense.config.json: out_features is 0, expected a whole number"),
        ({"in_features": None}, "2_Dense.config.json: in_features is None, expected a whole num"),
        ({"bias": "x"}, "2_Dense.config.json: bias is 'x', expected true or false"),
        ({"activation_function": None}, "activation_function is None, expected a name"),
        ({"activation_function": "torch.nn.GELU"}, r"is 'GELU', expected any of \['Identity', 'Ta"),
    ],
)
def test_sentence_transformers_that_map_otherwise_are_refused(model, change, told):
    folder = model("bert text")
    dense = pooling(folder, {"pooling_mode": "mean"}, "Dense")
    (dense / "config.json").write_text(json.dumps({**DENSE, **change}))
    with pytest.raises(ValueError, match=told):
        pretrained.load(folder, "text")


def test_the_mean_is_pooled_unless_that_is_off(model):
    folder = model("bert text")
    pooling(folder, {"word_embedding_dimension": 24})
    embeds_as(folder, "bert text")
    pooling(folder, {"word_embedding_dimension": 24, "pooling_mode_cls_token": True})
    with pytest.raises(ValueError, match=r"one of .*: the mean is on where it is not off, by p"):
        pretrained.load(folder, "text")


@pytest.mark.parametrize("settings", [switches("max_tokens"), {"pooling_mode": ["max"]}])
def test_sentence_transformers_that_pool_otherwise_are_refused(model, settings):
    folder = model("bert text")
    pooling(folder, settings)
    with pytest.raises(ValueError, match=r"1_Pooling.config.json pools by \['max'\], expected one"):
        pretrained.load(folder, "text")


def test_a_prompt_that_is_not_to_be_pooled_is_refused(model):
    folder = model("bert text")
    pooling(folder, {"pooling_mode": "mean", "include_prompt": False})
    prompts = {"prompts": {"query": "query: "}, "default_prompt_name": None}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    embeds_as(folder, "bert text")
    prompts["default_prompt_name"] = "query"
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    with pytest.raises(ValueError, match=r"1_Pooling.config.json: include_prompt is false, exp"):
        pretrained.load(folder, "text")


@pytest.mark.parametrize("mode", [3, [["mean"]], {"mean": 1}])
def test_a_way_to_pool_that_is_no_name_is_refused(model, mode):
    folder = model("bert text")
    pooling(folder, {"pooling_mode": mode})
    with pytest.raises(ValueError, match=r"1_Pooling.config.json pools by .*, expected one of"):
        pretrained.load(folder, "text")


@pytest.mark.parametrize(
    "content", [{}, 3, ["x"], [{"type": "Transformer"}], [{"type": 1, "path": ""}]]
)
def test_modules_of_another_form_are_refused(model, content):
    folder = model("bert text")
    (folder / "modules.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"modules.json holds .*, expected a list, each of a type"):
        pretrained.load(folder, "text")


def test_what_modules_say_is_read_there_alone(model):
    """A configuration may have settings of any names."""

    def changed(case):
        case["config"] |= {"pool": "x", "dense": 3, "modules.json": {"pool": "first"}}

    embeds_as(model("bert text", changed), "bert text")


@pytest.mark.parametrize("types", [["Normalize", "Dense"], ["Dense", "Dense"], ["LayerNorm"]])
def test_sentence_transformers_that_do_more_are_refused(model, types):
    folder = model("bert text")
    pooling(folder, {"pooling_mode": "mean"}, *types)
    with pytest.raises(ValueError, match=rf"'{types[-1]}'\], expected some of Transformer, Po"):
        pretrained.load(folder, "text")
