"""The encoders in published checkpoints: of GRAM, TRIANGLE, PMRL and VAST, ImageBind, and BEATs.

GRAM is of arXiv 2412.11959, TRIANGLE of 2509.24734, PMRL of 2507.17343, VAST, which they began as,
of 2305.18500. Their code has one set of names for the parts: EVA-CLIP's images, BEATs' sounds,
BERT's texts, and a linear map of each into the common space. ImageBind is of 2305.05665.
"""

import contextlib
import functools
import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors

from gramalign.files import LOCK, locked, make_folder, write_arrays, write_text
from gramalign.models.pretrained.load import abstract, kinds, read_weights

_HEADS = {
    "caption": "contra_head_t.linear.weight",
    "subtitle": "contra_head_s.linear.weight",
    "vision": "contra_head_v.linear.weight",
    "depth": "contra_head_d.linear.weight",
    "audio": "contra_head_a.linear.weight",
}
_LONGEST = {"caption": 40, "subtitle": 70}  # tokens
_TOKENIZER = (
    *("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt"),
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
)
# As their authors' checkpoints have it, and no weight tells: BEATs, and EVA01-CLIP-g.
_BEATS = {
    **{"deep_norm": True, "relative_position_embedding": True, "max_distance": 800},
    **{"gru_rel_pos": True, "max_length": 1024},
}
_SOUNDS = {  # BEATs' own; silence is the mean of all sounds
    **{"feature_extractor_type": "FilterBanks", "max_length": 1024, "window": "povey"},
    **{"scale": 32768.0, "mean": 15.41663, "std": 6.55582, "silence": 15.41663},
}
_SHORT_SOUNDS = {  # ImageBind's, which has AST's numbers
    **{"feature_extractor_type": "FilterBanks", "num_mel_bins": 128, "max_length": 204},
    **{"mean": -4.268, "std": 4.569},
}
_EVA_HEADS, _WIDTH = 16, 64
"""How many heads EVA's attention has, and how wide each of BERT's is."""
_PICTURES = {
    "image_processor_type": "CLIPImageProcessor",
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 2,  # bilinear
}

_TO_SAFETENSORS = (
    'python -c "import sys, torch, safetensors.torch as s; w = torch.load(sys.argv[1], '
    "map_location='cpu', weights_only=True); s.save_file({n: x.clone() for n, x in w.get('model', "
    'w).items() if torch.is_tensor(x)}, sys.argv[2])" %s %s'
)


class Checkpoint:
    """The weights of a published model, by the names of its newest code, read when asked for.

    Args:
        path: of a safetensors file.

    Raises:
        FileNotFoundError: it does not exist, or is a folder.
        ValueError: it is no safetensors file, or damaged.
    """

    def __init__(self, path: Path):
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise FileNotFoundError(f"{path} {what}, expected a safetensors file")
        try:
            with safetensors.safe_open(path, framework="numpy") as file:
                self._names = {_renamed(name): name for name in file.keys()}  # noqa: SIM118
        except safetensors.SafetensorError as error:
            if path.suffix == ".safetensors":
                raise ValueError(f"{path} is damaged or no safetensors file: {error}") from error
            files = path, path.with_suffix(".safetensors")
            made = _TO_SAFETENSORS % tuple(shlex.quote(str(file)) for file in files)
            raise ValueError(
                f"{path} is no safetensors file: {error}. Pickles are never opened here; where "
                f"torch is installed, write one of them anew: {made}"
            ) from error
        self.path = path

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def below(self, prefix: str) -> list[str]:
        """All names that begin so, in order."""
        return sorted(name for name in self._names if name.startswith(prefix))

    def shape(self, name: str, rank: int) -> tuple[int, ...]:
        """The shape of a weight with `rank` axes.

        Raises:
            ValueError: there is none of that name, or it has another number of axes.
        """
        with safetensors.safe_open(self.path, framework="numpy") as file:
            shape = tuple(file.get_slice(self._known(name)).get_shape())
        if len(shape) != rank:
            raise ValueError(f"{self.path}: {name} has shape {shape}, expected {rank} axes")
        return shape

    def read(self, names: Mapping[str, str]) -> dict[str, np.ndarray]:
        """Weights by new names, of those that they have here.

        Raises:
            ValueError: there is none of one of them.
        """
        with safetensors.safe_open(self.path, framework="numpy") as file:
            return {new: file.get_tensor(self._known(old)) for new, old in names.items()}

    def _known(self, name: str) -> str:
        if name not in self._names:
            raise ValueError(
                f"{self.path} lacks {name}, expected a checkpoint of GRAM, TRIANGLE, PMRL or VAST "
                "with EVA01-CLIP-g, BEATs and BERT, of ImageBind, or of BEATs"
            )
        return self._names[name]


