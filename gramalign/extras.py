"""Packages that come with an extra of this one."""

import importlib.util


def check_extra(extra: str, what: str, **packages: str) -> None:
    """Raises a ValueError that names the cure if a package is missing.

    Args:
        extra: which brings them.
        what: needs them, in the message.
        **packages: by module, the name that pip knows.
    """
    missing = [name for module, name in packages.items() if not importlib.util.find_spec(module)]
    if missing:
        raise ValueError(
            f"{what} needs {', '.join(missing)}, not installed here: "
            f"pip install 'gramalign[{extra}]'"
        )
