"""Named configs: one commented Python file each, in `experiments/`."""

import runpy
import shlex
from pathlib import Path

import gramalign
from gramalign.training import Config


def folders() -> list[Path]:
    """Where presets are looked for: inside the installed package, or beside it in a checkout."""
    package = Path(gramalign.__file__).parent
    return [package / "experiments", package.parent / "experiments"]


def names() -> list[str]:
    """Every preset there is."""
    files = [path for folder in folders() for path in sorted(folder.glob("*.py"))]
    return list(dict.fromkeys(x.stem for x in files if "\nconfig = " in x.read_text()))


def preset(name: str) -> Config:
    """The config of a preset, by its name or as the path of a Python file that sets `config`.

    Raises:
        ValueError: if there is none; the message lists those there are.
    """
    paths = [folder / f"{name}.py" for folder in folders()]
    if name.endswith(".py"):
        paths = [Path(name)]
    for path in paths:
        if path.is_file():
            config = runpy.run_path(str(path)).get("config")
            if not isinstance(config, Config):
                raise ValueError(f"{path} must set `config` to a gramalign.training.Config")
            return config
    if Path(name).exists():
        raise ValueError(
            f"{name!r} is a path, not a preset: give --data {shlex.quote(name)} if it is a feature "
            "store"
        )
    known = ", ".join(names()) or "none"
    raise ValueError(
        f"no preset {name!r}: give one of {known}, the path of a .py file that sets `config`, or "
        "no preset and --data PATH"
    )
