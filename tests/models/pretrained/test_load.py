"""Encoders from the folders of pretrained models, against Hugging Face's own."""

import json
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gramalign.models import pretrained
from gramalign.models.pretrained.load import read_weights
from tests.models.pretrained.tiny import drawn_inputs, golden

GOLDEN = golden()


@pytest.mark.parametrize("name", GOLDEN)
def test_what_they_return_is_what_hugging_face_does(model, name):
    case = GOLDEN[name]
    encoder = pretrained.load(model(name), name.split()[-1])
    found = jax.jit(encoder)(drawn_inputs(case["inputs"]))
    assert found.dtype == jnp.float32
    assert found.shape == (2, encoder.dim)
    assert encoder.kind in pretrained.kinds(model(name))
    np.testing.assert_allclose(found, case["result"], atol=2e-6)


def test_the_host_does_not_hold_all_weights_twice(model, monkeypatch):
    folder = model("bert text")
    encoder = pretrained.abstract(folder, "text")
    held = read_weights(folder, encoder)
    monkeypatch.setattr(sys.modules[read_weights.__module__], "read_weights", lambda *_: held)
    pretrained.load(folder, "text")
    assert not held


@pytest.mark.parametrize(
    "name",
    [
        *("bert text", "mpnet text", "clip image", "whisper audio", "clap audio"),
        *("large hubert for words audio", "dinov3 image"),
    ],
)
def test_in_bfloat16(model, name):
    case = GOLDEN[name]
    encoder = pretrained.load(model(name), name.split()[-1], dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(encoder))} == {jnp.dtype("float32")}
    found = jax.jit(encoder)(drawn_inputs(case["inputs"]))
    assert found.dtype == jnp.float32
    difference = np.abs(found - np.asarray(case["result"])).max()
    assert 1e-5 < difference < 0.05


@pytest.mark.parametrize(
    "name", ["clip text", "bert text", "mpnet text", "distilbert text", "clap text"]
)
def test_padding_and_neighbours_change_nothing(model, name):
    encoder = pretrained.load(model(name), "text")
    inputs = drawn_inputs(GOLDEN[name]["inputs"])
    together = encoder(inputs)
    short = {each: array[:1, :6] for each, array in inputs.items()}  # without its padding
    np.testing.assert_allclose(encoder(short), together[:1], atol=1e-6)


def test_padding_has_one_place_in_roberta(model):
    encoder = pretrained.load(model("roberta text"), "text")
    inputs = drawn_inputs(GOLDEN["roberta text"]["inputs"])
    padding = encoder.front(inputs)[0][0, 6:]  # which a batch without a mask sees
    alone = encoder.front({"input_ids": np.ones((1, 3), np.int32)})[0]
    np.testing.assert_allclose(padding, alone[0], atol=1e-6)


def test_the_mean_of_one_token_is_that_token(model):
    encoder = pretrained.load(model("bert text"), "text")
    inputs = drawn_inputs(GOLDEN["bert text"]["inputs"])
    inputs["attention_mask"][1, 1:] = 0
    tokens = encoder.body(*encoder.front(inputs))
    np.testing.assert_allclose(encoder(inputs)[1], tokens[1, 0], atol=1e-6)


def test_a_row_of_padding_alone_is_finite_and_so_are_its_gradients(model):
    encoder = pretrained.load(model("bert text"), "text")
    inputs = drawn_inputs(GOLDEN["bert text"]["inputs"])
    inputs["attention_mask"][0] = 0
    assert jnp.isfinite(encoder(inputs)).all()
    graph, state = nnx.split(encoder)
    slopes = jax.jit(jax.grad(lambda s: jnp.sum(nnx.merge(graph, s)(inputs) ** 2)))(state)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(slopes))


def test_frames_of_silence_after_a_sound_do_not_count(model):
    encoder = pretrained.load(model("whisper audio"), "audio")
    inputs = drawn_inputs(GOLDEN["whisper audio"]["inputs"])
    mask = np.ones((2, 20), np.int32)
    np.testing.assert_allclose(
        encoder(inputs | {"attention_mask": mask}), encoder(inputs), atol=1e-6
    )
    mask[0, 7:] = 0  # in the middle of a token
    found = encoder(inputs | {"attention_mask": mask})
    np.testing.assert_allclose(found[1], encoder(inputs)[1], atol=1e-6)
    # Attention still sees them, as it was trained to.
    tokens = encoder.body(encoder.front(inputs)[0])
    np.testing.assert_allclose(found[0], tokens[0, :4].mean(0), atol=1e-6)


