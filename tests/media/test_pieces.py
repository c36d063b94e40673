"""What reaches an encoder is what Hugging Face's processors make of each cell by itself."""

import gc
import json
import logging
import shutil
import sys

import av
import numpy as np
import pytest
import soundfile
import soxr
import tokenizers
from PIL import Image
from transformers import (
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoTokenizer,
    ClapFeatureExtractor,
)

from gramalign.decoding.libraries import processor
from gramalign.decoding.pictures import _spread, frames_of, picture
from gramalign.decoding.pieces import sound_pieces, text_pieces
from gramalign.decoding.reading import Reading
from gramalign.decoding.sounds import sound
from gramalign.media.recipe import Options, recipe_of
from tests.media.made import RATE, WORDS, pixels, write_image, write_sound, write_video


def read(encoders, kind, name, cell, frames=4):
    folder = encoders / name
    return Reading(kind, str(folder), model_type=name, longest=12, frames=frames).reader()(
        str(cell)
    )


def test_that_hugging_face_has_no_imagebind_is_no_news(encoders, tmp_path):
    folder, told = shutil.copytree(encoders / "clip", tmp_path / "imagebind"), []
    (folder / "config.json").write_text('{"model_type": "imagebind"}')
    logger, handler = logging.getLogger("transformers.configuration_utils"), logging.Handler()
    handler.emit = told.append
    logger.addHandler(handler)
    try:
        read(tmp_path, "text", "imagebind", "a dog")
    finally:
        logger.removeHandler(handler)
    assert not [record.getMessage() for record in told]


def test_texts_are_padded_to_the_end_for_models_that_were_trained_so(encoders):
    tokenizer = AutoTokenizer.from_pretrained(encoders / "clip")
    for text in ("a dog", "a dog hears " * 30, "unknown words"):
        found = read(encoders, "text", "clip", text)
        wanted = tokenizer(
            [text], padding="max_length", truncation=True, max_length=12, return_tensors="np"
        )
        assert found.keys() == {"input_ids", "attention_mask"}
        for name, array in found.items():
            assert array.dtype == np.int32 and array.shape == (1, 12)
            np.testing.assert_array_equal(array, wanted[name])


def test_other_texts_are_padded_to_a_few_lengths(encoders):
    tokenizer = AutoTokenizer.from_pretrained(encoders / "bert")
    texts = text_pieces(tokenizer, 40, model_type="bert", filled=False)
    for words, length in ((1, 16), (15, 16), (16, 32), (32, 40), (90, 40)):
        text = " ".join((WORDS * 9)[:words])
        found, wanted = texts(text), tokenizer(text, truncation=True, max_length=40)
        assert found["input_ids"].shape == (1, length)
        there = found["attention_mask"][0] == 1
        assert found["input_ids"][0, there].tolist() == wanted["input_ids"]
        assert not found["input_ids"][0, ~there].any()


def test_texts_whose_inputs_are_kept_are_padded_to_one(encoders):
    tokenizer = AutoTokenizer.from_pretrained(encoders / "bert")
    texts = text_pieces(tokenizer, 60, model_type="bert", filled=True)
    for words in (3, 40):
        found = texts(" ".join((WORDS * 9)[:words]))
        assert found["input_ids"].shape == found["attention_mask"].shape == (1, 60)
        assert found["attention_mask"].sum() == words + 1  # and the end


def test_the_model_has_room_for_fewer_tokens_than_the_tokenizer(encoders):
    assert read(encoders, "text", "bert", "a dog " * 40)["input_ids"].shape == (1, 12)


def test_the_first_token_is_that_of_the_text(encoders, tmp_path):
    folder = shutil.copytree(encoders / "bert", tmp_path / "bert")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["padding_side"] = "left"
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    for name, wanted in read(encoders, "text", "bert", "a dog").items():
        found = Reading("text", str(folder), "bert", longest=12, frames=4).reader()("a dog")
        np.testing.assert_array_equal(found[name], wanted)


