"""The encoders of a published model, of the names and shapes that its code has."""

import errno
import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import safetensors.numpy
from transformers import AutoImageProcessor
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from gramalign.cli.main import main
from gramalign.files import LOCK, locked
from gramalign.models import pretrained
from gramalign.models.pretrained.families import imagebind
from tests.models.pretrained.tiny import drawn, drawn_inputs, golden

GOLDEN = golden()
HEADS = {"t": 24, "s": 24, "v": 32, "a": 24, "d": 32}


def weights_of(name, before):
    return {f"{before}{each}": drawn(each, s) for each, s in GOLDEN[name]["tensors"].items()}


def published():
    """A tiny model, by the names of GRAM's code."""
    weights = {
        **weights_of("eva image", "vision_encoder.visual."),
        **weights_of("large beats audio", "audio_encoder."),
        **weights_of("bert for masked words text", "multimodal_encoder."),
        **{f"contra_head_{n}.linear.weight": drawn(n, (6, wide)) for n, wide in HEADS.items()},
    }
    # Of older torch's names, and what no encoder has a use for.
    places = "audio_encoder.encoder.pos_conv.0"
    weights[f"{places}.weight_g"] = weights.pop(f"{places}.parametrizations.weight.original0")
    weights[f"{places}.weight_v"] = weights.pop(f"{places}.parametrizations.weight.original1")
    of_all = "self_attn.relative_attention_bias.weight"
    first = weights[f"audio_encoder.encoder.layers.0.{of_all}"]
    return {
        **weights,
        f"audio_encoder.encoder.layers.1.{of_all}": first,
        "vision_encoder.text.positional_embedding": drawn("text", (7, 5)),
        "multimodal_encoder.bert.encoder.layer.0.crossattention.self.query.bias": drawn("x", (24,)),
        "multimodal_encoder.bert.embeddings.position_ids": np.arange(12)[None],
        "itm_head.linear2.bias": drawn("itm", (2,)),
        "contra_temp": np.float32(0.07)[None],
    }


def head(letter):
    return drawn(letter, (6, HEADS[letter]))


def check_pictures(folder, resample):
    images = AutoImageProcessor.from_pretrained(folder, backend="pil")
    assert (images.size.shortest_edge, images.crop_size.height, images.crop_size.width) == (12,) * 3
    assert images.resample == resample
    assert list(images.image_mean) == OPENAI_CLIP_MEAN
    assert list(images.image_std) == OPENAI_CLIP_STD


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "gram.safetensors"
    safetensors.numpy.save_file(published(), path)
    return path


@pytest.fixture
def bert(tmp_path):
    (folder := tmp_path / "bert-base-uncased").mkdir()
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ncat\n")
    return folder


def test_images(checkpoint, tmp_path):
    found = pretrained.divide(checkpoint, tmp_path / "gram")
    assert sorted(found) == ["audio", "depth", "vision"]
    case = GOLDEN["eva image"]
    inputs = drawn_inputs(case["inputs"])
    for name in ("vision", "depth"):
        encoder = pretrained.load(found[name], "image")
        pooled = np.asarray(encoder.body(encoder.front(inputs)[0])[:, 0])
        # The golden embeddings are those of EVA-CLIP's own map, which GRAM has no use for.
        kernel, bias = (
            drawn(f"head.{n}", case["tensors"][f"head.{n}"]) for n in ("weight", "bias")
        )
        np.testing.assert_allclose(pooled @ kernel.T + bias, case["result"], atol=5e-6)
        assert encoder.dim == 6
        np.testing.assert_allclose(encoder(inputs), pooled @ head(name[0]).T, atol=2e-6)
    check_pictures(found["vision"], PIL.Image.Resampling.BILINEAR)


def test_sounds(checkpoint, tmp_path):
    folder = pretrained.divide(checkpoint, tmp_path / "gram")["audio"]
    path, case = folder / "config.json", GOLDEN["large beats audio"]
    config = json.loads(path.read_text())
    assert (config["num_mel_bins"], config["max_length"]) == (64, 1024)
    assert config["max_distance"] == 800
    banks = json.loads((folder / "preprocessor_config.json").read_text())
    assert (banks["num_mel_bins"], banks["max_length"]) == (64, 1024)
    told = {**config, "projection_dim": None, "num_mel_bins": 10, "max_length": 14}
    differs = {n for n, x in case["config"].items() if n in told and told[n] != x}
    assert differs == {"max_distance"}
    path.write_text(json.dumps({**config, "num_mel_bins": 10, "max_length": 14, "max_distance": 5}))
    found = pretrained.load(folder, "audio")(drawn_inputs(case["inputs"]))
    np.testing.assert_allclose(found, np.asarray(case["result"]) @ head("a").T, atol=5e-6)


