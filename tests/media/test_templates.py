"""`gramalign classify --templates`: prompts of class names, as the store's texts were encoded."""

import json
import re

import numpy as np
import pytest

from gramalign.cli import main
from gramalign.media import features
from tests.complaint import complaint
from tests.media.made import write_image

NAMES = ("cat", "small_dog")
TEMPLATES = ("a {} sees", "the {}")


@pytest.fixture(scope="module")
def trained(encoders, tmp_path_factory):
    """A run on captions and photos of two classes, and its store."""
    root = tmp_path_factory.mktemp("templates")
    lines = ["caption,photo,labels,split"]
    for i in range(24):
        write_image(root / "photos" / f"{i}.png", i % 2)
        split = "test" if i >= 16 else "train"
        lines.append(f"a {('cat', 'dog')[i % 2]},photos/{i}.png,{NAMES[i % 2]},{split}")
    (root / "media.csv").write_text("\n".join(lines))
    clip = {"caption": encoders / "clip"}, {"photo": encoders / "clip"}
    features(root / "media.csv", root / "store", text=clip[0], image=clip[1])
    options = ["--steps", "2", "--batch-size", "8", "--objective", "clip", "--no-evaluation"]
    options += ["--optimizer.warmup", "0", "--model.dim", "8", "--model.hidden", "8"]
    main(["train", "--data", str(root / "store"), "--out", str(root / "run"), *options])
    return root / "run", root / "store"


def words(trained, encoders, *templates):
    run, _ = trained
    prompts = ["--prompts", "caption", "--encoders", f"caption={encoders / 'clip'}"]
    return ["classify", str(run), *prompts, *(["--templates", *templates] if templates else [])]


def figures(run):
    record = json.loads((run / "classification.json").read_text())
    assert record["zero_shot"]
    return record["prompts"], dict(np.load(run / "predictions.npz"))


def test_they_are_what_a_store_of_such_texts_holds(trained, encoders, tmp_path, quiet, capsys):
    run, _ = trained
    main(words(trained, encoders, *TEMPLATES))
    assert "given prompts" in capsys.readouterr().out
    found, predicted = figures(run)
    texts = [(t.replace("{}", n.replace("_", " ")), n) for n in NAMES for t in TEMPLATES]
    lines = "\n".join(["caption,labels", *(f"{text},{name}" for text, name in texts)])
    (tmp_path / "prompts.csv").write_text(lines)
    features(tmp_path / "prompts.csv", tmp_path / "prompts", text={"caption": encoders / "clip"})
    given = ["--prompts", "caption", "--prompts-from", str(tmp_path / "prompts")]
    main(["classify", str(run), *given])
    wanted, others = figures(run)
    assert found == wanted
    for name, rows in others.items():
        np.testing.assert_array_equal(predicted[name], rows)
    main(words(trained, encoders, "a {}"))
    options = json.loads((run / "classification.json").read_text())["options"]
    assert "--templates" in options and options[options.index("--templates") + 1] == "a {}"


def test_what_is_refused(trained, encoders, tmp_path, capsys, quiet):
    run, store = trained
    all_of_it = words(trained, encoders, "a {}")
    numbered = tmp_path / "numbered.npz"
    arrays = {x.stem: np.load(x) for x in store.glob("*.npy")}
    np.savez(numbered, **arrays | {"labels": np.arange(24) % 2})
    for given, message in (
        ([*all_of_it, "--prompts-from", "x"], "got --prompts-from and --templates, expected one"),
        (["classify", str(run), "--templates", "a {}"], "--templates is given, but its modality"),
        (words(trained, encoders), "--encoders are for --templates: leave them out"),
        (words(trained, encoders, "a cat"), r"got 'a cat', expected a text with one \{\} in it"),
        (words(trained, encoders, "{} or {}"), r"got '\{\} or \{\}', expected a text with one"),
        ([*all_of_it, "--data", str(numbered)], "labels of .*numbered.npz are numbers, such as 0"),
        (
            all_of_it[:4] + ["--templates", "a {}"],
            "got none for caption, expected clip, the folder",
        ),
    ):
        assert re.search(message, complaint(capsys, *given))
