"""What `gramalign search --ask` is asked: texts and files, together one query."""

from collections.abc import Mapping

from gramalign.cli.media import quiet
from gramalign.cli.queries import Queries
from gramalign.data import from_arrays
from gramalign.media import features_like
from gramalign.models import pretrained
from gramalign.training import Run, embed_store
from gramalign.training.tower_named import tower_named


def media_query(
    run: Run, ask: Mapping[str, str], encoders: Mapping[str, str], data: str
) -> Queries:
    """Encodes and embeds one query.

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
    for name in ask:
        if name not in run.dims:
            raise ValueError(f"--ask names {name}, but the run embeds {', '.join(run.dims)}")
    quiet()
    own = {name: folder for name, folder in _of_towers(run).items() if name in ask}
    encode = features_like(data, {**own, **encoders})
    rows = encode({name: [given] for name, given in ask.items()})
    store = from_arrays(rows, source="--ask")
    # One name for one query, where a row has its id.
    name = " + ".join(" ".join(given.split()) for given in ask.values())
    return Queries((name,), embed_store(run, store, batch_size=1), store.present, True)


def _of_towers(run: Run) -> dict[str, str]:
    tower = tower_named(run.config.model.tower)
    if tower.found is not pretrained.Tower:
        return {}
    return {name: folder for name, folder in tower.settings["encoders"].items() if folder}