def test_texts(checkpoint, bert, tmp_path):
    found = pretrained.divide(checkpoint, tmp_path / "gram", tokenizer=bert)
    assert sorted(found) == ["audio", "caption", "depth", "subtitle", "vision"]
    case = GOLDEN["bert for masked words text"]
    inputs = drawn_inputs(case["inputs"])
    for name, letter, longest in (("caption", "t", 40), ("subtitle", "s", 70)):
        path = found[name] / "config.json"
        config = json.loads(path.read_text())
        assert config["num_attention_heads"] == 1, "of 64 features each, as BERT's"
        differs = {n for n in config if config[n] != case["config"].get(n)}
        assert differs == {"num_attention_heads", "architectures"}
        path.write_text(json.dumps({**config, "num_attention_heads": 3}))
        encoder = pretrained.load(found[name], "text")
        front, mask = encoder.front(inputs)
        tokens, mask = np.asarray(encoder.body(front, mask)), np.asarray(mask)
        kept = np.where(mask[..., None], tokens, 0).sum(1) / mask.sum(1, keepdims=True)
        np.testing.assert_allclose(kept, case["result"], atol=2e-6)
        np.testing.assert_allclose(encoder(inputs), tokens[:, 0] @ head(letter).T, atol=2e-6)
        cut = json.loads((found[name] / "sentence_bert_config.json").read_text())
        assert cut["max_seq_length"] == longest
        assert (found[name] / "vocab.txt").read_bytes() == (bert / "vocab.txt").read_bytes()


