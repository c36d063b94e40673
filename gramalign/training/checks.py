"""How a config says that a field is wrong."""


def check(config: object, field: str, valid: bool, wanted: str) -> None:
    """Raises unless `valid`.

    Args:
        config: the dataclass that is being checked.
        field: name of its field.
        valid: whether the field's value will do.
        wanted: what would have.

    Raises:
        ValueError: names the field, what it got and what was wanted.
    """
    if not valid:
        got = getattr(config, field)
        raise ValueError(f"{type(config).__name__}.{field} is {got!r}, wanted {wanted}")
