"""Writes `pretrained.json`: what models in PyTorch return for tiny random weights.

They are those of Hugging Face, EVA of timm, and BEATs of SpeechBrain. Run as `python -m
tests.golden.pretrained`, with torch, transformers, timm and speechbrain installed. Weights and
inputs are drawn anew wherever they are needed, so that only shapes and results are kept.
"""

import importlib.metadata
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
import transformers as hf

from tests.models.pretrained.tiny import drawn_inputs, write_weights

SMALL: dict[str, Any] = {
    **{"hidden_size": 24, "intermediate_size": 40},
    **{"num_hidden_layers": 2, "num_attention_heads": 3},
}
TEXT: dict[str, Any] = {**SMALL, "vocab_size": 50, "max_position_embeddings": 12}
IMAGE: dict[str, Any] = {**SMALL, "image_size": 12, "patch_size": 4}

IDS = {"input_ids": [2, 9], "attention_mask": [2, 9]}
LONG = {"input_ids": [2, 150], "attention_mask": [2, 150]}
UNMASKED = {"input_ids": [2, 12]}
PIXELS = {"pixel_values": [2, 3, 12, 12]}
OBLONG = {"pixel_values": [2, 3, 16, 12]}
LARGER = {"pixel_values": [2, 3, 16, 24]}
SMALLER = {"pixel_values": [2, 3, 8, 4]}
VIDEO = {"pixel_values": [2, 6, 3, 12, 8]}
SPECTRUM = {"input_values": [2, 14, 10]}
WAVES = {"input_values": [2, 1600]}
MASKED_WAVES = {**WAVES, "attention_mask": [2, 1600]}
FRAMES = {"input_features": [2, 8, 20]}


def clip(end: int) -> Any:
    text = {**TEXT, "eos_token_id": end, "projection_dim": 10}
    return hf.CLIPModel(hf.CLIPConfig(text_config=text, vision_config=IMAGE, projection_dim=10))


def siglip(projection: int = 24) -> Any:
    text = {**TEXT, "projection_size": projection}
    return hf.SiglipModel(hf.SiglipConfig(text_config=text, vision_config=IMAGE))


def clap(layers_of_text: int) -> Any:
    text = {**TEXT, "num_hidden_layers": layers_of_text}
    audio: dict[str, Any] = {
        **{"num_mel_bins": 8, "spec_size": 32, "patch_size": 2, "patch_stride": [2, 2]},
        **{"patch_embeds_hidden_size": 12, "hidden_size": 24, "window_size": 8},
        **{"depths": [2, 2], "num_attention_heads": [2, 4], "layer_norm_eps": 1e-4},
    }
    return hf.ClapModel(hf.ClapConfig(text_config=text, audio_config=audio, projection_dim=10))


def mpnet() -> Any:
    config = {**TEXT, "max_position_embeddings": 160}
    return hf.MPNetModel(hf.MPNetConfig(**config))


def distilbert(**more: Any) -> Any:
    sizes = {"dim": 24, "hidden_dim": 40, "n_layers": 2, "n_heads": 3}
    places = {"vocab_size": 50, "max_position_embeddings": 12}
    return hf.DistilBertConfig(**sizes, **places, **more)


def dinov2(size: int, *, gated: bool) -> Any:
    config = {**IMAGE, "image_size": size, "use_swiglu_ffn": gated}
    return hf.Dinov2Model(hf.Dinov2Config(**config))


def registers(*, gated: bool, count: int = 2) -> Any:
    config = {**IMAGE, "use_swiglu_ffn": gated, "num_register_tokens": count, "mlp_ratio": 2}
    return hf.Dinov2WithRegistersModel(hf.Dinov2WithRegistersConfig(**config))


def dinov3(**more: Any) -> Any:
    return hf.DINOv3ViTModel(hf.DINOv3ViTConfig(**IMAGE, **more))


def videomae(**more: Any) -> Any:
    video = {"num_frames": 6, "tubelet_size": 2, "image_size": [12, 8]}
    decoder = {f"decoder_{name}": value for name, value in SMALL.items()}
    return hf.VideoMAEConfig(**{**IMAGE, **video, **decoder, **more})


def ast() -> Any:
    size: dict[str, Any] = {"max_length": 14, "num_mel_bins": 10, "patch_size": 4}
    return hf.ASTModel(hf.ASTConfig(**SMALL, **size, frequency_stride=3, time_stride=2))