@pytest.mark.parametrize(
    "name", ["large wav2vec2 audio", "hubert for words audio", "large wavlm audio"]
)
def test_silence_after_a_sound_is_no_token(model, name):
    encoder = pretrained.load(model(name), "audio")
    inputs = drawn_inputs(GOLDEN[name]["inputs"])
    inputs["attention_mask"][1] = 0
    tokens, mask = encoder.front(inputs)
    # 1066 samples make 212, 53, 13 and 6 frames, where 1600 make 9; of none, one is left.
    assert mask.sum(axis=1).tolist() == [6, 1] and mask.shape == (2, 9)
    found = encoder.body(tokens, mask)
    np.testing.assert_allclose(encoder(inputs)[0], found[0, :6].mean(0), atol=1e-6)
    np.testing.assert_allclose(encoder(inputs)[1], found[1, 0], atol=1e-6)
    noisy = inputs["input_values"].copy()
    noisy[0, 1066:] += 1
    changed = encoder(inputs | {"input_values": noisy})
    np.testing.assert_allclose(changed[0], encoder(inputs)[0], atol=1e-6)
    alone = encoder({"input_values": inputs["input_values"][:1, :1066]})
    np.testing.assert_allclose(encoder(inputs)[0], alone[0], atol=1e-6)


@pytest.mark.parametrize(
    ("type_", "changes"),
    [
        ("clap", {}),
        ("clip", {}),
        ("siglip", {}),
        ("bert", {}),
        ("roberta", {}),
        ("xlm-roberta", {"vocab_size": 50265}),
        ("distilbert", {}),
        ("mpnet", {}),
        ("videomae", {}),
        ("vit", {}),
        ("dinov2", {}),
        ("dinov2", {"use_swiglu_ffn": True}),
        ("dinov2_with_registers", {}),
        ("dinov3_vit", {}),
        ("audio-spectrogram-transformer", {}),
        ("wav2vec2", {}),
        ("hubert", {}),
        ("wavlm", {}),
        ("whisper", {}),
    ],
)
def test_a_configuration_that_is_silent_means_the_defaults(type_, changes):
    transformers = pytest.importorskip("transformers")
    known = transformers.AutoConfig.for_model(type_, **changes).to_dict()
    for recipe in pretrained.FAMILIES[type_].values():

        def made(config, recipe=recipe):
            return nnx.split(nnx.eval_shape(lambda: recipe.make(config, jnp.float32)))

        assert made(changes) == made(known)


def test_gates_of_dinov2_have_a_width_that_suits_accelerators():
    """Of those tested against Hugging Face, two thirds of four widths are a multiple of 8."""
    config = {"hidden_size": 32, "num_attention_heads": 4, "use_swiglu_ffn": True}
    recipe = pretrained.FAMILIES["dinov2"]["image"]
    encoder = nnx.eval_shape(lambda: recipe.make(config, jnp.float32))
    assert encoder.body.layers[0].mlp.down.in_features == 88


@pytest.mark.parametrize("name", GOLDEN)
def test_no_weights_are_drawn_that_are_read(name):
    """Nor keys counted, which with flax 0.12.8 takes a trace the square of the number of layers."""
    config = GOLDEN[name]["config"]
    recipe = pretrained.FAMILIES[config["model_type"]][name.split()[-1]]
    made = jax.make_jaxpr(lambda: nnx.state(recipe.make(config, jnp.dtype("float32"))))()
    assert {each.primitive.name for each in made.eqns} <= {"broadcast_in_dim"}


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("distilbert text", {"layer_norm_eps": 0.1}),
        ("distilbert text", {"type_vocab_size": 2}),
        ("mpnet text", {"type_vocab_size": 2}),
        ("mpnet text", {"is_decoder": True}),
        ("clap text", {"is_decoder": True}),
    ],
)
def test_settings_that_hugging_face_ignores_change_nothing(model, name, setting):
    def change(case):
        config = case["config"]
        config.get("text_config", config).update(setting)

    encoder = jax.jit(pretrained.load(model(name, change), "text"))
    found = encoder(drawn_inputs(GOLDEN[name]["inputs"]))
    np.testing.assert_allclose(found, GOLDEN[name]["result"], atol=2e-6)


def drop(case, name):
    del case["tensors"][name]


