"""The one exception for bad input. It knows nothing of pages, commands or models.

Every message is a single sentence or two for the person who gave the input: what was wrong, and what to do about it.
The command line prints it and exits with 2; the page shows it as a warning. Anything else that is raised is a bug.
"""


class InputError(ValueError):
    """Bad input or usage: the message says what was wrong and what to do."""
