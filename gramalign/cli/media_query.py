"""Texts and files given on the command line, as features like those of a store."""

from collections.abc import Mapping, Sequence

import numpy as np

from gramalign.cli.media import quiet
from gramalign.cli.queries import Queries
from gramalign.data import FeatureStore, from_arrays
from gramalign.media import features_like
from gramalign.models import pretrained
from gramalign.training import Run, embed_store
from gramalign.training.measure import labels_of
from gramalign.training.tower_named import tower_named


def media_query(
    run: Run, ask: Mapping[str, str], encoders: Mapping[str, str], data: str
) -> Queries:
    """Encodes and embeds one query, of texts and files together.

    Args:
        run: what embeds it.
        ask: by modality, a text or the path of a file.
        encoders: by modality, the folder of the encoder that made the store's features; where none
            is given, that of the run's own tower, if it is a pretrained encoder.
        data: the store, or a mixture of several.

    Raises:
        FileNotFoundError, ValueError: a modality that the run does not embed, or as
            `gramalign.media.features_like`.
    """
    rows = _encoded(run, "--ask", {m: [cell] for m, cell in ask.items()}, encoders, data)
    store = from_arrays(rows, source="--ask")
    # One name for one query, where a row has its id.
    name = " + ".join(" ".join(given.split()) for given in ask.values())
    return Queries((name,), embed_store(run, store, batch_size=1), store.present, True)


def named_classes(
    run: Run,
    store: FeatureStore,
    templates: Sequence[str],
    modality: str,
    encoders: Mapping[str, str],
    data: str,
) -> FeatureStore:
    """Encodes prompts: of every class of a store, each template with its name.

    Args:
        run: what is to embed them.
        store: whose labels name the classes.
        templates: texts with `{}` for a name, whose underscores become spaces.
        modality: of texts.
        encoders: as for `media_query`.
        data: likewise.

    Returns:
        A store of the prompts, labelled.

    Raises:
        FileNotFoundError, ValueError: labels that are numbers, a template without its `{}`, or as
            `media_query`.
    """
    labels = labels_of(store)
    if labels.dtype.kind != "U":
        raise ValueError(
            f"--templates: labels of {store.source} are numbers, such as {labels[0]}, expected "
            "names of classes: name them in its array 'labels', or give prompts by --prompts-from"
        )
    for template in templates:
        if template.count("{}") != 1:
            raise ValueError(f"--templates: got {template!r}, expected a text with one {{}} in it")
    names = np.unique(labels).tolist()
    texts = [each.replace("{}", name.replace("_", " ")) for name in names for each in templates]
    rows = _encoded(run, "--prompts", {modality: texts}, encoders, data)
    return from_arrays({**rows, "labels": np.repeat(names, len(templates))}, source="--templates")


def _encoded(
    run: Run,
    option: str,
    cells: Mapping[str, Sequence[str]],
    encoders: Mapping[str, str],
    data: str,
) -> dict[str, np.ndarray]:
    for given, names in ((option, cells), ("--encoders", encoders)):
        for name in names:
            if name not in run.dims:
                raise ValueError(f"{given} names {name}, but the run embeds {', '.join(run.dims)}")
    quiet()
    own = {name: folder for name, folder in _of_towers(run).items() if name in cells}
    return features_like(data, {**own, **encoders})(cells)


def _of_towers(run: Run) -> dict[str, str]:
    tower = tower_named(run.config.model.tower)
    if tower.found is not pretrained.Tower:
        return {}
    return {name: folder for name, folder in tower.settings["encoders"].items() if folder}
