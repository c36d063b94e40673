"""Counts in messages and tables."""

import re


def counted(number: int, noun: str) -> str:
    """A number and what it counts.

    >>> counted(1, "row"), counted(2, "test row"), counted(0, "modality"), counted(3, "array")
    ('1 row', '2 test rows', '0 modalities', '3 arrays')
    """
    plural = re.sub("([^aeiou])y$", r"\1ie", noun) + "s"
    return f"{number} {noun if number == 1 else plural}"
