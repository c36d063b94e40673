"""What users name as `package.module:name`: Scores, losses, optimisers of their own, and more."""

import ast
import contextlib
import importlib
import inspect
import operator
import traceback
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
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
    if module.endswith(".py") and attribute:
        file = PurePath(module)
        raise ValueError(
            f"{argument}: got {name!r}, expected a module instead of its file: write "
            f"{file.stem}:{attribute}, with PYTHONPATH set to the folder that holds {file.name}"
        )
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
    name, bracket, inside = text.partition("(")
    name = name.strip()
    if not bracket:
        return name, {}
    try:
        found = ast.parse(f"_({inside}", mode="eval").body
        # One call: what follows its brackets, as in `f(a=1)(b=2)`, would replace its settings.
        if isinstance(found, ast.Call) and isinstance(found.func, ast.Name) and not found.args:
            keys = [each.arg for each in found.keywords]
            if None not in keys and len(set(keys)) == len(keys):
                return name, {str(x.arg): ast.literal_eval(x.value) for x in found.keywords}
    except (SyntaxError, ValueError, TypeError):  # TypeError: of {[]: 1}
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
        takes: its arguments, as `arguments` gives them.
    """

    text: str
    name: str
    found: Any
    settings: dict[str, Any]
    takes: tuple[str, ...]

    def check_settings(self, argument: str, ours: Collection[str] = ()) -> None:
        """Checks the settings, where `ours` are arguments that are given otherwise.

        Raises:
            ValueError: a setting that is not taken or is one of `ours`, or one that is not given
                and has no default.
        """
        known = [each for each in self.takes if each not in ours]
        given = [each for each in self.takes if each in ours]
        any_name = any(each.startswith("**") for each in known)
        others = f"; the run gives {', '.join(given)}" if given else ""
        if any(x in ours or not (x in known or any_name) for x in self.settings):
            raise ValueError(
                f"{argument}: got {self.text!r}, expected settings of {self.name} among "
                f"{', '.join(known) or 'none'}{others}"
            )
        lacking = [x for x in needed(self.found) if x in known and x not in self.settings]
        if lacking:
            raise ValueError(
                f"{argument}: got {self.text!r}, expected it to set {', '.join(lacking)} too, for "
                f"which {self.name} has no default"
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
            f"{argument}: got {text!r}, expected settings by name, as in Python, such as {example}"
        )
    found = imported(name, argument)
    return Named(text, name, found, settings, arguments(found))


def arguments(found: Any) -> tuple[str, ...]:
    """What a function takes by name, or a class when it is called; none, if it cannot be.

    `*args` and `**others` have their asterisks, so that no setting is one of them.

    >>> arguments(Named)[:2], arguments(read_call), arguments(lambda **x: x), arguments(3)
    (('text', 'name'), ('text',), ('**x',), ())
    """
    return tuple(_ASTERISKS.get(x.kind, "") + x.name for x in _parameters(found))


def needed(found: Any) -> tuple[str, ...]:
    """Those of `arguments` that have no default.

    >>> needed(lambda x, y=1, *, z, **others: x)
    ('x', 'z')
    """
    return tuple(
        x.name for x in _parameters(found) if x.default is x.empty and x.kind not in _ASTERISKS
    )


def declared(annotation: Any, names: dict[str, Any]) -> Any:
    """The type that an annotation stands for; None if there is none, or it names what is not there.

    Each on its own: one whose name is imported for type checkers alone takes no other along.

    Args:
        annotation: of an argument or of what is returned.
        names: the globals of the function.
    """
    if annotation is inspect.Parameter.empty:
        return None
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(holder, names)["it"]
    except (NameError, AttributeError, TypeError, SyntaxError):
        return None


_ASTERISKS = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def _parameters(found: Any) -> list[inspect.Parameter]:
    of_class = isinstance(found, type)
    try:  # a metaclass may hide what the class takes
        takes = list(inspect.signature(found.__init__ if of_class else found).parameters.values())
    except (TypeError, ValueError):
        return []
    return [x for x in takes[of_class:] if x.kind != x.POSITIONAL_ONLY]


@contextlib.contextmanager
def placed(found: Any, where: str) -> Iterator[None]:
    """Notes the line of a user's module that raised, as the command line shows no trace.

    Args:
        found: a class or function of that module, or its name.
        where: what it was called for.
    """
    try:
        yield
    except Exception as error:
        module = found if isinstance(found, str) else getattr(found, "__module__", None)
        frames = list(traceback.walk_tb(error.__traceback__))
        lines = [
            f", {frame.f_code.co_filename}:{line}"
            for frame, line in frames
            if frame.f_globals.get("__name__") == module
        ]
        error.add_note(f"That was {where}{lines[-1] if lines else ''}")
        raise


def written_call(name: str, settings: Mapping[str, Any]) -> str:
    """The text that `read_call` reads.

    >>> written_call("optax:lion", {"b1": 0.95}), written_call("volume", {})
    ('optax:lion(b1=0.95)', 'volume')
    """
    inside = [f"{key}={value!r}" for key, value in settings.items()]
    return f"{name}({', '.join(inside)})" if inside else name