def test_a_tokenizer_without_padding(encoders):
    tokenizer = AutoTokenizer.from_pretrained(encoders / "bert", pad_token=None)
    with pytest.raises(ValueError, match="it has no padding token: set pad_token"):
        text_pieces(tokenizer, 12, model_type="bert", filled=False)


@pytest.mark.parametrize("name", ["bert", "clip", "distilbert", "mpnet", "roberta", "xlm-roberta"])
def test_hugging_face_makes_a_tokenizer_of_nothing(tmp_path, name):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": name}))
    told = f"^{tmp_path} has no tokenizer .*: it has no vocabulary: tokenizer.json, vocab.txt, "
    with pytest.raises(ValueError, match=told):
        Reading("text", str(tmp_path), model_type=name, longest=12, frames=1).reader()


@pytest.mark.parametrize("longest", [1, 2])
def test_a_text_has_room_for_a_word(tmp_path, longest):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ncat\n")
    told = f"{longest} tokens? of a text would be kept, of which 2 would be special: expected at l"
    with pytest.raises(ValueError, match=f"^{tmp_path} .*: {told}east 3 of --tokens"):
        Reading("text", str(tmp_path), model_type="bert", longest=longest, frames=1).reader()
    read = Reading("text", str(tmp_path), model_type="bert", longest=3, frames=1).reader()
    assert read("cat cat")["input_ids"][0].tolist() == [2, 5, 3]


@pytest.mark.parametrize(
    ("kind", "encoder", "change", "told"),
    [
        ("image", "clip", 3, "preprocessor_config.json holds a int, expected settings by name"),
        ("image", "clip", [1], "preprocessor_config.json holds a list, expected settings by name"),
        ("image", "clip", {"size": []}, "IndexError: .*; see preprocessor_config.json"),
        ("image", "clip", {"resample": 99}, r"resampling filter \(99\).*; see preprocessor_config"),
        ("image", "clip", {"image_std": 0}, "pixel_values would be NaN or Inf, as by an image_std"),
        ("video", "clip", {"image_mean": [0.5]}, "mean must have 3 elements"),
        ("image", "clip", {"image_processor_type": 7}, "image_processor_type is 7, expected a nam"),
        ("image", "clip", {"rescale_factor": "x"}, "rescale_factor is 'x', expected a number abo"),
        ("audio", "whisper", {"hop_length": 0}, "hop_length is 0, expected a whole number of at "),
        ("audio", "whisper", {"n_fft": None}, "n_fft is None, expected a whole number of at leas"),
        ("audio", "wav2vec2", {"sampling_rate": -1}, "sampling_rate is -1, expected a whole numbe"),
        ("audio", "beats", {"std": 0}, "std is 0, expected a number above 0"),
        ("audio", "beats", {"max_length": "x"}, "max_length is 'x', expected a whole number of a"),
        ("text", "bert", [1], "tokenizer_config.json holds a list, expected settings by name"),
        ("text", "bert", {"model_max_length": "x"}, "TypeError: .*; see tokenizer_config.json"),
        ("text", "bert", {"model_max_length": 0}, "0 tokens of a text would be kept, of which 1 "),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_settings_of_another_kind_are_refused_before_any_file(
    encoders, tmp_path, kind, encoder, change, told
):
    folder = tmp_path / encoder
    shutil.copytree(encoders / encoder, folder)
    path = folder / f"{'tokenizer' if kind == 'text' else 'preprocessor'}_config.json"
    changed = {**json.loads(path.read_text()), **change} if isinstance(change, dict) else change
    path.write_text(json.dumps(changed))
    with pytest.raises(ValueError, match=f"^{folder}.*{told}"):
        Reading(kind, str(folder), model_type="x", longest=12, frames=2).reader()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"size": []}, "IndexError: .*; see processor_config.json"),
        (3, "/processor_config.json: image_processor is 3, expected settings by name"),
    ],
)
def test_the_file_that_is_read_is_named(encoders, tmp_path, change, told):
    folder = shutil.copytree(encoders / "clip", tmp_path / "clip")
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    changed = {**settings, **change} if isinstance(change, dict) else change
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": changed}))
    with pytest.raises(ValueError, match=f"^{folder}.*{told}$"):
        Reading("image", str(folder), model_type="x", longest=12, frames=1).reader()


