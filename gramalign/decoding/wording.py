"""What becomes of a text before its tokens are made, as Sentence Transformers' folders say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gramalign.decoding.folders import MODULES
from gramalign.settings import part_of, read_settings, settled

TRANSFORMER = "sentence_bert_config.json"
"""The file of how texts become tokens."""

_PROMPTS = "config_sentence_transformers.json"


def wording(folder: Path) -> Callable[[str], str]:
    """A function from a text to what an encoder reads: stripped, after its default prompt.

    Args:
        folder: of the encoder; unless it is Sentence Transformers', texts stay as they are. It may
            ask for lower case, too.

    Raises:
        ValueError: a setting of another kind, or a prompt that is not there.
    """
    prompt = default_prompt(folder)
    lower = _said(folder, TRANSFORMER, {"do_lower_case": False})["do_lower_case"]
    stripped = (folder / MODULES).is_file()

    def worded(text: str) -> str:
        text = prompt + text
        text = text.strip() if stripped else text
        return text.lower() if lower else text

    return worded


def default_prompt(folder: Path) -> str:
    """What stands before each text, or nothing.

    Raises:
        ValueError: as `wording`.
    """
    said = _said(folder, _PROMPTS, {})
    if (name := said.get("default_prompt_name")) is None:
        return ""
    prompts = part_of(said, "prompts")
    if not isinstance(name, str) or not isinstance(found := prompts.get(name), str):
        raise ValueError(
            f"{folder / _PROMPTS}: default_prompt_name is {name!r}, expected null, or one of the "
            f"prompts, each a text: {', '.join(prompts) or 'none'}"
        )
    return found


def _said(folder: Path, name: str, defaults: dict[str, Any]) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        return defaults
    try:
        return settled(defaults, read_settings(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
