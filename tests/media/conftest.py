"""A small table of media, and the encoders of its columns."""

import csv
import os

import pytest

from tests.compiled import kept_programs as kept_programs
from tests.media.made import WORDS, write_encoders, write_image, write_sound, write_video

ROWS = 11


@pytest.fixture(scope="session")
def encoders(tmp_path_factory):
    return write_encoders(tmp_path_factory.mktemp("encoders"))


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    """Eleven rows, some without a photo, a film or a sound."""
    folder = tmp_path_factory.mktemp("media")
    rows = []
    for i in range(ROWS):
        row = {"ids": f"row{i}", "caption": " ".join(WORDS[: 1 + i]), "photo": "", "film": ""}
        row |= {"sound": "", "labels": str(i % 2), "groups": "", "url": "unused"}
        row["groups"] = f"g{i // 2}"
        if i % 4:
            row["photo"] = f"photos/{i}.png"
            write_image(folder / row["photo"], i)
        if i % 3:
            row["film"] = f"films/{i}.mp4"
            write_video(folder / row["film"], [20 * (i + n) % 250 for n in range(2 + i)])
        if i % 5:
            row["sound"] = f"sounds/{i}.wav"
            write_sound(folder / row["sound"], i, seconds=0.25 * i)
        rows.append(row)
    with (folder / "media.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "media.csv"


@pytest.fixture(scope="session")
def sounds(table):
    """Two rows, with sounds of 4000 and 28000 samples: one of the windows, and between two."""
    path = table.with_name("sounds.csv")
    path.write_text("sound\nsounds/1.wav\nsounds/7.wav\n")
    return path


@pytest.fixture(scope="session")
def films(table):
    """Two rows, with films of 3 and 9 frames."""
    path = table.with_name("films.csv")
    path.write_text("film\nfilms/1.mp4\nfilms/7.mp4\n")
    return path


@pytest.fixture
def quiet(monkeypatch):
    """A command's settings of the environment end with the test."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
