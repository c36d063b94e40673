"""What the commands that read media share: options of words NAME=VALUE, and a quiet library."""

import itertools
import os
from collections.abc import Sequence

import tyro

Words = tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]]
"""Words of an option that may be given again, as otherwise only the last would count."""


def by_name(option: str, given: Sequence[Sequence[str]], wanted: str) -> dict[str, str]:
    """The values of words NAME=VALUE, of which a shell leaves a ~ as it is.

    Args:
        option: as it is typed.
        given: its words.
        wanted: what a word looks like.

    Raises:
        ValueError: another word, or a name twice.

    >>> by_name("--text", [["caption=models/clip", "title=a=b"], ["name=bert"]], "COLUMN=FOLDER")
    {'caption': 'models/clip', 'title': 'a=b', 'name': 'bert'}
    >>> by_name("--ask", [["photo=~/me.jpg"]], "MODALITY=FILE")["photo"].startswith("~")
    False
    """
    found: dict[str, str] = {}
    for word in itertools.chain.from_iterable(given):
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise ValueError(f"{option}: got {word!r}, expected {wanted}")
        if name in found:
            raise ValueError(f"{option}: got {name} twice, expected it once")
        found[name] = os.path.expanduser(value) if value.startswith("~/") else value
    return found


def quiet() -> None:
    """Keeps Hugging Face's library, before it is imported, from looking online and from advice."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