LAST = "encoder.layer.1.output.dense.weight"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: drop(c, LAST), f"lacks {LAST}, which body.layers.1.mlp.down.kernel"),
        (
            lambda c: c["tensors"].update({"encoder.layer.2.output.dense.bias": [24]}),
            r"no part of the encoder takes: \['encoder.layer.2.output.dense.bias'\], 1 in all",
        ),
        (
            lambda c: c["tensors"].update({LAST: [24, 41]}),
            rf"{LAST} has shape \(24, 41\), expected \(24, 40\) by its config.json",
        ),
        (lambda c: c["config"].update(model_type="gpt2"), "model_type is 'gpt2', expected any of"),
        (lambda c: c["config"].update(model_type="siglip2"), "take a SigLIP 2 of one resolution"),
        (lambda c: c["config"].pop("model_type"), "model_type is None, expected any of"),
        (lambda c: c["config"].update(model_type=[1]), r"model_type is \[1\], expected any of"),
        (lambda c: c["config"].update(hidden_act="mish"), "hidden_act is 'mish', expected any of"),
        (
            lambda c: c["config"].update(num_attention_heads=5),
            "5 attention heads cannot share a width of 24",
        ),
        (
            lambda c: c["config"].update(position_embedding_type="relative_key"),
            "position_embedding_type is 'relative_key', expected 'absolute'",
        ),
    ],
)
def test_a_model_that_is_not_what_it_says_is_refused(model, change, told):
    with pytest.raises(ValueError, match=told):
        pretrained.load(model("bert text", change), "text")


@pytest.mark.parametrize(
    ("name", "part", "change", "told"),
    [
        (
            "clip text",
            "text",
            {"eos_token_id": [7]},
            r"eos_token_id is \[7\], expected a whol",
        ),
        ("siglip image", "vision", {"vision_use_head": False}, "vision_use_head is false, expect"),
        ("dinov3 image", "", {"num_attention_heads": 4}, "have a width of 6, expected a multiple"),
        ("clap audio", "audio", {"enable_fusion": True}, "is true, expected false: take a CLAP wi"),
        ("clap audio", "audio", {"depths": [2, 2, 1]}, r"have \[3, 2\] entries, expected as many"),
        ("clap audio", "audio", {"spec_size": 36}, "spec_size is 36, expected a multiple of num_"),
        ("clap audio", "audio", {"window_size": 16}, "has 8 x 8 tokens, expected multiples of the"),
        (
            "mpnet text",
            "",
            {"relative_attention_num_buckets": 8},
            "buckets is 8, expected 32",
        ),
        ("wav2vec2 audio", "", {"feat_extract_norm": "batch"}, "feat_extract_norm is 'batch', exp"),
        ("wav2vec2 audio", "", {"feat_extract_activation": "x"}, "feat_extract_activation is 'x'"),
        ("beats audio", "", {"activation_fn": "glu"}, "activation_fn is 'glu', expected any of"),
        ("distilbert text", "", {"activation": "x"}, "activation is 'x', expected any of"),
        ("beats audio", "", {"max_length": 3}, r"a spectrogram of \(10, 3\) has no patch of 4"),
        (
            "clap audio",
            "audio",
            {"patch_size": 8, "patch_stride": 8, "spec_size": 24, "window_size": 3},
            "a stage has 3 x 3 tokens, expected .* even ones before other stages",
        ),
        ("beats audio", "", {"num_buckets": 6}, "6 ranges of distances up to 5, expected a posit"),
        ("beats audio", "", {"max_distance": 2}, "8 ranges of distances up to 2, expected a pos"),
        ("wav2vec2 audio", "", {"conv_stride": [5]}, r"have \[4, 4, 1\] entries, expected as many"),
        ("whisper audio", "", {"activation_function": "x"}, "activation_function is 'x', expected"),
        ("roberta text", "", {"pad_token_id": 11}, "are 12 positions, expected more: .* after pad"),
        ("clap audio", "audio", {"patch_stride": 4}, "patch_stride is .4, 4., expected patches as"),
        ("clap audio", "audio", {"patch_stride": [1, 2]}, "patch_size is .2, 2. and patch_stride"),
        (
            "vit image",
            "",
            {"patch_size": 16},
            r"size of .12, 12. has no room for a patch of .16",
        ),
        ("ast audio", "", {"max_length": 3}, r"size of .10, 3. has no room for a patch of .4, 4."),
        ("videomae video", "", {"tubelet_size": 7}, r"6 frames of .12, 8. have no room for a patc"),
        ("beats audio", "", {"conv_pos_groups": 48}, "48 groups cannot share a width of 24 evenly"),
        ("clap text", "", {"projection_dim": None}, "projection_dim is None, expected a whole num"),
        ("clap text", "", {"text_config": "x"}, "text_config is 'x', expected settings by name"),
        ("clip image", "", {"vision_config": [1]}, r"vision_config is \[1\], expected settings by"),
    ],
)
def test_a_configuration_of_something_else_is_refused(model, name, part, change, told):
    def changed(case):
        case["config"].get(f"{part}_config", case["config"]).update(change)

    with pytest.raises(ValueError, match=told):
        pretrained.load(model(name, changed), name.split()[-1])


