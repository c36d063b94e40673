"""What users name as `package.module:name`: Scores, losses and augmentations of their own."""

import importlib
import operator
from typing import Any


def imported(name: str, argument: str) -> Any:
    """Imports what a text names.

    Only from modules that Python finds: a run or an index names what it needs, and may come from
    anyone, so code that lies beside it must not be run for that.

    Args:
        name: `package.module:name`.
        argument: what was given this name, in error messages.

    Raises:
        ValueError: there is no such module, or it has no such name. What a module itself raises
            while it is imported is not caught.

    >>> imported("math:pi", "objective")
    3.141592653589793
    """
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute) or module.startswith("."):
        raise ValueError(f"{argument}: got {name!r}, expected package.module:name")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise  # a module that it needs
        raise ValueError(
            f"{argument}: got {name!r}, but there is no module {error.name!r}: install it, or set "
            "PYTHONPATH to the folder that holds it"
        ) from None
    try:
        return operator.attrgetter(attribute)(found)
    except AttributeError:
        place = getattr(found, "__file__", None) or f"the module {module}"
        here = "; what a notebook or script defines is there alone: move it into a module"
        cure = here if module == "__main__" else ""
        raise ValueError(
            f"{argument}: got {name!r}, but {place} has no {attribute!r}{cure}"
        ) from None
