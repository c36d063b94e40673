"""What an error says, in a line."""


def text_of(error: BaseException) -> str:
    """The message of an error and its notes, but for JAX's, which is of the trace that it cut.

    >>> error = ValueError("no rows")
    >>> error.add_note("Give --data")
    >>> error.add_note("-------------------- JAX has removed its internal frames")
    >>> text_of(error)
    'no rows. Give --data'
    >>> error = ValueError("did you mean 'a'?")
    >>> error.add_note("Or 'b'")
    >>> text_of(error)
    "did you mean 'a'? Or 'b'"
    """
    notes = (note for note in getattr(error, "__notes__", []) if not note.startswith("-----"))
    told = str(error)
    for note in notes:
        told += f"{'' if told.endswith(('.', '?', '!')) else '.'} {note}"
    return told