@pytest.mark.parametrize("encoder", ["clip", "dinov3"])
def test_one_mean_and_deviation_may_be_those_of_all_channels(encoders, tmp_path, encoder):
    write_image(tmp_path / "a.png", seed=1)
    found = []
    for mean, std in ((0.25, 0.5), ([0.25] * 3, [0.5] * 3)):
        if encoder == "clip":
            settings = json.loads((encoders / "clip" / "preprocessor_config.json").read_text())
            settings |= {"image_mean": mean, "image_std": std}
            (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
        else:
            write_dinov3(tmp_path, image_mean=mean, image_std=std)
        read = Reading("image", str(tmp_path), model_type="x", longest=0, frames=1).reader()
        found.append(read(str(tmp_path / "a.png"))["pixel_values"])
    np.testing.assert_array_equal(*found)


def prepared(encoders, images):
    images = [Image.fromarray(image) for image in images]
    processor = AutoImageProcessor.from_pretrained(encoders / "clip", backend="pil")
    return processor(images=images, return_tensors="np")["pixel_values"]


def test_an_image(encoders, tmp_path):
    write_image(tmp_path / "a.png", seed=1)
    found = read(encoders, "image", "clip", tmp_path / "a.png")
    np.testing.assert_array_equal(found["pixel_values"], prepared(encoders, [pixels(1)]))


def write_dinov3(folder, **settings):
    """As published, with sizes in pixels and `null` for what does not apply."""
    settings = {
        **{"image_processor_type": "DINOv3ViTImageProcessorFast", "do_center_crop": None},
        **{"crop_size": None, "size": {"height": 9, "width": 24}, "resample": 2},
        **settings,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))


@pytest.mark.parametrize(
    ("mode", "white", "settings"),
    [("bilinear", 255, {}), ("bicubic", 100, {"resample": 3, "rescale_factor": 0.01})],
)
def test_images_of_dinov3_are_not_rounded(tmp_path, mode, white, settings):
    torch = pytest.importorskip("torch")
    write_dinov3(tmp_path, **settings)
    write_image(tmp_path / "a.png", seed=1)  # higher and narrower
    found = Reading("image", str(tmp_path), model_type="dinov3_vit", longest=0, frames=1).reader()(
        str(tmp_path / "a.png")
    )["pixel_values"]
    assert found.shape == (1, 3, 9, 24) and found.dtype == np.float32
    image = torch.from_numpy(pixels(1)).permute(2, 0, 1)[None] / white
    options = {"mode": mode, "align_corners": False, "antialias": True}
    wanted = torch.nn.functional.interpolate(image, (9, 24), **options)[0].numpy()
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    wanted = (wanted - mean[:, None, None]) / std[:, None, None]
    np.testing.assert_allclose(found[0], wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"do_center_crop": True}, "do_center_crop is True, expected False"),
        ({"do_rescale": False}, "do_rescale is False, expected True"),
        ({"size": {"height": 0, "width": 9}}, "size is .*, expected a height and a width"),
        ({"image_mean": [0.5]}, r"image_mean is .0.5., expected a number, or one for each chann"),
        ({"image_std": 0}, "image_std is 0, expected a number above 0, or one for each channel"),
        ({"do_resize": "x"}, "do_resize is 'x', expected true or false"),
        ({"size": {"shortest_edge": 9}}, "size is .*shortest_edge.*, expected a height and a wid"),
    ],
)
def test_images_of_dinov3_that_nobody_publishes(tmp_path, settings, told):
    write_dinov3(tmp_path, **settings)
    with pytest.raises(ValueError, match=f"no image processor that can be used here: {told}"):
        processor(tmp_path, "image processor")


