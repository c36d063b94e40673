"""The forms in which folders hold the same model."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from gramalign.models import pretrained
from tests.models.pretrained.tiny import drawn_inputs, golden

GOLDEN = golden()


def weights_of(folder):
    return safetensors.numpy.load_file(folder / "model.safetensors")


def save(folder, weights, name="model.safetensors"):
    safetensors.numpy.save_file(weights, folder / name, {"format": "pt"})


def in_two(folder, weights):
    """Writes half of the weights to each of two files, and gives their names."""
    (folder / "model.safetensors").unlink()
    files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for number, file in enumerate(files):
        save(folder, {name: weights[name] for name in sorted(weights)[number::2]}, file)
    return files


def embeds_as(folder, name, atol=2e-6):
    case = GOLDEN[name]
    encoder = pretrained.load(folder, name.split()[-1])
    found = encoder(drawn_inputs(case["inputs"]))
    np.testing.assert_allclose(found, case["result"], atol=atol)
    assert found.shape[1] == encoder.dim


def test_several_files_half_precision_and_old_names_are_read(model):
    name = "bert for masked words text"
    folder = model(name)
    weights = weights_of(folder)
    old: dict[str, np.ndarray] = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): array.astype(np.float16)
        for name, array in weights.items()
    }
    old["bert.embeddings.position_ids"] = np.arange(12)[None]
    old["bert.pooler.dense.weight"] = np.zeros((24, 24), np.float16)
    in_two(folder, old)
    embeds_as(folder, name, atol=5e-3)


def test_counts_of_batches_in_training_are_no_weights(model):
    name = "large hubert with batch norm audio"
    folder = model(name)
    weights = weights_of(folder)
    counts = "hubert.encoder.pos_conv_embed.batch_norm.num_batches_tracked"
    save(folder, weights | {counts: np.array(3)})
    embeds_as(folder, name)


def test_weights_in_bfloat16_are_read(model):
    folder = model("vit image")
    save(folder, {n: w.astype(jnp.bfloat16) for n, w in weights_of(folder).items()})
    embeds_as(folder, "vit image", atol=5e-2)


def test_other_forms_of_the_weights_are_left_alone(model):
    folder = model("bert text")
    weights = weights_of(folder)
    other = {name: 2 * array for name, array in weights.items()}
    save(folder, other, "model.fp16.safetensors")
    save(folder, other, "zero.safetensors")
    embeds_as(folder, "bert text")
    files = in_two(folder, weights)
    with pytest.raises(ValueError, match=r"is in model-0000[12]-of-00002.safetensors and model.fp"):
        pretrained.load(folder, "text")
    index = {"weight_map": {name: files[i % 2] for i, name in enumerate(sorted(weights))}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    embeds_as(folder, "bert text")
    (folder / files[1]).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{files[1]} does not exist, which model.safet"):
        pretrained.load(folder, "text")
    (folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ValueError, match="lacks encoder.layer.0.attention.self.key.bias"):
        pretrained.load(folder, "text")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "index.json is damaged or not JSON"),
        ("[]", "index.json holds a list, expected settings by name"),
        ('{"weight_map": []}', r"weight_map is \[\], expected settings by name"),
        ('{"weight_map": {"x": 3}}', "weight_map names 3, expected names of files"),
        ('{"weight_map": {"x": "pytorch_model.bin"}}', "pytorch_model.bin is damaged or no safet"),
    ],
)
def test_an_index_of_another_form_is_refused(model, content, told):
    folder = model("bert text")
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ValueError, match=told):
        pretrained.load(folder, "text")


KERNEL = "encoder.layer.0.output.dense.weight"


@pytest.mark.parametrize(
    ("name", "tensor", "change", "told"),
    [
        ("bert text", KERNEL, lambda x: x.astype(np.int8), f"{KERNEL} is of I8, expected any of F"),
        ("bert text", KERNEL, lambda x: x.astype(jnp.float8_e4m3fn), "is of F8_E4M3, expected any"),
        ("bert text", KERNEL, lambda x: np.nan * x, f"{KERNEL} has NaN or Inf"),
        ("bert text", KERNEL, lambda x: 1e300 * x.astype(np.float64), "numbers too large for floa"),
        ("bert text", KERNEL, lambda x: x[0], rf"{KERNEL} has shape \(40,\), expected \(24, 40\)"),
        (
            "wav2vec2 audio",
            "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
            lambda x: 0 * x,  # which has no direction
            "encoder.pos_conv_embed.conv.weight has NaN or Inf",
        ),
        ("eva image", "blocks.0.attn.qkv.weight", lambda x: x[1:], "weights of other shapes than"),
        ("ast audio", "embeddings.cls_token", lambda x: x[0, 0], "weights of other shapes than"),
    ],
)
def test_a_weight_that_is_none_is_refused(model, name, tensor, change, told):
    folder = model(name)
    weights = weights_of(folder)
    weights[tensor] = np.ascontiguousarray(change(weights[tensor]))
    save(folder, weights)
    with pytest.raises(ValueError, match=told):
        pretrained.load(folder, name.split()[-1])


def test_the_older_names_of_a_kernel_whose_length_is_apart(model):
    folder = model("large wav2vec2 audio")
    weights = weights_of(folder)
    before = "encoder.pos_conv_embed.conv"
    for new, old in (("original0", "weight_g"), ("original1", "weight_v")):
        weights[f"{before}.{old}"] = weights.pop(f"{before}.parametrizations.weight.{new}")
    save(folder, weights)
    embeds_as(folder, "large wav2vec2 audio")
    del weights[f"{before}.weight_g"]
    save(folder, weights)
    with pytest.raises(ValueError, match=f"lacks {before}.weight, which front.places.kernel is"):
        pretrained.load(folder, "audio")


@pytest.mark.parametrize("name", ["adapter.layers.0.conv.bias", "encoder.layers.0.adapter_layer.x"])
def test_adapters_are_no_part_of_an_encoder(model, name):
    folder = model("wav2vec2 audio")
    save(folder, {**weights_of(folder), name: np.zeros(3, np.float32)})
    with pytest.raises(ValueError, match=rf"no part of the encoder takes: \['{name}'\]"):
        pretrained.load(folder, "audio")


def test_the_newer_names_of_layers_and_an_array_of_no_registers(model):
    folder = model("dinov3 image", lambda case: case["config"].pop("num_register_tokens"))
    weights = weights_of(folder)
    weights["embeddings.register_tokens"] = np.zeros((1, 0, 24), np.float32)
    save(folder, weights)
    case = GOLDEN["dinov3 image"]
    inputs = drawn_inputs(case["inputs"])
    found = pretrained.load(folder, "image")(inputs)
    assert np.abs(found - np.asarray(case["result"])).max() > 1e-3
    save(folder, {n.replace("layer.", "model.layer."): w for n, w in weights.items()})
    np.testing.assert_array_equal(pretrained.load(folder, "image")(inputs), found)


@pytest.mark.parametrize("name", ["clap text", "clap audio"])
def test_tables_of_numbers_are_no_weights(model, name):
    folder = model(name)
    encoder, layer = "audio_model.audio_encoder", "layers.0.blocks.1.attention.self"
    weights = weights_of(folder) | {
        f"{encoder}.batch_norm.num_batches_tracked": np.asarray(7),
        f"{encoder}.{layer}.relative_position_index": np.zeros((64, 64), int),
        "text_model.embeddings.position_ids": np.arange(12)[None],
        "text_model.embeddings.token_type_ids": np.zeros((1, 12), int),
    }
    save(folder, weights)
    embeds_as(folder, name)
    del weights[f"{encoder}.batch_norm.running_var"]
    save(folder, weights)
    if name == "clap text":
        embeds_as(folder, name)
        return
    with pytest.raises(ValueError, match="lacks .*batch_norm.scale, which front.scale is made of"):
        pretrained.load(folder, "audio")


@pytest.mark.parametrize("half", ["gate", "up"])
def test_half_of_a_gated_layer_is_none(model, half):
    folder = model(
        "dinov3 with gates image",
        lambda case: case["tensors"].pop(f"layer.1.mlp.{half}_proj.weight"),
    )
    with pytest.raises(ValueError, match=r"layer\.1\.mlp\.up_proj\.weight"):
        pretrained.load(folder, "image")


ALONE = {
    "clip text": ("text", "CLIPTextModel", "text_projection.weight"),
    "clip image": ("vision", "CLIPVisionModel", "visual_projection.weight"),
    "siglip text": ("text", "SiglipTextModel", None),
    "siglip image": ("vision", "SiglipVisionModel", None),
}


def alone(folder, name, architecture, *, bare):
    """Makes the folder that of one encoder alone, whose names are `bare` in newer files."""
    part, _, projection = ALONE[name]
    config = json.loads((folder / "config.json").read_text())
    family = config["model_type"]
    config = config[f"{part}_config"] | {"projection_dim": config.get("projection_dim")}
    config |= {"model_type": f"{family}_{part}_model", "architectures": [architecture]}
    (folder / "config.json").write_text(json.dumps(config))
    weights = weights_of(folder)
    own = {n: w for n, w in weights.items() if n.startswith(f"{part}_model.")}
    own = {n.removeprefix(f"{part}_model.") if bare else n: w for n, w in own.items()}
    if "WithProjection" in architecture:
        own[projection] = weights[projection]
    save(folder, own)
    return weights.get(projection)


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("name", ALONE)
def test_an_encoder_without_the_other(model, name, bare):
    folder = model(name)
    projection = alone(folder, name, ALONE[name][1], bare=bare)
    kind = name.split()[-1]
    assert pretrained.kinds(folder) == (kind,)
    if projection is None:
        embeds_as(folder, name)
        return
    encoder = pretrained.load(folder, kind)
    found = encoder(drawn_inputs(GOLDEN[name]["inputs"]))
    assert found.shape == (2, encoder.dim) == (2, 24)
    np.testing.assert_allclose(found @ projection.T, GOLDEN[name]["result"], atol=2e-6)


@pytest.mark.parametrize("name", ["clip text", "clip image"])
def test_an_encoder_without_the_other_but_with_its_projection(model, name):
    folder = model(name)
    alone(folder, name, f"{ALONE[name][1]}WithProjection", bare=False)
    embeds_as(folder, name)


def test_the_second_of_two_configurations_counts(model):
    def twice(case):
        config = case["config"]
        config["text_config_dict"] = config["text_config"]
        config["text_config"] = {"hidden_size": 7}

    embeds_as(model("clip text", twice), "clip text")
