"""What each study varies, on which data, and why it is set up so."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from gramalign.data import load
from gramalign.files import make_folder, whole
from gramalign.training import Config

from .digit_sets import eight_views, many_rows
from .digits import config as digits
from .prepare import Emoji, prepare
from .prepare_errors import RawDataError


@dataclass(frozen=True)
class Study:
    """What is trained.

    Attributes:
        title: what is asked.
        text: how it is measured.
        axis: what is varied.
        lines: what is compared -> place on the axis -> the runs, one a seed.
        places: numbers on a logarithmic axis, an order, or names that have none.
    """

    title: str
    text: str
    axis: str
    lines: Mapping[str, Mapping[str, Sequence[Config]]]
    places: Literal["logarithmic", "in order", "names"] = "in order"

    def configs(self) -> Iterator[Config]:
        """Of all runs."""
        for places in self.lines.values():
            for configs in places.values():
                yield from configs


@dataclass(frozen=True)
class Setup:
    """What a study is made with.

    Attributes:
        out: folder of the runs.
        seeds: of every place on the axis.
        raw: the raw files of emoji, if they are there.
    """

    out: Path
    seeds: range
    raw: Path | None = None


EXAMPLES = 2**18
"""That each run of the batch-size study sees, whatever its batch."""


def batch_size(setup: Setup) -> Study:
    """8 to 8192 examples a step, each as often in all."""
    store = _stored(setup.out / "many_rows.npz", many_rows)

    def configs(objective: str, size: int) -> list[Config]:
        steps = EXAMPLES // size
        rate = digits.optimizer.learning_rate * (size / digits.batch_size) ** 0.5
        config = replace(
            digits,
            data=str(store),
            objective=objective,
            batch_size=size,
            steps=steps,
            optimizer=replace(digits.optimizer, learning_rate=rate, warmup=steps // 10),
            checkpoint_every=steps,
            log_every=max(steps // 20, 1),
        )
        return _seeded(config, setup.seeds)

    return Study(
        title="Does the volume need larger batches than the cosine?",
        text=(
            "Three views (`sums`, `fourier`, `gradients`) of scikit-learn's digits; the training "
            "images and seven warped copies of each make 11 576 rows; the 350 test rows are "
            f"unchanged. Every run sees {EXAMPLES} examples, so a larger batch takes fewer steps; "
            "the learning rate grows with the square root of the batch (0.002 at 256), and warm-up "
            "is a tenth of the steps."
        ),
        axis="batch size",
        lines={
            objective: {
                str(size): configs(objective, size) for size in (8, 32, 128, 512, 2048, 8192)
            }
            for objective in ("gram", "height", "clip")
        },
        places="logarithmic",
    )


def modalities(setup: Setup) -> Study:
    """Two to eight views, each seed beginning with another."""
    store = _stored(setup.out / "eight_views.npz", eight_views)
    names = load(store).modalities

    def taken(seed: int, count: int) -> tuple[str, ...]:
        begin = 3 * seed
        return tuple(names[(begin + place) % len(names)] for place in range(count))

    def configs(objective: str, count: int) -> list[Config]:
        start = replace(digits, data=str(store), objective=objective, steps=500)
        return [replace(start, modalities=taken(seed, count), seed=seed) for seed in setup.seeds]

    return Study(
        title="What does another modality add?",
        text=(
            "Two to eight derived views of scikit-learn's digits (`experiments/digit_sets.py`), "
            "each seed starting with a different view, so that no point on the axis is about one "
            "set of views; 500 steps, otherwise the preset `digits`. *rest -> one* finds a view "
            "from all the others, *one -> rest* all the others from one, each under the Score that "
            "was trained."
        ),
        axis="modalities",
        lines={
            objective: {str(count): configs(objective, count) for count in (2, 3, 4, 6, 8)}
            for objective in ("gram", "height", "clip", "clip + gram")
        },
    )


def temperature(setup: Setup) -> Study:
    """Fixed temperatures, of every term at once."""

    def configs(objective: str, value: float) -> list[Config]:
        start = replace(digits, objective=objective)
        settings = {name: replace(term, temperature=value) for name, term in start.terms.items()}  # pyright: ignore[reportCallIssue]
        return _seeded(replace(start, settings=settings, steps=500), setup.seeds)

    return Study(
        title="Which temperature does each method want?",
        text=(
            "scikit-learn's digits, four views; temperatures are fixed, and the same for both "
            "terms of a sum; 500 steps, otherwise the preset `digits`."
        ),
        axis="temperature",
        lines={
            objective: {
                str(value): configs(objective, value) for value in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
            }
            for objective in ("gram", "log_volume", "height", "clip", "clip + gram")
        },
        places="logarithmic",
    )


def anchor(setup: Setup) -> Study:
    """One modality for the anchor, or each in turn."""

    def configs(objective: str, name: str | None) -> list[Config]:
        start = replace(digits, objective=objective)
        settings = {term: replace(x, anchor=name) for term, x in start.terms.items()}  # pyright: ignore[reportCallIssue]
        return _seeded(replace(start, settings=settings, steps=500), setup.seeds)

    anchors = {name: name for name in load("digits").modalities} | {"each in turn": None}
    return Study(
        title="Which anchor, or each in turn?",
        text=(
            "scikit-learn's digits, four views, with one of them as the anchor of all terms, or "
            "each in turn; 500 steps, otherwise the preset `digits`. The figures are means over "
            "all modalities, whichever was the anchor."
        ),
        axis="anchor",
        lines={
            objective: {label: configs(objective, name) for label, name in anchors.items()}
            for objective in ("gram", "height", "clip", "clip + gram")
        },
        places="names",
    )


ABSENT = (0.0, 0.2, 0.4, 0.6)
"""Rates at which further entries of the training part are taken away."""

BATCH = 128
"""That many complete rows there must be, or none are trained on."""


def missing(setup: Setup) -> Study:
    """Emoji, whose second drawing is often absent, and more and more of it absent by chance."""
    if setup.raw is None:
        raise RawDataError("missing needs the emoji: give their folder with --emoji RAW_DIR")
    emoji = setup.out / "emoji"
    if not emoji.exists():
        prepare(Emoji(setup.raw, emoji))

    def stored(rate: float, complete: bool) -> Path:
        kind = "complete" if complete else "all"
        made = partial(_thinned, emoji, rate, complete)
        return _stored(setup.out / f"emoji-{kind}-{rate}.npz", made)

    def configs(objective: str, store: Path) -> list[Config]:
        start = replace(digits, data=str(store), objective=objective, steps=400, batch_size=BATCH)
        return _seeded(start, setup.seeds)

    def line(objective: str, complete: bool) -> dict[str, list[Config]]:
        stores = {f"{rate:.0%}": stored(rate, complete) for rate in ABSENT}
        enough = (place for place, x in stores.items() if len(load(x).part("train")) >= BATCH)
        return {place: configs(objective, stores[place]) for place in enough}

    objectives = ("gram", "clip", "clip + gram", "height + 0.3*clip")
    return Study(
        title="What are examples with gaps worth?",
        text=(
            "Emoji: two drawings, three languages, speech. The second drawing is absent from 22 % "
            "of the rows, as its makers left it; the axis is the rate at which further entries of "
            "the training part are taken away at random. Every row keeps at least two, so that "
            "rates of 20, 40 and 60 % take 20, 39 and 55 % of the entries that there were. Test "
            "rows are unchanged. *Complete rows* trains only on rows that still have everything, "
            "as long as these are enough for a batch; the others train on all rows, with what is "
            f"absent masked. Batches of {BATCH}, 400 steps, otherwise the preset `digits`."
        ),
        axis="rate of removal",
        lines={name: line(name, False) for name in objectives}
        | {f"{name}, complete rows": line(name, True) for name in objectives},
    )


def _seeded(config: Config, seeds: range) -> list[Config]:
    return [replace(config, seed=seed) for seed in seeds]


def _stored(file: Path, made: Callable[[], Mapping[str, np.ndarray]]) -> Path:
    """A feature store in a file, made if it is not there."""
    if not file.exists():
        make_folder(file.parent)
        with whole(file) as draft, draft.open("wb") as store:
            np.savez(store, allow_pickle=False, **made())
    return file


def _thinned(folder: Path, rate: float, complete: bool) -> dict[str, np.ndarray]:
    """A store with entries of its training part taken away, or the rows that lack any."""
    store = load(folder)
    assert store.split is not None
    train = store.split == "train"
    present = np.stack([store.present[name] for name in store.modalities], axis=1)
    rng = np.random.default_rng(0)
    # What is left at a higher rate is left at a lower one as well.
    draw = rng.random(present.shape)
    second = np.sort(np.where(present, draw, -1), axis=1)[:, -2, None]  # the last two stay
    kept = present & (~train[:, None] | (draw >= np.minimum(rate, second)))
    rows = np.flatnonzero(~train | kept.all(axis=1)) if complete else np.arange(len(kept))
    arrays = {
        name: np.where(kept[:, [place]], store.features[name], 0).astype(np.float32)[rows]
        for place, name in enumerate(store.modalities)
    }
    there = {f"present.{name}": kept[rows, i] for i, name in enumerate(store.modalities)}
    return {**arrays, **there, "ids": store.ids[rows], "split": store.split[rows]}


STUDIES: dict[str, Callable[[Setup], Study]] = {
    "batch-size": batch_size,
    "modalities": modalities,
    "temperature": temperature,
    "anchor": anchor,
    "missing": missing,
}
"""Every study by name."""