def test_images_are_turned_as_they_were_taken(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter, clockwise
    Image.fromarray(pixels(1)).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(picture(tmp_path / "a.png")), np.rot90(pixels(1), -1))


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P", "RGBA", "CMYK"])
def test_all_become_rgb(mode, tmp_path):
    kind = "tif" if mode == "CMYK" else "png"
    Image.fromarray(pixels(1)).convert(mode).save(tmp_path / f"a.{kind}")
    found = picture(tmp_path / f"a.{kind}")
    assert found.mode == "RGB" and found.size == (16, 20)


@pytest.mark.parametrize("mode", ["P", "RGBA", "LA"])
def test_what_is_transparent_is_white(tmp_path, mode):
    image = Image.new("L", (4, 4), 0).convert(mode)
    if mode != "P":
        image.putpixel((1, 1), (*[0] * (len(mode) - 1), 0))
        image.save(tmp_path / "a.png")
    else:
        image.putpixel((1, 1), 1)
        image.save(tmp_path / "a.png", transparency=b"\xff\x00")
    found = np.asarray(picture(tmp_path / "a.png"))
    wanted = np.zeros((4, 4, 3))
    wanted[1, 1] = 255
    np.testing.assert_array_equal(found, wanted)


def test_sixteen_bits_would_be_white(tmp_path):
    Image.fromarray(pixels(1)[..., 0].astype(np.uint16) * 200).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="mode I;16: save it with 8 bits"):
        picture(tmp_path / "a.png")


def greys(images):
    return [round(np.asarray(image)[-8:].mean() / 10) for image in images]


def test_frames_of_a_video_are_spread_evenly(tmp_path):
    write_video(tmp_path / "a.mp4", [10 * n for n in range(20)])
    assert greys(frames_of(str(tmp_path / "a.mp4"), 4)) == [2, 7, 12, 17]
    assert greys(frames_of(str(tmp_path / "a.mp4"), 1)) == [10]
    assert greys(frames_of(str(tmp_path / "a.mp4"), 30)) == list(range(20))


def test_of_a_video_not_all_bytes_are_kept(tmp_path, monkeypatch):
    kept = []

    def spread(*given):
        kept.append(sum(type(x) is av.Packet for x in gc.get_objects()))
        return _spread(*given)

    write_video(tmp_path / "a.mp4", [10 * n for n in range(20)])
    monkeypatch.setattr("gramalign.decoding.pictures._spread", spread)
    frames_of(str(tmp_path / "a.mp4"), 4)
    assert len(kept) == 1 and kept[0] <= 1


@pytest.mark.parametrize("kind", ["mp4", "avi", "ts", "m4v"])
def test_frames_are_those_of_the_whole_video(kind, tmp_path):
    # Some kinds do not tell when their frames are, and keys are every ten frames.
    path = str(tmp_path / f"a.{kind}")
    levels = np.random.default_rng(0).integers(0, 256, 47).tolist()
    write_video(tmp_path / f"a.{kind}", levels, g="10", bf="2")
    with av.open(path) as container:
        frames = [frame.to_image() for frame in container.decode(video=0)]
    assert len(frames) == 47
    for count, chosen in ((1, [23]), (3, [7, 23, 39]), (47, range(47))):
        found = frames_of(path, count)
        assert len(found) == len(chosen)
        for image, number in zip(found, chosen, strict=True):
            np.testing.assert_array_equal(np.asarray(image), np.asarray(frames[number]))


def test_frames_that_only_decode_others_are_none(tmp_path):
    """As where a film is cut without coding it anew: it begins at a key before its beginning."""
    write_video(tmp_path / "whole.mp4", [10 * n for n in range(20)], g="250")
    with (
        av.open(tmp_path / "whole.mp4") as whole,
        av.open(tmp_path / "cut.mp4", "w", options={"avoid_negative_ts": "disabled"}) as cut,
    ):
        stream = whole.streams.video[0]
        copied = cut.add_stream_from_template(stream)
        for packet in whole.demux(stream):
            if packet.dts is not None:
                assert packet.time_base is not None and packet.pts is not None
                start = round(0.8 / packet.time_base)
                packet.pts, packet.dts = packet.pts - start, packet.dts - start
                packet.stream = copied
                cut.mux(packet)
    assert greys(frames_of(str(tmp_path / "cut.mp4"), 1)) == [14]
    assert greys(frames_of(str(tmp_path / "cut.mp4"), 4)) == [9, 12, 15, 18]
    assert greys(frames_of(str(tmp_path / "cut.mp4"), 30)) == list(range(8, 20))


