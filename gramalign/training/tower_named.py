"""Towers by name: the one here, or your own, with settings."""

from flax import nnx

from gramalign.imported import Named, named, read_call, written_call
from gramalign.models.towers import GIVEN

_NEEDED = ("features", "dim", "rngs")


def tower_named(text: str) -> Named:
    """Finds a class of towers.

    Args:
        text: `package.module:Class` of an `nnx.Module`, with any settings in brackets, as
            `gramalign.models.Towers` takes them.

    Raises:
        ValueError: there is no such class, or it does not take these settings, or takes `**others`,
            of which nobody could tell whether they are to hold what a run gives.

    >>> tower_named("gramalign.models:Tower").found.__name__
    'Tower'
    """
    tower = named(text, "tower", "mine:Tower(heads=4)")
    module = isinstance(tower.found, type) and issubclass(tower.found, nnx.Module)
    if not (module and set(_NEEDED) <= set(tower.takes)):
        raise ValueError(
            f"tower: got {text!r}, which is {tower.found!r}, expected a class of nnx.Module that "
            f"takes {', '.join(_NEEDED)} by name"
        )
    unnamed = [each for each in tower.takes if each.startswith("*")]
    if unnamed:
        raise ValueError(
            f"tower: got {text!r}, which takes {', '.join(unnamed)}, expected the name of each "
            f"argument: the run gives those that are named of {', '.join(GIVEN)}"
        )
    tower.check_settings("tower", GIVEN)
    return tower


def of_modality(text: str, modality: str) -> str:
    """A tower's text with no more than one modality's own, of settings that name modalities.

    >>> of_modality("mine:Tower(width=2, folders={'text': 'a/', 'audio': 'b/'})", "text")
    "mine:Tower(width=2, folders={'text': 'a/'})"
    """
    name, settings = read_call(text)
    own = {
        key: {modality: value[modality]} if isinstance(value, dict) and modality in value else value
        for key, value in (settings or {}).items()
    }
    return text if own == (settings or {}) else written_call(name, own)
