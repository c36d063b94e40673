"""What users name as `package.module:name`: Scores, losses, optimisers of their own, and more."""

import ast
import importlib
import inspect
import operator
from collections.abc import Collection, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Named:
    """What a text with settings stands for.

    Attributes:
        text: the text.
        name: `package.module:name`.
        found: what it names.
        settings: keyword arguments to call that with.
        takes: the names of all its arguments; none, if it cannot be called.
    """

    text: str
    name: str
    found: Any
    settings: dict[str, Any]
    takes: tuple[str, ...]

    def check_settings(self, argument: str, ours: Collection[str]) -> None:
        """Raises a ValueError if a setting is not taken, or is one of `ours`, given otherwise."""
        known = [each for each in self.takes if each not in ours]
        given = [each for each in self.takes if each in ours]
        if not set(self.settings) <= set(known):
            raise ValueError(
                f"{argument}: got {self.text!r}, expected settings of {self.name} among "
                f"{', '.join(known) or 'none'}; the run gives {', '.join(given)}"
            )


def named(text: str, argument: str, example: str) -> Named:
    """Reads a call and imports what it names, without calling it.

    Args:
        text: `package.module:name`, with any settings in brackets.
        argument: what was given this text, in error messages.
        example: of such a text, likewise.

    Raises:
        ValueError: settings that cannot be read, or as `imported`.
    """
    name, settings = read_call(text)
    if settings is None:
        raise ValueError(
            f"{argument}: got {text!r}, expected settings as in Python, such as {example}"
        )
    found = imported(name, argument)
    return Named(text, name, found, settings, arguments(found))


def arguments(found: Any) -> tuple[str, ...]:
    """The names of what a function takes, or a class when it is called; none, if it cannot be.

    >>> arguments(Named)[:2], arguments(read_call), arguments(3)
    (('text', 'name'), ('text',), ())
    """
    of_class = isinstance(found, type)
    try:  # a metaclass may hide what the class takes
        takes = tuple(inspect.signature(found.__init__ if of_class else found).parameters)
    except (TypeError, ValueError):
        return ()
    return takes[1:] if of_class else takes


def written_call(name: str, settings: Mapping[str, Any]) -> str:
    """The text that `read_call` reads.

    >>> written_call("optax:lion", {"b1": 0.95}), written_call("volume", {})
    ('optax:lion(b1=0.95)', 'volume')
    """
    inside = [f"{key}={value!r}" for key, value in settings.items()]
    return f"{name}({', '.join(inside)})" if inside else name
