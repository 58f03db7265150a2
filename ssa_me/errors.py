"""The one exception for bad input, and how a library's error is quoted in it. It knows nothing of pages, commands or models.

Every message is a single sentence or two for the person who gave the input: what was wrong, and what to do about it.
The command line prints it and exits with 2; the page shows it as a warning. Anything else that is raised is a bug.
"""


class InputError(ValueError):
    """Bad input or usage: the message says what was wrong and what to do."""


def first_line(error: Exception) -> str:
    """What a library's `error` says first; its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
