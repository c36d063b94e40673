"""What methods there are: every objective and every Score, in the words of its own docstring.

The docstring of the loss or Score (or of its module) has one format: what it is in a line, its
formula, prose, and five fields. It is read here, so that a method is described in one place.
"""

import ast
import dataclasses
import inspect
import itertools
import sys
import textwrap
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from gramalign.scores import SCORES
from gramalign.training.checks import choices
from gramalign.training.term import Term
from gramalign.training.terms import TERMS

FIELDS = ("Source", "Needs", "Cost", "Singular set", "Blind spot")


@dataclass(frozen=True)
class Setting:
    """A setting of an objective's term, and an option of the command line."""

    name: str
    type: str
    default: Any
    python: Any
    """The default of the loss as a function, where it has this setting."""
    help: str


@dataclass(frozen=True)
class Method:
    """An objective or a Score."""

    name: str
    kind: Literal["objective", "score"]
    python: str
    """Where it is found in Python."""
    what: str
    """What it is, in a phrase."""
    formula: str
    text: str
    """Paragraphs on it; may be empty."""
    source: str
    needs: str
    cost: str
    singular_set: str
    blind_spot: str
    score: str | None = None
    """The Score that an objective trains."""
    settings: tuple[Setting, ...] = ()


def methods() -> list[Method]:
    """All objectives and all Scores, in the order of their tables.

    Raises:
        ValueError: a docstring that lacks a part.
    """
    return [*map(_objective, TERMS), *map(_score, SCORES)]


def named(name: str) -> list[Method]:
    """The objective and the Score of a name, whichever there are.

    Raises:
        ValueError: there is neither; the message lists the names.
    """
    found = [method for method in methods() if method.name == name]
    if not found:
        raise ValueError(
            f"no method {name!r}; the objectives are {', '.join(TERMS)}; "
            f"the Scores are {', '.join(SCORES)}"
        )
    return found


def read(text: str) -> dict[str, str]:
    """The parts of a method's docstring, by the names of `Method`'s fields.

    >>> parts = read('''CLIP: contrast of pairs.
    ...
    ...     L = CE(s)
    ...
    ... As usual.
    ...
    ... Source: Radford et
    ... al., 2021.
    ... Needs: pairs.
    ... ''')
    >>> parts["what"], parts["formula"], parts["text"], parts["source"], parts["needs"]
    ('CLIP: contrast of pairs', 'L = CE(s)', 'As usual.', 'Radford et al., 2021.', 'pairs.')
    """
    paragraphs = inspect.cleandoc(text).split("\n\n")
    parts = {"what": _joined(paragraphs[0]).removesuffix(".")}
    rest = paragraphs[1:]
    formula = list(itertools.takewhile(lambda paragraph: paragraph.startswith("    "), rest))
    parts["formula"] = textwrap.dedent("\n\n".join(formula))
    prose = []
    for paragraph in rest[len(formula) :]:
        fields = dict(_fields(paragraph))
        parts |= fields
        if not fields:
            prose.append(paragraph)
    parts["text"] = "\n\n".join(prose)
    return parts


def _fields(paragraph: str) -> Iterator[tuple[str, str]]:
    """The fields that a paragraph is made of, if it begins with one."""
    name, lines = None, []
    for line in [*paragraph.splitlines(), None]:
        begins = line and next((each for each in FIELDS if line.startswith(f"{each}:")), None)
        if line is None or begins:
            if name:
                yield name.lower().replace(" ", "_"), _joined("\n".join(lines))
            name, lines = begins, []
        if line is not None:
            lines.append(line.removeprefix(f"{begins}:"))


def _joined(text: str) -> str:
    return " ".join(text.split())


def _described(owner: Any) -> dict[str, Any]:
    """The parts of the docstring that has the fields: the loss's or Score's, or its module's."""
    texts = (each.__doc__ or "" for each in (owner, sys.modules[owner.__module__]))
    found = next((x for x in map(read, texts) if "source" in x), {})
    wanted = ["what", "formula", *(field.lower().replace(" ", "_") for field in FIELDS)]
    if missing := [part for part in wanted if not found.get(part)]:
        raise ValueError(f"the docstring of {owner.__module__} lacks {', '.join(missing)}")
    return found


def _objective(name: str) -> Method:
    term = TERMS[name]
    described = _described(term.loss)
    if any(other is not term and issubclass(term, other) for other in TERMS.values()):
        # A variant of another: what it is, its own docstring says.
        described["what"] = _joined((term.__doc__ or "").split("\n\n")[0]).removesuffix(".")
    return Method(
        name=name,
        kind="objective",
        python=f"gramalign.losses.{term.loss.__name__}",
        score=term().score,
        settings=tuple(_settings(term)),
        **described,
    )


def _score(name: str) -> Method:
    score = SCORES[name]
    python = f"gramalign.scores.{score.__name__}"
    return Method(name=name, kind="score", python=python, **_described(score))


def _settings(term: type[Term]) -> Iterator[Setting]:
    helps = {name: text for base in reversed(term.__mro__) for name, text in _helps(base)}
    of_loss = inspect.signature(term.loss).parameters
    plain = typing.get_type_hints(term)
    for field in dataclasses.fields(term):
        _, bounds = choices(field.type)
        kind = inspect.formatannotation(plain[field.name])
        kind = ", ".join([kind, *(bound.wanted for bound in bounds)])
        own = of_loss[field.name].default if field.name in of_loss else field.default
        yield Setting(field.name, kind, field.default, own, helps[field.name])


def _helps(kind: type) -> Iterator[tuple[str, str]]:
    """The strings below a dataclass's fields, which Python itself does not keep."""
    if not dataclasses.is_dataclass(kind):
        return
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    for field, below in itertools.pairwise(tree.body):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, _joined(text)