def test_names_of_older_code_and_models_without_depth(checkpoint, tmp_path):
    expected = pretrained.divide(checkpoint, tmp_path / "new")
    older = {
        f"module.{name.replace('vision_encoder', 'evaclip_model')}": array
        for name, array in published().items()
        if "contra_head_d" not in name
    }
    older = {name.replace("contra_head_v.", "contra_head_video."): a for name, a in older.items()}
    older = {name.replace("head_video.", "head_v."): a for name, a in older.items()}
    safetensors.numpy.save_file(older, checkpoint)
    found = pretrained.divide(checkpoint, tmp_path / "old")
    assert sorted(found) == ["audio", "vision"]
    for name, folder in found.items():
        for file in ("config.json", "model.safetensors"):
            assert (folder / file).read_bytes() == (expected[name] / file).read_bytes()


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("vision_encoder.visual.blocks.1.mlp.fc1.weight", lambda x: x[:-1], "has shape .*, expect"),
        ("vision_encoder.visual.blocks.1.attn.qkv.weight", lambda x: x[:-1], "of other shapes tha"),
        ("audio_encoder.encoder.layers.1.fc2.bias", None, "lacks encoder.layers.1.fc2.bias, which"),
        ("audio_encoder.encoder.layer_norm.bias", lambda x: np.nan * x, "has NaN or Inf"),
    ],
)
def test_later_layers_are_looked_at_too(checkpoint, tmp_path, name, change, told):
    weights = published()
    if change is None:
        del weights[name]
    else:
        weights[name] = np.ascontiguousarray(change(weights[name]))
    safetensors.numpy.save_file(weights, checkpoint)
    with pytest.raises(ValueError, match=f"gram.safetensors holds no such model.*{told}"):
        pretrained.divide(checkpoint, tmp_path / "gram")
    part = "vision" if "vision" in name else "audio"
    assert not (tmp_path / "gram" / part / "config.json").exists()


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        ("vision_encoder.visual.blocks.0.attn.qkv.weight", "visual.blocks.0.attn.qkv.weight, expe"),
        ("contra_head_a.linear.weight", "lacks contra_head_a.linear.weight, expected a checkpoint"),
        ("audio_encoder.patch_embedding.weight", "lacks audio_encoder.patch_embedding.weight"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(checkpoint, tmp_path, lost, told):
    weights = published()
    del weights[lost]
    safetensors.numpy.save_file(weights, checkpoint)
    with pytest.raises(ValueError, match=told):
        pretrained.divide(checkpoint, tmp_path / "gram")
    part = "vision" if "vision" in lost else "audio"
    assert not (tmp_path / "gram" / part / "config.json").exists()


def test_weights_of_another_rank_are_refused(checkpoint, tmp_path):
    weights = published()
    name = "audio_encoder.patch_embedding.weight"
    weights[name] = weights[name][:, :, 0]
    safetensors.numpy.save_file(weights, checkpoint)
    with pytest.raises(ValueError, match=rf"{name} has shape \(.*\), expected 4 axes"):
        pretrained.divide(checkpoint, tmp_path / "gram")


def test_nothing_of_what_was_there_is_left_to_load(checkpoint, bert, tmp_path):
    (other := tmp_path / "other").mkdir()
    for name in ("tokenizer.json", "merges.txt"):
        (other / name).write_text("{}")
    found = pretrained.divide(checkpoint, tmp_path / "gram", tokenizer=other)
    pretrained.divide(checkpoint, tmp_path / "gram", tokenizer=bert)
    names = {path.name for path in found["caption"].iterdir()}
    assert "vocab.txt" in names and not names & {"tokenizer.json", "merges.txt"}
    # The tokenizer of a folder that is written anew.
    pretrained.divide(checkpoint, tmp_path / "gram", tokenizer=found["caption"])
    for name in ("caption", "subtitle"):
        assert (found[name] / "vocab.txt").read_bytes() == (bert / "vocab.txt").read_bytes()
        assert pretrained.load(found[name], "text").dim == 6
    without = {n: w for n, w in published().items() if "contra_head_d" not in n}
    safetensors.numpy.save_file(without, checkpoint)
    pretrained.divide(checkpoint, tmp_path / "gram")
    for name in ("caption", "subtitle", "depth"):
        with pytest.raises(FileNotFoundError, match="config.json does not exist"):
            pretrained.load(found[name], "text")


def bytes_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_was_there_stays_if_the_checkpoint_is_of_something_else(checkpoint, bert, tmp_path):
    pretrained.divide(checkpoint, out := tmp_path / "gram", tokenizer=bert)
    before, weights = bytes_of(out), published()
    weights["multimodal_encoder.bert.encoder.layer.1.output.dense.bias"] *= np.nan
    weights["vision_encoder.visual.blocks.1.mlp.fc1.bias"] += 1
    safetensors.numpy.save_file(weights, checkpoint)
    with pytest.raises(ValueError, match=f"no such model as was published: {out}/caption: .* NaN"):
        pretrained.divide(checkpoint, out, tokenizer=bert)
    assert bytes_of(out) == before


def test_what_a_killed_process_left_is_removed(checkpoint, tmp_path):
    out = tmp_path / "gram"
    for name in ("", "vision", "caption"):
        (left := out / name / ".unfinished").mkdir(parents=True)
        (left / "model.safetensors.1.part").touch()
    found = pretrained.divide(checkpoint, out)
    assert {path.name for path in out.iterdir()} == {*found, "caption"}
    written = {"config.json", "model.safetensors", "preprocessor_config.json"}
    assert {path.name for path in found["vision"].iterdir()} == written
    assert not any((out / "caption").iterdir())


def test_two_processes_in_one_folder(checkpoint, tmp_path):
    with locked(tmp_path / LOCK, ""), pytest.raises(FileExistsError, match="another process is w"):
        pretrained.divide(checkpoint, tmp_path)


def test_a_folder_may_be_a_link_to_another_disk(checkpoint, tmp_path, monkeypatch):
    (far := tmp_path / "far").mkdir()
    (out := tmp_path / "gram").mkdir()
    (out / "vision").symlink_to(far)
    own = Path.replace

    def replace(path, target):
        if path.resolve().is_relative_to(far) != Path(target).resolve().is_relative_to(far):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return own(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    found = pretrained.divide(checkpoint, out)
    assert pretrained.load(found["vision"], "image").dim == 6
    assert (far / "config.json").exists()


@pytest.mark.parametrize("of", ["beats", "gram"])
def test_a_checkpoint_does_not_overwrite_itself(tmp_path, of):
    weights, folder = published(), tmp_path / "vision"
    if of == "beats":
        weights, folder = weights_of("large beats audio", ""), tmp_path
    folder.mkdir(exist_ok=True)
    safetensors.numpy.save_file(weights, path := folder / "model.safetensors")
    before = bytes_of(tmp_path)
    with pytest.raises(ValueError, match=f"^{path} is the checkpoint, and would be overwritten"):
        pretrained.divide(path, tmp_path)
    assert bytes_of(tmp_path) == before
    pretrained.divide(path, tmp_path / "out")


def test_missing_files_are_told(checkpoint, tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.safetensors does not exist, expected a"):
        pretrained.divide(tmp_path / "absent.safetensors", tmp_path / "gram")
    with pytest.raises(FileNotFoundError, match="is a folder, expected a safetensors file"):
        pretrained.divide(tmp_path, tmp_path / "gram")
    with pytest.raises(FileNotFoundError, match="has no tokenizer, expected any of .'tokeniz"):
        pretrained.divide(checkpoint, tmp_path / "gram", tokenizer=tmp_path)
    assert not (tmp_path / "gram").exists()


def test_a_damaged_checkpoint_is_no_pickle(checkpoint, tmp_path):
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    with pytest.raises(ValueError, match="is damaged or no safetensors file: ") as told:
        pretrained.divide(checkpoint, tmp_path / "gram")
    assert "torch" not in str(told.value)


@pytest.mark.parametrize("nested", [False, True])
def test_a_pickle_is_refused_with_what_makes_a_checkpoint_of_it(tmp_path, nested):
    torch = pytest.importorskip("torch")
    path = tmp_path / "model step 459.pt"
    shared = torch.ones(3, 2)
    weights = {"one": shared, "other": shared, "step": 459}
    torch.save({"cfg": {}, "model": weights} if nested else weights, path)
    with pytest.raises(ValueError, match="Pickles are never opened here; where torch is") as told:
        pretrained.divide(path, tmp_path / "gram")
    cure = shlex.split(str(told.value).partition("anew: ")[2])
    subprocess.run([sys.executable, *cure[1:]], check=True)
    found = safetensors.numpy.load_file(path.with_suffix(".safetensors"))
    assert {name: array.shape for name, array in found.items()} == {"one": (3, 2), "other": (3, 2)}


def test_beats_of_its_authors(tmp_path):
    weights = {**weights_of("large beats audio", ""), "predictor.bias": drawn("x", (527,))}
    path, out = tmp_path / "beats.safetensors", tmp_path / "beats"
    safetensors.numpy.save_file(weights, path)
    assert pretrained.divide(path, out) == {"audio": out}
    config = json.loads((out / "config.json").read_text())
    banks = json.loads((out / "preprocessor_config.json").read_text())
    assert banks["num_mel_bins"] == config["num_mel_bins"] == 128
    case = GOLDEN["large beats audio"]
    tiny = {"num_mel_bins": 10, "max_length": 14, "max_distance": 5}
    (out / "config.json").write_text(json.dumps({**config, **tiny}))
    found = pretrained.load(out, "audio")(drawn_inputs(case["inputs"]))
    np.testing.assert_allclose(found, case["result"], atol=2e-6)


def tiny_imagebind():
    kinds = ("text", "image", "audio")
    weights = {n: w for kind in kinds for n, w in weights_of(f"imagebind {kind}", "").items()}
    weights["modality_preprocessors.text.mask"] = drawn("mask", (12, 12))
    weights["modality_trunks.depth.blocks.0.norm_1.weight"] = drawn("depth", (24,))
    return weights


def test_an_imagebind_of_another_size_is_refused(tmp_path):
    path, out = tmp_path / "imagebind.safetensors", tmp_path / "imagebind"
    safetensors.numpy.save_file(tiny_imagebind(), path)
    told = r"imagebind.safetensors holds no such model as was published: .* has shape .*, expected"
    with pytest.raises(ValueError, match=told):
        pretrained.divide(path, out)
    assert not (out / "config.json").exists()


def test_imagebind_is_one_folder(tmp_path, bert, capsys, monkeypatch):
    for name, size in GOLDEN["imagebind text"]["config"].items():
        monkeypatch.setitem(imagebind._imagebind, name, size)  # as if this were the published one
    kinds, weights = ("text", "image", "audio"), tiny_imagebind()
    path, out = tmp_path / "imagebind.safetensors", tmp_path / "imagebind"
    safetensors.numpy.save_file(weights, path)
    main(["encoders", str(path), "--tokenizer", str(bert), "--out", str(out)])
    assert capsys.readouterr().out.replace("\n", "").split() == ["wrote", str(out)]
    assert (out / "vocab.txt").read_bytes() == (bert / "vocab.txt").read_bytes()
    check_pictures(out, PIL.Image.Resampling.BICUBIC)
    settings = json.loads((out / "preprocessor_config.json").read_text())
    assert settings["max_length"] == 204
    assert json.loads((out / "config.json").read_text()) == {"model_type": "imagebind"}
    for kind in kinds:
        case = GOLDEN[f"imagebind {kind}"]
        found = pretrained.load(out, kind)(drawn_inputs(case["inputs"]))
        np.testing.assert_allclose(found, case["result"], atol=2e-6)


def test_the_command_says_what_it_wrote(checkpoint, bert, tmp_path, capsys):
    out = tmp_path / "gram"
    main(["encoders", str(checkpoint), "--tokenizer", str(bert), "--out", str(out)])
    told = capsys.readouterr().out.replace("\n", "").replace(" ", "")
    for name in ("caption", "subtitle", "vision", "depth", "audio"):
        assert str(out / name) in told
        assert pretrained.kinds(out / name)