def divide(
    checkpoint: str | Path, out: str | Path, *, tokenizer: str | Path | None = None
) -> dict[str, Path]:
    """Writes the encoders of a published checkpoint to folders as Hugging Face's.

    `load` and `gramalign features` take them like any other, and all of one checkpoint embed into
    one space. Of GRAM and its kin these are `vision`, of images and frames; `depth`, the same of
    depth maps, if the checkpoint has its head (all of GRAM's code have one, though it was trained
    in its model of five modalities alone); `audio`; and of texts, with a tokenizer, `caption` and
    `subtitle`. ImageBind's are in one folder, `out` itself, as is BEATs of its authors, taken
    to be configured as its iter3+. Once all is known to load, what is there is written anew, and
    what is there of parts that are not written now does not load any more.

    Args:
        checkpoint: a safetensors file.
        out: folder to write to.
        tokenizer: folder with that of the model's texts: of bert-base-uncased or, for ImageBind, of
            any of OpenAI's CLIP; None: texts cannot be encoded.

    Returns:
        The folders, by what they encode.

    Raises:
        FileExistsError: another process is writing there.
        FileNotFoundError: a file does not exist.
        ValueError: it is no safetensors file, or not of such a model, all of whose weights are
            there, in their shapes; or it would be overwritten.
    """
    source, out = Checkpoint(Path(checkpoint)), Path(out)
    # Read at once: they may be those of a folder that is written anew.
    files = {} if tokenizer is None else _files(Path(tokenizer))
    makers = _makers(source, files)
    for place in (out / name / "model.safetensors" for name in makers):
        if place.exists() and place.samefile(source.path):
            raise ValueError(
                f"{place} is the checkpoint, and would be overwritten: give another out"
            )
    with _drafts_in(out) as drafts:
        for name, make in makers.items():
            make_folder(draft := drafts[name])
            _write(draft / "config.json", make(draft))
            try:
                for kind in kinds(draft):
                    read_weights(draft, abstract(draft, kind))
            except ValueError as error:
                told = str(error).replace(str(draft), str(out / name))
                raise ValueError(
                    f"{source.path} holds no such model as was published: {told}"
                ) from error
        for name in _HEADS if "vision" in makers else makers:  # of another checkpoint, perhaps
            (out / name / "config.json").unlink(missing_ok=True)
        for name in makers:
            _move(drafts[name], out / name)
    return dict.fromkeys(kinds(out), out) if "" in makers else {name: out / name for name in makers}


def _makers(
    source: Checkpoint, files: Mapping[str, bytes]
) -> dict[str, Callable[[Path], dict[str, Any]]]:
    """What writes the folder of an encoder, and returns its config, by the folder's name."""
    if source.below("modality_trunks."):
        return {"": functools.partial(_imagebind, source, files)}
    if "patch_embedding.weight" in source:
        return {"": functools.partial(_beats, source, "", 128, {})}
    makers: dict[str, Any] = {"vision": functools.partial(_images, source, _HEADS["vision"])}
    if _HEADS["depth"] in source:
        makers["depth"] = functools.partial(_images, source, _HEADS["depth"])
    makers["audio"] = functools.partial(_sounds, source, _HEADS["audio"])
    if files:
        for name, longest in _LONGEST.items():
            makers[name] = functools.partial(_texts, source, _HEADS[name], files, longest)
    return makers