WRONG = (0, -1, 1.5, True, "x", None, [], [0], {}, float("inf"))


@pytest.mark.parametrize(
    ("name", "part", "field", "right"),
    [
        ("bert text", "", "hidden_size", ()),
        ("bert text", "", "type_vocab_size", (0,)),
        ("bert text", "", "layer_norm_eps", (1.5,)),
        ("bert text", "", "hidden_act", ("x",)),  # which is refused by name
        ("clip text", "text_config", "vocab_size", ()),
        ("clip text", "", "projection_dim", (None,)),
        ("clap audio", "audio_config", "depths", ()),
        ("clap audio", "audio_config", "mlp_ratio", (1.5,)),
        ("vit image", "", "qkv_bias", (True,)),
        ("vit image", "", "image_size", ()),
        ("dinov3 image", "", "num_register_tokens", (0,)),
        ("eva image", "", "projection_dim", (None,)),
        ("imagebind audio", "", "audio_stride", ()),
        ("beats audio", "", "conv_pos_groups", ()),
        ("wav2vec2 audio", "", "num_conv_pos_embedding_groups", ()),
        ("wavlm audio", "", "conv_kernel", ()),
        ("whisper audio", "", "max_source_positions", ()),
    ],
)
def test_a_setting_of_another_kind_is_refused_by_name(model, name, part, field, right):
    folder = model(name)
    config = json.loads((folder / "config.json").read_text())
    settings = config[part] if part else config
    place = f"{part}.{field}" if part else field
    for value in WRONG:
        if any(value is each for each in right):
            continue
        settings[field] = value
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(ValueError) as told:
            pretrained.abstract(folder, name.split()[-1])
        said = str(told.value)
        assert said.startswith(f"{folder / 'config.json'}: {place} is {value!r}, expected "), said


def test_a_folder_that_is_none_of_a_model_is_refused(model, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent.config.json does not exist, expected a"):
        pretrained.load(tmp_path / "absent", "text")
    here = re.escape(str(Path.cwd()))
    with pytest.raises(FileNotFoundError, match=f"^absent/config.json does not exist in {here}, "):
        pretrained.load("absent", "text")
    folder = model("bert text")
    with pytest.raises(ValueError, match=r"is a bert, which encodes text, not image, as does"):
        pretrained.load(folder, "image")
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"model.safetensors is damaged or no safetensors file"):
        pretrained.load(folder, "text")
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no \*.safetensors$"):
        pretrained.load(folder, "text")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(FileNotFoundError, match="pytorch_model.bin is a pickle, which is never"):
        pretrained.load(folder, "text")
    (folder / "config.json").write_text("[1]")
    with pytest.raises(ValueError, match="holds a list, expected settings by name"):
        pretrained.load(folder, "text")
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json is damaged or not JSON"):
        pretrained.load(folder, "text")


@pytest.mark.parametrize(
    ("name", "inputs", "told"),
    [
        ("bert text", {"input_ids": [1, 13]}, "input_ids is 13 tokens long, expected at most 12"),
        ("roberta text", {"input_ids": [1, 11]}, "is 11 tokens long, expected at most 10"),
        ("bert text", {"input_ids": [13]}, r"input_ids has shape \(13,\), expected 2 axes"),
        ("bert text", {"pixel_values": [1]}, r"got .*'pixel_values'.*, expected input_ids"),
        ("vit image", {"pixel_values": [1, 4, 12, 12]}, r"expected \[batch, 3, height, width\]"),
        ("vit image", {"pixel_values": [1, 3, 3, 12]}, r"with room for a patch of \(4, 4\)"),
        ("videomae video", {"pixel_values": [1, 4, 3, 12, 8]}, r"expected \[batch, 6, 3, 12, 8\]"),
        ("ast audio", {"input_values": [1, 10, 14]}, r"expected \[batch, 14, 10\]"),
        ("clap audio", {"input_features": [1, 1, 129, 8]}, r"\[batch, 1, at most 128, 8\]"),
        ("clap audio", {"input_features": [1, 4, 100, 8]}, r"\[batch, 1, at most 128, 8\]"),
        ("wav2vec2 audio", {"input_values": [1, 164]}, "164 samples long, expected at least 165"),
        ("whisper audio", {"input_features": [1, 8, 18]}, r"expected \[batch, 8, 20\]"),
        ("beats audio", {"input_values": [1, 10, 14]}, r"expected \[batch, 14, 10\]"),
    ],
)
def test_inputs_of_another_shape_are_refused(model, name, inputs, told):
    encoder = pretrained.load(model(name), name.split()[-1])
    with pytest.raises(ValueError, match=told):
        encoder(drawn_inputs(inputs))
