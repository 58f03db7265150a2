"""How long work on failures tells how far it is, and is told to stop."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of it, 0 to 1."""


def silent(what: str, share: float) -> None:
    """No one listens."""


def never() -> bool:
    """No one stops it."""
    return False