def test_a_film_that_ends_before_its_frames_do(tmp_path):
    path = tmp_path / "a.mp4"
    write_video(path, [10 * n for n in range(20)])
    with av.open(path) as container:
        last = [bytes(packet) for packet in container.demux(video=0) if packet.size][-4:]
    content = path.read_bytes()
    for packet in last:  # which says of its frame that it is not coded
        nothing = bytes.fromhex("000001b65080").ljust(len(packet), b"\0")
        content = content.replace(packet, nothing)
    path.write_bytes(content)
    assert greys(frames_of(str(path), 1)) == [10]
    with pytest.raises(ValueError, match="it ends before frame 1[6-9] of 20"):
        frames_of(str(path), 20)


def test_videos_are_turned_as_they_were_taken(tmp_path):
    write_video(tmp_path / "a.mp4", [200], width=64)
    content = (tmp_path / "a.mp4").read_bytes()
    one, none, minus = (number.to_bytes(4, "big") for number in (1 << 16, 0, 2**32 - (1 << 16)))
    upright, turned = one + 3 * none + one + none, none + one + none + minus + 2 * none
    place = content.index(upright, content.index(b"tkhd"))  # by a quarter, clockwise
    content = content[:place] + turned + content[place + len(turned) :]
    (tmp_path / "a.mp4").write_bytes(content)
    (image,) = frames_of(str(tmp_path / "a.mp4"), 1)
    assert image.size == (32, 64)
    left, right = np.asarray(image)[:, :12].mean(), np.asarray(image)[:, -12:].mean()
    assert left == pytest.approx(200, abs=5) and right == pytest.approx(100, abs=5)


def test_a_video_is_as_many_images(encoders, tmp_path):
    write_video(tmp_path / "a.mp4", [10 * n for n in range(20)])
    images = [np.asarray(image) for image in frames_of(str(tmp_path / "a.mp4"), 4)]
    found = read(encoders, "video", "clip", tmp_path / "a.mp4")
    np.testing.assert_array_equal(found["pixel_values"], prepared(encoders, images))


@pytest.mark.parametrize(("there", "taken"), [(20, [1, 5, 8, 11, 15, 18]), (3, [0, 0, 1, 1, 2, 2])])
@pytest.mark.parametrize("name", ["videomae", "clip"])
def test_an_encoder_of_videos_gets_as_many_frames_as_it_takes(
    encoders, tmp_path, name, there, taken
):
    write_video(tmp_path / "a.mp4", [10 * n for n in range(there)])
    path, folder = str(tmp_path / "a.mp4"), encoders / name
    images = AutoImageProcessor.from_pretrained(folder, backend="pil")
    wanted = images(frames_of(path, there), return_tensors="np")["pixel_values"]
    read = Reading(
        "video", str(folder), model_type=name, longest=0, frames=6, together=True
    ).reader()
    found = read(path)["pixel_values"]
    size = (12, 8) if name == "videomae" else (12, 12)
    assert found.shape == (1, 6, 3, *size)
    np.testing.assert_array_equal(found[0], wanted.reshape(-1, 3, *size)[taken])


def test_a_folder_of_images_is_a_video(tmp_path):
    for n in range(12):
        Image.fromarray(np.full((8, 8, 3), 10 * n, np.uint8)).save(tmp_path / f"{n:02}.png")
    (tmp_path / ".hidden").touch()
    assert greys(frames_of(str(tmp_path), 3)) == [2, 6, 10]
    (tmp_path / "02.png").write_bytes(b"no image")
    with pytest.raises(OSError) as error:
        frames_of(str(tmp_path), 3)
    assert error.value.__notes__ == ["That was 02.png"]