@contextlib.contextmanager
def _drafts_in(out: Path) -> Iterator[dict[str, Path]]:
    """Where to write each folder first: within it, as it may be a link to another disk."""
    drafts = {name: out / name / ".unfinished" for name in ("", *_HEADS)}
    make_folder(out)
    busy = f"another process is writing encoders to {out}: wait for it, or choose another folder"
    with locked(lock := out / LOCK, busy):
        try:
            for draft in drafts.values():  # of a process that was killed
                shutil.rmtree(draft, ignore_errors=True)
            yield drafts
        finally:
            for draft in drafts.values():
                shutil.rmtree(draft, ignore_errors=True)
            lock.unlink(missing_ok=True)


def _move(draft: Path, folder: Path) -> None:
    """Gives files their places, the last of which is `config.json`: no half of a folder loads."""
    if "text" in kinds(draft):
        for name in _TOKENIZER:  # of another, which might be taken instead
            (folder / name).unlink(missing_ok=True)
    paths = [path for path in draft.rglob("*") if path.is_file()]
    for path in sorted(paths, key=(draft / "config.json").__eq__):
        place = folder / path.relative_to(draft)
        make_folder(place.parent)
        path.replace(place)


def _imagebind(source: Checkpoint, files: Mapping[str, bytes], folder: Path) -> dict[str, Any]:
    names = {
        name: name
        for each in ("preprocessors", "trunks", "heads")
        for part in ("text", "vision", "audio")
        for name in source.below(f"modality_{each}.{part}.")
    }
    before = "modality_preprocessors.vision."
    kernel = source.shape(f"{before}rgbt_stem.proj.1.weight", 5)
    size = _size(source, f"{before}pos_embedding_helper.pos_embed", kernel)
    _save(folder, source.read(names))
    pictures = {**_pictures(size), "resample": 3}  # bicubic
    _write(folder / "preprocessor_config.json", {**pictures, **_SHORT_SOUNDS})
    _write_tokenizer(folder, files)
    return {"model_type": "imagebind"}


def _images(source: Checkpoint, head: str, folder: Path) -> dict[str, Any]:
    before = "vision_encoder.visual."
    # EVA-CLIP's own map into the space that it was trained in has the name of the one here.
    names = {name.removeprefix(before): name for name in source.below(before)}
    names = {new: old for new, old in names.items() if not new.startswith("head.")}
    source.shape(f"{before}blocks.0.attn.qkv.weight", 2)  # which the second EVA does not have
    width, _, patch, _ = kernel = source.shape(f"{before}patch_embed.proj.weight", 4)
    size = _size(source, f"{before}pos_embed", kernel)
    _save(folder, source.read({**names, "head.weight": head}))
    _write(folder / "preprocessor_config.json", _pictures(size))
    return {
        **{"model_type": "eva01_clip_vision", "image_size": size, "patch_size": patch},
        **{"hidden_size": width, "num_attention_heads": _EVA_HEADS},
        "num_hidden_layers": _count(names, "blocks"),
        "intermediate_size": source.shape(f"{before}blocks.0.mlp.fc1.weight", 2)[0],
        "projection_dim": source.shape(head, 2)[0],
    }


def _sounds(source: Checkpoint, head: str, folder: Path) -> dict[str, Any]:
    config = _beats(source, "audio_encoder.", 64, {"projection.weight": head}, folder)
    return {**config, "projection_dim": source.shape(head, 2)[0]}


