"""The one exception for bad input, and how a library's error is quoted in it. It knows nothing of pages, commands or models.

Every message is a single sentence or two for the person who gave the input: what was wrong, and what to do about it.
The command line prints it and exits with 2; the page shows it as a warning. Anything else that is raised is a bug.
"""

from __future__ import annotations

import errno


class InputError(ValueError):
    """Bad input or usage: the message says what was wrong and what to do."""


def first_line(error: Exception) -> str:
    """What a library's `error` says first; its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def disk_trouble(error: OSError, what: str) -> InputError:
    """The sentence for a file or folder that could not be written; `what` says what it was meant for."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return InputError(f"The disk is full: {what} could not be written. Free some space and try again.")
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return InputError(
            f"The folder is read-only: {what} could not be written. Allow writing there, or choose another folder."
        )
    return InputError(f"{what} could not be written: {error.strerror or first_line(error)}. Try again.")