def test_videos_without_frames(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="it has no frames"):
        frames_of(str(tmp_path / "empty"), 3)
    write_sound(tmp_path / "a.wav", 0, seconds=0.1)
    with pytest.raises(ValueError, match="it has no video"):
        frames_of(str(tmp_path / "a.wav"), 3)


def test_a_sound_is_cut_into_windows(encoders, tmp_path):
    extractor = AutoFeatureExtractor.from_pretrained(encoders / "whisper")
    write_sound(tmp_path / "a.wav", 0, seconds=2.5)
    samples, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    found = read(encoders, "audio", "whisper", tmp_path / "a.wav")["input_features"]
    assert found.shape == (3, 8, 20)
    for window, start in zip(found, (0, 3 * RATE // 4, 3 * RATE // 2), strict=True):
        part = samples[start : start + RATE]
        wanted = extractor(part, sampling_rate=RATE, return_tensors="np")["input_features"]
        np.testing.assert_array_equal(window, wanted[0])


def test_a_short_sound_is_padded(encoders, tmp_path):
    extractor = AutoFeatureExtractor.from_pretrained(encoders / "whisper")
    write_sound(tmp_path / "a.wav", 0, seconds=0.3)
    samples, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    found = read(encoders, "audio", "whisper", tmp_path / "a.wav")["input_features"]
    wanted = extractor(samples, sampling_rate=RATE, return_tensors="np")["input_features"]
    np.testing.assert_array_equal(found, wanted)


def of_samples(encoders, name, folder, seconds, *, filled=False):
    """What an encoder of samples gets, what its extractor makes of any, and the sound."""
    extractor = AutoFeatureExtractor.from_pretrained(encoders / name)
    write_sound(folder / "a.wav", 0, seconds=seconds)
    samples, _ = soundfile.read(folder / "a.wav", dtype="float32")

    def made(part):
        return extractor(part, sampling_rate=RATE, return_tensors="np")["input_values"][0]

    return sound_pieces(extractor, filled=filled)(str(folder / "a.wav")), made, samples


def test_without_a_mask_a_sound_fills_its_windows(encoders, tmp_path):
    found, made, samples = of_samples(encoders, "hubert", tmp_path, seconds=0.7)
    parts = [made(samples[:10_000]), made(samples[1200:])]
    np.testing.assert_array_equal(found["input_values"], parts)
    assert found["attention_mask"].shape == (2, 10_000) and found["attention_mask"].all()


def test_with_a_mask_silence_is_added_to_a_sound(encoders, tmp_path):
    found, made, samples = of_samples(encoders, "wav2vec2", tmp_path, seconds=0.7)
    assert found["input_values"].shape == found["attention_mask"].shape == (1, 20_000)
    np.testing.assert_allclose(found["input_values"][0, :11_200], made(samples), atol=1e-6)
    assert not found["input_values"][0, 11_200:].any()
    np.testing.assert_array_equal(found["attention_mask"][0], np.arange(20_000) < 11_200)


@pytest.mark.parametrize(
    ("name", "seconds", "filled", "windows"),
    [("hubert", 0.01, False, (1, 1250)), ("wav2vec2", 12, False, (2, 160_000)),
     ("hubert", 12, False, (2, 160_000)), ("hubert", 0.7, True, (1, 160_000)),
     ("hubert", 35, True, (1, 160_000))],
)  # fmt: skip
def test_windows_of_samples(encoders, tmp_path, name, seconds, filled, windows):
    found, _, samples = of_samples(encoders, name, tmp_path, seconds, filled=filled)
    assert found["input_values"].shape == windows
    there = min(len(samples), windows[1])
    assert (found["attention_mask"].sum(axis=1) == there).all()
    assert not found["input_values"][:, there:].any()


def test_sounds_have_one_channel_and_one_rate(tmp_path):
    write_sound(tmp_path / "a.wav", 0, seconds=0.5, rate=44100, channels=2)
    samples, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    found = sound(str(tmp_path / "a.wav"), RATE)
    assert found.dtype == np.float32 and found.shape == (RATE // 2,)
    np.testing.assert_array_equal(found, soxr.resample(samples.mean(axis=1), 44100, RATE))


def test_texts_of_siglip(tmp_path):
    sentencepiece = pytest.importorskip("sentencepiece")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(WORDS)] * 9),
        model_prefix=str(tmp_path / "spiece"),
        vocab_size=40,
        hard_vocab_limit=False,
        minloglevel=9,
        **{"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
    )
    config = {"tokenizer_class": "SiglipTokenizer", "model_input_names": ["input_ids"]}
    config |= {"pad_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    read = Reading("text", str(tmp_path), model_type="siglip", longest=12, frames=1).reader()
    upper, lower = read("A cat, hears!"), read("a cat hears")
    assert upper.keys() == {"input_ids"} and upper["input_ids"].shape == (1, 12)
    assert upper["input_ids"].tolist() == lower["input_ids"].tolist()
    assert upper["input_ids"][0, -1] == 1
    of_six = Reading("text", str(tmp_path), "siglip", longest=6, frames=1, places=12).reader()
    for text in ("a cat", "a cat hears a dog in the snow"):
        ids = read(text)["input_ids"][0]
        cut = [*ids[ids != 1][:5], *[1] * 12][:12]
        assert of_six(text)["input_ids"][0].tolist() == cut, "as long as it was trained on"


def write_siglip2(folder):
    """With Gemma's tokenizer, as published."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    vocab = {word: number for number, word in enumerate([*special, *"▁acdtACDT", "ca", "▁d"])}
    model = tokenizers.models.BPE(vocab, [("c", "a"), ("▁", "d")], unk_token="<unk>")
    made = tokenizers.Tokenizer(model)
    made.normalizer = tokenizers.normalizers.Replace(" ", "▁")
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A <eos>", special_tokens=[("<eos>", 1)]
    )
    made.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "GemmaTokenizer", "model_input_names": ["input_ids"]}
    config |= {"do_lower_case": True, "padding_side": "right", "model_max_length": 10**30}
    config |= {"add_bos_token": False, "add_eos_token": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    config = {"image_processor_type": "SiglipImageProcessor", "resample": 2}
    config |= {"size": {"height": 8, "width": 8}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(config))


def test_texts_of_siglip_2(tmp_path):
    write_siglip2(tmp_path)
    read = Reading("text", str(tmp_path), model_type="siglip", longest=7, frames=1).reader()
    assert {name: x.tolist() for name, x in read("cat Dac").items()} == {
        "input_ids": [[14, 9, 15, 6, 7, 1, 0]]  # ca t ▁d a c
    }
    assert read("CAT dAC")["input_ids"].tolist() == read("cat dac")["input_ids"].tolist()
    assert read("cat dac cat")["input_ids"].tolist() == [[14, 9, 15, 6, 7, 5, 1]]
    known = AutoTokenizer.from_pretrained(tmp_path)
    assert known("CAT")["input_ids"] == [11, 10, 13, 1], "the cases are words of their own"


def test_texts_of_siglip_that_are_cut_are_as_long_as_it_was_trained_on(tmp_path):
    write_siglip2(tmp_path)
    config = {"model_type": "siglip", "text_config": {"max_position_embeddings": 9}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    recipe = recipe_of("text", tmp_path, Options(tokens=3, inputs=True), load=pytest.fail)
    assert recipe.read("cat cat")["input_ids"].tolist() == [[14, 9, 1, *[0] * 6]]


def test_images_of_siglip_2(tmp_path):
    write_siglip2(tmp_path)
    write_image(tmp_path / "a.png", seed=1)
    read = Reading("image", str(tmp_path), model_type="siglip", longest=0, frames=1).reader()
    resized = Image.fromarray(pixels(1)).resize((8, 8), Image.Resampling.BILINEAR)
    wanted = np.moveaxis(np.asarray(resized, np.float32), -1, 0) / 127.5 - 1
    np.testing.assert_allclose(read(str(tmp_path / "a.png"))["pixel_values"][0], wanted, atol=1e-6)


def test_a_tokenizer_that_needs_sentencepiece(encoders, tmp_path, monkeypatch):
    shutil.copytree(encoders / "bert", tmp_path / "bert")
    (tmp_path / "bert" / "spiece.model").touch()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="the tokenizer of .*bert needs sentencepiece, not instal"):
        processor(tmp_path / "bert", "tokenizer")


def test_nothing_is_looked_up_online(encoders, monkeypatch):
    def refused(*_):
        raise AssertionError("online")

    monkeypatch.setattr("socket.socket.connect", refused)
    monkeypatch.setattr("socket.getaddrinfo", refused)
    processor(encoders / "bert", "tokenizer")
    processor(encoders / "clip", "image processor")
    processor(encoders / "whisper", "feature extractor")


@pytest.mark.parametrize(
    "samples, message",
    [([], "no samples"), ([0.0, np.nan], "NaN or Inf"), ([np.inf], "NaN or Inf")],
)
def test_sounds_of_nothing(samples, message, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array(samples), 8000, subtype="FLOAT")
    with pytest.raises(ValueError, match=message):
        sound(str(tmp_path / "a.wav"), RATE)


def test_a_sound_that_overflows_is_unreadable(encoders, tmp_path, monkeypatch):
    """As some extractors' powers of 1e30 do, whose samples are finite."""

    def overflowing(extractor, *, filled):
        return lambda path: {"input_features": np.float32([[np.inf, len(path)]])}

    monkeypatch.setattr("gramalign.decoding.reading.sound_pieces", overflowing)
    with pytest.raises(ValueError, match="input_features would be NaN or Inf, as by .* huge samp"):
        read(encoders, "audio", "whisper", tmp_path / "a.wav")


def write_clap(folder, **settings):
    """As published, of a second instead of ten."""
    settings = {
        **{"feature_extractor_type": "ClapFeatureExtractor", "max_length_s": 1, "feature_size": 64},
        **{"frequency_min": 50, "frequency_max": 14_000, "sampling_rate": 48_000, "top_db": None},
        **{"truncation": "rand_trunc", "padding": "repeatpad", "nb_max_samples": 48_000},
        **settings,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return settings


OTHERS = {"hop_length": 960, "fft_window_size": 512, "feature_size": 32, "frequency_max": 8000}


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({"padding": "repeatpad"}, (101, 64)),
        ({"padding": "repeat"}, (101, 64)),
        ({"padding": "pad"}, (101, 64)),
        (OTHERS, (51, 32)),
    ],
)
def test_spectra_of_clap(tmp_path, settings, size):
    pytest.importorskip("torch")  # Hugging Face's needs it
    extractor = ClapFeatureExtractor(**write_clap(tmp_path, **settings))
    for seconds in (0.3, 1):
        write_sound(tmp_path / "a.wav", 0, seconds=seconds, rate=48_000)
        found = Reading("audio", str(tmp_path), model_type="clap", longest=0, frames=1).reader()(
            str(tmp_path / "a.wav")
        )
        samples, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
        wanted = extractor([samples], sampling_rate=48_000, return_tensors="np")["input_features"]
        assert wanted.shape == (1, 1, *size)
        np.testing.assert_array_equal(found.pop("input_features"), wanted)
        assert not found


def test_a_long_sound_of_clap_is_cut_into_windows(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    write_clap(tmp_path)
    write_sound(tmp_path / "a.wav", 0, seconds=2.5, rate=48_000)
    made = processor(tmp_path, "feature extractor")
    samples, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    found = sound_pieces(made, filled=False)(str(tmp_path / "a.wav"))["input_features"]
    assert found.shape == (3, 1, 101, 64)
    np.testing.assert_array_equal(found[1:2], made([samples[36_000:84_000]])["input_features"])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"truncation": "fusion"}, "truncation is 'fusion', expected 'rand_trunc'"),
        ({"padding": "reflect"}, "padding is 'reflect', expected any of .*'repeatpad'"),
    ],
)
def test_spectra_of_another_clap(tmp_path, settings, told):
    write_clap(tmp_path, **settings)
    with pytest.raises(ValueError, match=f"no feature extractor that can be used here: {told}"):
        processor(tmp_path, "feature extractor")
