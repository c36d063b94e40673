"""Terms by name: those of `TERMS`, and your own, `package.module:name`, a loss or a class.

A loss needs no class: the settings of its term are its keyword arguments, with their defaults.
"""

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from gramalign.imported import declared, imported
from gramalign.losses.over_mesh import OF_THE_BATCH
from gramalign.scores.named import spelled
from gramalign.training.term import OWN, Term
from gramalign.training.terms import TERMS

_PLAIN = (bool, int, float, str, types.NoneType)
"""Types of settings that a config keeps and a command line can give."""


def term_named(name: str) -> type[Term]:
    """The class of a term.

    Args:
        name: a key of `TERMS`; or `package.module:name`, of a frozen dataclass that is a `Term`, or
            of a loss: a function of embeddings that returns a value per example, `[batch]`. The
            loss may take `present`, `groups`, `axis_name` and `engine`, as the losses here do; its
            other arguments with a number, text, truth value or None for a default are the term's
            settings.

    Raises:
        ValueError: there is no such term, or what the name stands for cannot be one.
    """
    return _own(name) if ":" in name else TERMS[name]


def in_order(names: Iterable[str]) -> list[str]:
    """Names of terms in one order, whatever order they were given in."""
    known = list(TERMS)
    return sorted(names, key=lambda x: (known.index(x) if x in known else len(known), x))


def _own(name: str) -> type[Term]:
    found = imported(name, "objective")
    if isinstance(found, type) and issubclass(found, Term):
        _check_class(found, name)
        return found
    if isinstance(found, type) or not callable(found):
        raise ValueError(
            f"objective: {name} is {found!r}, expected a loss, loss(embeddings, *, ...), or a "
            "subclass of gramalign.training.Term"
        )
    try:
        return _term_of(found, name)
    except TypeError as error:
        if getattr(type(found), "__hash__", None):
            raise
        raise ValueError(
            f"objective: {name} is {found!r}, expected what is hashable, such as a function or a "
            "frozen dataclass with __call__"
        ) from error


def _check_class(kind: type[Term], name: str) -> None:
    if "__dataclass_params__" not in vars(kind):  # its own; frozen, or Python refused it
        raise ValueError(f"objective: {name} is no frozen dataclass: @dataclass(frozen=True)")
    loss = inspect.getattr_static(kind, "loss", None)
    binds = hasattr(loss, "__get__") and not isinstance(loss, (staticmethod, classmethod))
    if loss is None or (binds and next(iter(inspect.signature(kind.loss).parameters)) != "self"):
        got = "has no loss" if loss is None else "would pass itself to its loss"
        raise ValueError(f"objective: {name} {got}: write loss = staticmethod(...) in it")
    for field in dataclasses.fields(kind):
        if field.default is field.default_factory is dataclasses.MISSING:
            raise ValueError(f"objective: {name} needs {field.name}: give the field a default")


def check_score(term: Term, name: str) -> None:
    """Raises a ValueError if the Score of a term of your own, by which it is evaluated, is none."""
    if ":" not in name:
        return
    if not isinstance(term.score, str):
        raise ValueError(
            f"{name}: its score is {term.score!r}, expected a name, such as package.module:Class"
        )
    try:
        spelled(term.score)
    except ValueError as error:
        raise ValueError(f"{name}: its {error}") from None


@functools.cache
def _term_of(loss: Callable[..., Any], name: str) -> type[Term]:
    settings = [
        (field, kind, dataclasses.field(default=default))
        for field, kind, default in _settings(loss, name)
    ]
    about = inspect.getdoc(_bare(loss)) or f"{name}, a loss of your own."
    of_term = {"loss": staticmethod(loss), "__doc__": about}
    # Errors name its settings by its class, which is therefore not to be taken for another's.
    return dataclasses.make_dataclass(name, settings, bases=(Term,), namespace=of_term, frozen=True)


def _settings(loss: Callable[..., Any], name: str) -> Iterator[tuple[str, Any, Any]]:
    """Name, type and default of each argument that can be set."""
    try:
        first, *others = inspect.signature(loss).parameters.values()
    except ValueError:
        first, others = None, []
    keyword = first is None or first.kind in (first.KEYWORD_ONLY, first.VAR_KEYWORD)
    if first is None or keyword or first.name in OF_THE_BATCH:
        raise ValueError(
            f"objective: {name} is {loss!r}, which takes no embeddings as its first argument"
        )
    bare = _bare(loss)
    names = getattr(bare, "__globals__", getattr(type(bare).__call__, "__globals__", {}))
    for each in others:
        if each.kind is each.POSITIONAL_ONLY:
            raise ValueError(
                f"objective: {name} takes {each.name} by position alone: move it behind the /"
            )
        if each.name in OF_THE_BATCH or each.kind in (each.VAR_KEYWORD, each.VAR_POSITIONAL):
            continue
        if each.default is each.empty:
            raise ValueError(f"objective: {name} needs {each.name}: give the argument a default")
        default = each.default
        if isinstance(default, (np.generic, np.ndarray, jax.Array)) and np.ndim(default) == 0:
            default = default.item()
        hint = declared(each.annotation, names)
        kind = hint if hint is not None and _plain(hint) else type(default)
        if not _plain(kind) or kind is types.NoneType:
            continue  # such as a function, which stays as it is
        taken = hasattr(Term, each.name) or each.name in Term.__annotations__
        if each.name.startswith(OWN) or (taken and each.name != "anchor"):
            raise ValueError(f"objective: {name} has an argument {each.name!r}: rename it")
        yield each.name, kind, default


def _bare(loss: Any) -> Any:
    """A loss without the partials and decorators around it."""
    while isinstance(loss, functools.partial):
        loss = loss.func
    bare = inspect.unwrap(loss)
    return bare if bare is loss else _bare(bare)


def _plain(hint: Any) -> bool:
    several = typing.get_origin(hint) in (typing.Union, types.UnionType)
    if typing.get_origin(hint) is typing.Literal:
        return all(isinstance(x, str) for x in typing.get_args(hint))
    return all(x in _PLAIN for x in (typing.get_args(hint) if several else (hint,)))
