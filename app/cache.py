"""The size of trees of JSON, by which caches of them are capped."""

from __future__ import annotations

from typing import Any


def json_bytes(value: Any) -> int:
    """Roughly what a tree of JSON values takes in memory."""
    if isinstance(value, dict):
        return 64 + sum(json_bytes(item) + 64 for item in value.values())
    if isinstance(value, list):
        return 64 + sum(json_bytes(item) + 8 for item in value)
    return 32 + (len(value) if isinstance(value, str) else 0)