def whisper() -> Any:
    sizes: dict[str, Any] = {
        **{"d_model": 24, "num_mel_bins": 8, "max_source_positions": 10},
        **{"encoder_layers": 2, "encoder_attention_heads": 3, "encoder_ffn_dim": 40},
        **{"decoder_layers": 1, "decoder_attention_heads": 3, "decoder_ffn_dim": 40},
        **{"vocab_size": 50, "max_target_positions": 6, "decoder_start_token_id": 1},
        **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
    }
    return hf.WhisperForConditionalGeneration(hf.WhisperConfig(**sizes))


def waves(*, large: bool) -> dict[str, Any]:
    return {
        **SMALL,
        **{"conv_dim": (6, 8, 10, 12), "conv_kernel": (10, 4, 4, 2), "conv_stride": (5, 4, 4, 2)},
        **{"num_conv_pos_embeddings": 5 if large else 4, "num_conv_pos_embedding_groups": 3},
        **{"conv_bias": large, "feat_extract_norm": "layer" if large else "group"},
        **{"do_stable_layer_norm": large, "vocab_size": 20},
    }


def wav2vec2(*, large: bool) -> Any:
    return hf.Wav2Vec2Model(hf.Wav2Vec2Config(**waves(large=large)))


def hubert(*, large: bool, **more: Any) -> Any:
    config = {**waves(large=large), "feat_proj_layer_norm": large, **more}
    return hf.HubertForCTC(hf.HubertConfig(**config))


def wavlm(*, large: bool) -> Any:
    distances = {"num_buckets": 8, "max_bucket_distance": 5}
    return hf.WavLMModel(hf.WavLMConfig(**waves(large=large), **distances))


class Saved:
    """A model that is none of Hugging Face's, written and read as theirs are."""

    def __init__(self, config: dict, model: torch.nn.Module):
        self.config, self.model = config, model

    def save_pretrained(self, folder: Path) -> None:
        once = dict(self.model.named_parameters())  # what layers share has one name here
        tensors = {name: x.detach().numpy() for name, x in once.items()}
        safetensors.numpy.save_file(tensors, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(self.config))

    def from_pretrained(self, folder: Path) -> "Saved":
        arrays = safetensors.numpy.load_file(folder / "model.safetensors")
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        missing, unknown = self.model.load_state_dict(tensors, strict=False)
        assert not unknown and all(".relative_attention_bias." in name for name in missing)
        return self

    def eval(self) -> torch.nn.Module:
        return self.model.eval()


def eva() -> Saved:
    import timm

    sizes = {"embed_dim": 32, "num_heads": 16, "depth": 2, "mlp_ratio": 40 / 32}
    images: dict[str, Any] = {"img_size": 12, "patch_size": 4, "num_classes": 10}
    model = timm.create_model("eva_giant_patch14_clip_224", **sizes, **images)
    ends = {"hidden_size": 32, "num_attention_heads": 16, "projection_dim": 10}
    config = {"model_type": "eva01_clip_vision", **IMAGE, **ends, "projection_bias": True}
    return Saved(config, model)


def beats(*, large: bool) -> Saved:
    from speechbrain.lobes.models.beats import BEATsConfig, TransformerEncoder

    config: dict[str, Any] = {
        **{"encoder_layers": 2, "encoder_embed_dim": 24, "encoder_ffn_embed_dim": 40},
        **{"encoder_attention_heads": 3, "embed_dim": 12 if large else 24},
        **{"layer_norm_first": not large, "deep_norm": large},
        **{"conv_pos": 4, "conv_pos_groups": 3, "conv_bias": not large},
        **{"relative_position_embedding": True, "num_buckets": 8, "max_distance": 5},
        **{"gru_rel_pos": large, "input_patch_size": 4},
    }
    config = {**BEATsConfig().__dict__, **config, "num_mel_bins": 10, "max_length": 14}
    model = torch.nn.Module()  # BEATs of SpeechBrain takes no configuration but a checkpoint's
    model.patch_embedding = torch.nn.Conv2d(1, config["embed_dim"], 4, 4, bias=not large)
    model.layer_norm = torch.nn.LayerNorm(config["embed_dim"])
    model.post_extract_proj = torch.nn.Linear(12, 24) if large else None
    model.encoder = TransformerEncoder(BEATsConfig(config))
    return Saved({"model_type": "beats", **config}, model)


