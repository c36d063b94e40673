"""Feature stores by the name of a function that returns one: package.module:function."""

import dataclasses
import inspect
import os
import re
from typing import Any

from gramalign.data.rows import called
from gramalign.data.store import FeatureStore, FeatureStoreError
from gramalign.imported import declared, named, placed, read_call, written_call

_OWN = re.compile(r"[^\W\d][\w.]*:[^\W\d][\w.]*\s*(\(.*\))?", re.DOTALL)


def is_own(name: str) -> bool:
    """Whether a text names a store of your own, and no path.

    >>> is_own("mine:films"), is_own("mine:films(folder='a/b')"), is_own("gs://bucket")
    (True, True, False)
    """
    return _OWN.fullmatch(name) is not None and not os.path.exists(name)


def own_store(text: str) -> FeatureStore:
    """The store that a function of your own returns.

    Only a function that is declared to return one is called, and none of gramalign's own, some of
    which write files: a run names its data, may come from anyone, and must not have any function
    called with any settings.

    Args:
        text: `package.module:function`, with any settings in brackets.

    Raises:
        FeatureStoreError: there is no such function, it is not declared to return a store or does
            not take these settings, or it returns something else.
    """
    try:
        function = named(text, "data", "mine:films(folder='films/')")
        function.check_settings("data")
    except ValueError as error:
        raise FeatureStoreError(*error.args) from error
    if not _returns_store(function.found):
        raise FeatureStoreError(
            f"data: {function.name} is {function.found!r}, expected a function of your own that is "
            "declared to return a gramalign.data.FeatureStore: def films(...) -> FeatureStore"
        )
    with placed(function.found, f"data {text}"), called(text):
        store = function.found(**function.settings)
    if not isinstance(store, FeatureStore):
        raise FeatureStoreError(
            f"data: {text} returns {type(store).__name__}, expected a FeatureStore, such as "
            "from_rows and from_arrays make"
        )
    return dataclasses.replace(store, source=text)


def spelled(name: str) -> str:
    """One spelling of a store of your own.

    >>> spelled("mine:films( folder = 'films/' )")
    "mine:films(folder='films/')"
    """
    function, settings = read_call(name)
    return name if settings is None else written_call(function, settings)


def _returns_store(found: Any) -> bool:
    function = inspect.unwrap(found) if callable(found) else found
    if not inspect.isfunction(function) or function.__module__.split(".")[0] == "gramalign":
        return False
    annotation = inspect.signature(function).return_annotation
    return declared(annotation, function.__globals__) is FeatureStore