def _beats(
    source: Checkpoint, before: str, bands: int, more: Mapping[str, str], folder: Path
) -> dict[str, Any]:
    names = {
        name.removeprefix(before): name
        for part in ("patch_embedding.", "layer_norm.", "post_extract_proj.", "encoder.")
        for name in source.below(before + part)
    }
    hidden, wide = source.shape(f"{before}encoder.layers.0.fc1.weight", 2)
    embed, _, patch, _ = source.shape(f"{before}patch_embedding.weight", 4)
    attention, places = f"{before}encoder.layers.0.self_attn.", f"{before}encoder.pos_conv.0."
    newer = f"{places}parametrizations.weight.original1"
    _, part, near = source.shape(newer if newer in source else f"{places}weight_v", 3)
    _save(folder, source.read({**names, **more}))
    _write(folder / "preprocessor_config.json", {**_SOUNDS, "num_mel_bins": bands})
    return {
        **{"model_type": "beats", **_BEATS, "input_patch_size": patch, "embed_dim": embed},
        **{"encoder_embed_dim": wide, "encoder_ffn_embed_dim": hidden},
        "encoder_layers": _count(names, "encoder.layers"),
        "encoder_attention_heads": source.shape(f"{attention}grep_a", 4)[1],
        "num_buckets": source.shape(f"{attention}relative_attention_bias.weight", 2)[0],
        **{"conv_pos": near, "conv_pos_groups": wide // part, "num_mel_bins": bands},
    }


def _texts(
    source: Checkpoint, head: str, files: Mapping[str, bytes], longest: int, folder: Path
) -> dict[str, Any]:
    """A folder of Sentence Transformers: BERT, its first token, and the head."""
    before = "multimodal_encoder.bert."
    # BERT also reads the other modalities there, by attention that texts alone have no use for.
    names = {
        name.removeprefix(before): name
        for part in ("embeddings.", "encoder.")
        for name in source.below(before + part)
        if ".crossattention." not in name
    }
    _save(folder, source.read(names))
    dim, wide = source.shape(head, 2)
    make_folder(folder / "1_Pooling")
    switches = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    pooling = {"word_embedding_dimension": wide, **switches}
    _write(folder / "1_Pooling" / "config.json", pooling)
    make_folder(folder / "2_Dense")
    _save(folder / "2_Dense", source.read({"linear.weight": head}))
    identity = "torch.nn.modules.linear.Identity"
    dense = {"in_features": wide, "out_features": dim, "bias": False}
    _write(folder / "2_Dense" / "config.json", {**dense, "activation_function": identity})
    types = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense"}
    modules = [
        {"idx": idx, "name": str(idx), "path": path, "type": f"sentence_transformers.models.{name}"}
        for idx, (path, name) in enumerate(types.items())
    ]
    _write(folder / "modules.json", modules)
    cut = {"max_seq_length": longest, "do_lower_case": False}  # the tokenizer does it
    _write(folder / "sentence_bert_config.json", cut)
    _write_tokenizer(folder, files)
    words, width = source.shape(f"{before}embeddings.word_embeddings.weight", 2)
    places, _ = source.shape(f"{before}embeddings.position_embeddings.weight", 2)
    return {
        **{"model_type": "bert", "architectures": ["BertModel"], "vocab_size": words},
        **{"hidden_size": width, "num_attention_heads": max(1, width // _WIDTH)},
        "num_hidden_layers": _count(names, "encoder.layer"),
        "intermediate_size": source.shape(f"{before}encoder.layer.0.intermediate.dense.bias", 1)[0],
        "max_position_embeddings": places,
    }


def _pictures(size: int) -> dict[str, Any]:
    crop = {"crop_size": {"height": size, "width": size}, "size": {"shortest_edge": size}}
    return {**_PICTURES, **crop}


def _size(source: Checkpoint, places: str, kernel: tuple[int, ...]) -> int:
    """Height and width of images, of the positions of patches and of the token for the class."""
    return kernel[-1] * round((source.shape(places, 3)[1] - 1) ** 0.5)


def _renamed(name: str) -> str:
    """The name that the newest code has for a weight, as its loading of older ones says."""
    name = name.removeprefix("module.")
    for old, new in (
        ("video", "vision"),
        ("evaclip_model", "vision_encoder"),
        ("clip_model", "vision_encoder"),
    ):
        if old in name:
            return name.replace(old, new)
    return name


def _count(names: Mapping[str, str], before: str) -> int:
    found = (re.match(rf"{re.escape(before)}\.(\d+)\.", name) for name in names)
    return 1 + max((int(each[1]) for each in found if each), default=-1)


def _files(folder: Path) -> dict[str, bytes]:
    """Those of a tokenizer, by name.

    Raises:
        FileNotFoundError: there are none.
    """
    paths = [folder / name for name in _TOKENIZER]
    found = {path.name: path.read_bytes() for path in paths if path.is_file()}
    if not found:
        raise FileNotFoundError(f"{folder} has no tokenizer, expected any of {list(_TOKENIZER)}")
    return found


def _write_tokenizer(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _save(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    write_arrays(folder / "model.safetensors", arrays, {"format": "pt"})


def _write(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2) + "\n")