class Block(torch.nn.Module):
    """A layer of ImageBind's."""

    def __init__(self, width: int, heads: int, *, sink: bool):
        super().__init__()
        self.norm_1, self.norm_2 = (torch.nn.LayerNorm(width, eps=1e-6) for _ in range(2))
        self.attn = torch.nn.MultiheadAttention(width, heads, add_bias_kv=sink, batch_first=True)
        parts = {"fc1": torch.nn.Linear(width, 4 * width), "fc2": torch.nn.Linear(4 * width, width)}
        self.mlp = torch.nn.ModuleDict(parts)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        seen = self.norm_1(x)
        x = x + self.attn(seen, seen, seen, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp["fc2"](torch.nn.functional.gelu(self.mlp["fc1"](self.norm_2(x))))


IMAGEBIND: dict[str, Any] = {
    "out_embed_dim": 10,
    **{f"{part}_embed_dim": 24 for part in ("text", "vision", "audio")},
    **{f"{part}_num_blocks": 2 for part in ("text", "vision", "audio")},
    **{f"{part}_num_heads": 3 for part in ("text", "vision", "audio")},
    **{"vocab_size": 50, "context_length": 12, "image_size": 12, "patch_size": 4},
    **{"audio_kernel_size": 4, "audio_stride": 3, "audio_num_mel_bins": 10, "audio_target_len": 14},
}


def imagebind(part: str) -> Saved:
    """One of its encoders, of torch's own layers, by the names of its authors' code."""
    nn, table = torch.nn, torch.nn.ModuleDict
    before, trunk, head = table(), table({"blocks": nn.ModuleList()}), table()
    for _ in range(2):
        trunk["blocks"].append(Block(24, 3, sink=part == "audio"))
    ends = [nn.LayerNorm(24, eps=1e-6), nn.Linear(24, 10, bias=False)]
    if part == "text":
        before["token_embedding"] = nn.Embedding(50, 24)
        before.register_parameter("pos_embed", nn.Parameter(torch.zeros(1, 12, 24)))
        head["proj"] = nn.Sequential(*ends)
    else:
        conv = nn.Conv2d(1, 24, 4, 3, bias=False)
        stem, count = {"proj": conv, "norm_layer": nn.LayerNorm(24)}, 3 * 4
        if part == "vision":
            films = nn.Conv3d(3, 24, (2, 4, 4), (2, 4, 4), bias=False)
            stem, count = {"proj": nn.ModuleDict({"1": films})}, 9
            trunk["pre_transformer_layer"] = nn.ModuleDict({"0": nn.LayerNorm(24, eps=1e-6)})
        before["rgbt_stem"] = table(stem)
        before["pos_embedding_helper"] = nn.Module()
        places = nn.Parameter(torch.zeros(1, 1 + count, 24))
        before["pos_embedding_helper"].register_parameter("pos_embed", places)
        before.register_parameter("cls_token", nn.Parameter(torch.zeros(1, 1, 24)))
        head["0"], head["2"] = ends
    parts = {"preprocessors": before, "trunks": trunk, "heads": head}
    model = table({f"modality_{name}": table({part: each}) for name, each in parts.items()})
    return Saved({"model_type": "imagebind", **IMAGEBIND}, model)


def of_imagebind(model: Any, inputs: dict) -> torch.Tensor:
    (part,) = model["modality_trunks"]
    before, trunk, head = (
        model[f"modality_{x}"][part] for x in ("preprocessors", "trunks", "heads")
    )
    mask, end = None, torch.zeros(2, dtype=torch.long)
    if part == "text":
        x = before["token_embedding"](inputs["input_ids"]) + before.pos_embed
        mask = torch.full((12, 12), -torch.inf).triu(1)
        end = inputs["input_ids"].argmax(1)
    else:
        if part == "vision":
            pixels = inputs["pixel_values"][:, :, None].repeat(1, 1, 2, 1, 1)
            x = before["rgbt_stem"]["proj"]["1"](pixels).flatten(2).transpose(1, 2)
        else:
            bands = inputs["input_values"].transpose(1, 2)[:, None]
            x = before["rgbt_stem"]["proj"](bands).flatten(2).transpose(1, 2)
            x = before["rgbt_stem"]["norm_layer"](x)
        x = torch.cat([before.cls_token.expand(2, -1, -1), x], 1)
        x = x + before["pos_embedding_helper"].pos_embed
    if part == "vision":
        x = trunk["pre_transformer_layer"]["0"](x)
    for block in trunk["blocks"]:
        x = block(x, mask)
    if part == "text":
        return head["proj"](x[torch.arange(2), end])
    return head["2"](head["0"](x)[:, 0])


def of_text(model: Any, inputs: dict) -> torch.Tensor:
    return model.get_text_features(**inputs).pooler_output


def of_image(model: Any, inputs: dict) -> torch.Tensor:
    return model.get_image_features(**inputs).pooler_output


def of_text_in_clap(model: Any, inputs: dict) -> torch.Tensor:
    return model.text_projection(model.text_model(**inputs).pooler_output)


def of_sound_in_clap(model: Any, inputs: dict) -> torch.Tensor:
    return model.audio_projection(model.audio_model(**inputs).pooler_output)


def mean(model: Any, inputs: dict) -> torch.Tensor:
    tokens = model(**inputs).last_hidden_state
    kept = inputs["attention_mask"][..., None].to(tokens.dtype)
    return (tokens * kept).sum(1) / kept.sum(1)


def mean_of_sound(model: Any, inputs: dict) -> torch.Tensor:
    tokens = model(**inputs).last_hidden_state
    if "attention_mask" not in inputs:
        return tokens.mean(1)
    kept = model._get_feature_vector_attention_mask(tokens.shape[1], inputs["attention_mask"])
    return (tokens * kept[..., None]).sum(1) / kept.sum(1, keepdim=True)


def mean_of_each_sound(model: Any, inputs: dict) -> torch.Tensor:
    """Of models that normalise over time, and hear silence whether it is masked or not."""
    ends = inputs["attention_mask"].sum(1).tolist()
    sounds = [x[None, :end] for x, end in zip(inputs["input_values"], ends, strict=True)]
    return torch.cat([model(x).last_hidden_state.mean(1) for x in sounds])


def mean_of_all(model: Any, inputs: dict) -> torch.Tensor:
    return model(**inputs).last_hidden_state.mean(1)


def of_filter_banks(model: Any, inputs: dict) -> torch.Tensor:
    patches = model.patch_embedding(inputs["input_values"][:, None])
    x = model.layer_norm(patches.flatten(2).transpose(1, 2))
    if model.post_extract_proj is not None:
        x = model.post_extract_proj(x)
    x = model.encoder(x)[0]
    if model.encoder.layer_norm_first:  # as BEATs' authors do, and SpeechBrain does not
        x = model.encoder.layer_norm(x)
    return x.mean(1)


def first(model: Any, inputs: dict) -> torch.Tensor:
    return model(**inputs).last_hidden_state[:, 0]


CASES = {
    "clip text": (lambda: clip(2), IDS, of_text),
    "clip that ends by number text": (lambda: clip(7), IDS, of_text),
    "clip image": (lambda: clip(2), PIXELS, of_image),
    "clap text": (lambda: clap(2), IDS, of_text_in_clap),
    "clap audio": (lambda: clap(1), {"input_features": [2, 1, 100, 8]}, of_sound_in_clap),
    "siglip text": (siglip, UNMASKED, of_text),
    "siglip of unequal widths text": (lambda: siglip(30), UNMASKED, of_text),
    "siglip image": (siglip, PIXELS, of_image),
    "bert text": (lambda: hf.BertModel(hf.BertConfig(**TEXT)), IDS, mean),
    "bert for masked words text": (
        lambda: hf.BertForMaskedLM(hf.BertConfig(**TEXT)),
        IDS,
        lambda model, inputs: mean(model.bert, inputs),
    ),
    "bert as decoder text": (
        lambda: hf.BertModel(hf.BertConfig(**TEXT, is_decoder=True)),
        IDS,
        mean,
    ),
    "roberta text": (lambda: hf.RobertaModel(hf.RobertaConfig(**TEXT)), IDS, mean),
    "xlm-roberta text": (
        lambda: hf.XLMRobertaModel(hf.XLMRobertaConfig(**TEXT, layer_norm_eps=1e-5)),
        IDS,
        mean,
    ),
    "mpnet text": (mpnet, IDS, mean),
    "mpnet of long texts text": (mpnet, LONG, mean),
    "distilbert text": (lambda: hf.DistilBertModel(distilbert()), IDS, mean),
    "distilbert for masked words text": (
        lambda: hf.DistilBertForMaskedLM(distilbert(activation="relu", sinusoidal_pos_embds=True)),
        IDS,
        lambda model, inputs: mean(model.distilbert, inputs),
    ),
    "eva image": (eva, PIXELS, lambda model, inputs: model(inputs["pixel_values"])),
    "imagebind text": (lambda: imagebind("text"), UNMASKED, of_imagebind),
    "imagebind image": (lambda: imagebind("vision"), PIXELS, of_imagebind),
    "imagebind audio": (lambda: imagebind("audio"), SPECTRUM, of_imagebind),
    "vit image": (lambda: hf.ViTModel(hf.ViTConfig(**IMAGE)), PIXELS, first),
    "dinov2 of other images image": (lambda: dinov2(20, gated=False), OBLONG, first),
    "dinov2 with gates image": (lambda: dinov2(12, gated=True), PIXELS, first),
    "dinov2 with registers image": (lambda: registers(gated=True), PIXELS, first),
    "dinov2 with registers, larger images image": (lambda: registers(gated=False), LARGER, first),
    "dinov2 with registers, smaller images image": (lambda: registers(gated=False), SMALLER, first),
    "dinov2 with no registers image": (lambda: registers(gated=False, count=0), PIXELS, first),
    "dinov3 image": (lambda: dinov3(num_register_tokens=2), OBLONG, first),
    "dinov3 with gates image": (
        lambda: dinov3(use_gated_mlp=True, hidden_act="silu", query_bias=False, value_bias=False),
        PIXELS,
        first,
    ),
    "dinov3 without biases image": (
        lambda: dinov3(use_gated_mlp=True, mlp_bias=False, proj_bias=False, query_bias=False),
        PIXELS,
        first,
    ),
    "videomae video": (lambda: hf.VideoMAEModel(videomae()), VIDEO, mean_of_all),
    "videomae before training video": (
        lambda: hf.VideoMAEForPreTraining(videomae(use_mean_pooling=False)),
        VIDEO,
        lambda model, inputs: mean_of_all(model.videomae, inputs),
    ),
    "ast audio": (ast, SPECTRUM, lambda model, inputs: model(**inputs).pooler_output),
    "beats audio": (lambda: beats(large=False), SPECTRUM, of_filter_banks),
    "large beats audio": (lambda: beats(large=True), SPECTRUM, of_filter_banks),
    "wav2vec2 audio": (lambda: wav2vec2(large=False), WAVES, mean_of_sound),
    "large wav2vec2 audio": (lambda: wav2vec2(large=True), MASKED_WAVES, mean_of_sound),
    "hubert for words audio": (
        lambda: hubert(large=False),
        MASKED_WAVES,
        lambda model, inputs: mean_of_each_sound(model.hubert, inputs),
    ),
    "large hubert for words audio": (
        lambda: hubert(large=True),
        WAVES,
        lambda model, inputs: mean_of_sound(model.hubert, inputs),
    ),
    "large hubert with batch norm audio": (
        lambda: hubert(large=True, conv_pos_batch_norm=True),
        MASKED_WAVES,
        lambda model, inputs: mean_of_sound(model.hubert, inputs),
    ),
    "wavlm audio": (lambda: wavlm(large=False), WAVES, mean_of_sound),
    "large wavlm audio": (lambda: wavlm(large=True), MASKED_WAVES, mean_of_sound),
    "whisper audio": (
        whisper,
        FRAMES,
        lambda model, inputs: mean_of_all(model.model.encoder, inputs),
    ),
}
"""Names, whose last word is the kind, to the model, its inputs' shapes, and what is compared."""


def result(make: Callable[[], Any], shapes: dict, call: Callable[[Any, dict], Any]) -> dict:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = make()
        model.save_pretrained(folder)  # not state_dict: files have other names
        written = safetensors.numpy.load_file(folder / "model.safetensors")
        counts = {name: array for name, array in written.items() if array.dtype.kind == "i"}
        tensors = {n: list(array.shape) for n, array in written.items() if n not in counts}
        write_weights(folder, tensors, counts)
        if isinstance(model, Saved):
            model = model.from_pretrained(folder)
        else:
            model, unfit = type(model).from_pretrained(folder, output_loading_info=True)
            assert not any(unfit.values()), unfit
        config = json.loads((folder / "config.json").read_text())
    inputs = {name: torch.from_numpy(array) for name, array in drawn_inputs(shapes).items()}
    with torch.no_grad():
        found = call(model.eval(), inputs).numpy().astype(float)
    return {
        **{"config": config, "tensors": tensors, "inputs": shapes},
        "result": np.round(found, 7).tolist(),
    }


def main() -> None:
    packages = ("torch", "transformers", "timm", "speechbrain")
    about = {name: importlib.metadata.version(name) for name in packages}
    found = {"about": about, **{name: result(*case) for name, case in CASES.items()}}
    Path(__file__).with_suffix(".json").write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
