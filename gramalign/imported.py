"""What users name as `package.module:name`: Scores, losses, optimisers of their own, and more."""

import ast
import importlib
import operator
from collections.abc import Mapping
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
    if not (module and colon and attribute):
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
        raise ValueError(
            f"{argument}: got {name!r}, but {found.__file__} has no {attribute!r}"
        ) from None


def read_call(text: str) -> tuple[str, dict[str, Any] | None]:
    """A name and the settings in brackets after it, as in Python; None if they cannot be read.

    >>> read_call("optax:lion(b1=0.95)"), read_call("volume"), read_call("volume(form=root)")
    (('optax:lion', {'b1': 0.95}), ('volume', {}), ('volume', None))
    """
    name, bracket, inside = text.strip().partition("(")
    if not bracket:
        return name, {}
    try:
        found = ast.parse(f"_({inside}", mode="eval").body
        if isinstance(found, ast.Call) and not found.args:
            return name, {str(each.arg): ast.literal_eval(each.value) for each in found.keywords}
    except (SyntaxError, ValueError):
        pass
    return name, None


def written_call(name: str, settings: Mapping[str, Any]) -> str:
    """The text that `read_call` reads.

    >>> written_call("optax:lion", {"b1": 0.95}), written_call("volume", {})
    ('optax:lion(b1=0.95)', 'volume')
    """
    inside = [f"{key}={value!r}" for key, value in settings.items()]
    return f"{name}({', '.join(inside)})" if inside else name
