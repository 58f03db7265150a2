"""What a language model is asked about an image or a text, and how a list of subjects is written.

The mini model was trained on these very sentences; a public checkpoint reads them in its chat template.
"""

from __future__ import annotations

from collections.abc import Sequence

DESCRIBE = "Describe the image in one sentence."
LIST_OF_IMAGE = "List the subjects of the image as short phrases, separated by semicolons."
LIST_OF_TEXT = "List the subjects of this text as short phrases, separated by semicolons: {text}"
"""Of a text, alone or after the image that it is about."""


def list_prompt(text: str) -> str:
    """The question for the subjects of `text`, or of the image alone where it is empty."""
    return LIST_OF_TEXT.format(text=text) if text.strip() else LIST_OF_IMAGE


def listed(phrases: Sequence[str]) -> str:
    """The answer that names `phrases`: `a person in red; a blue house`."""
    return "; ".join(phrases)
