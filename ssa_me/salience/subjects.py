"""Subject phrases of a text, by English function words. It knows no model: what an LMM lists takes its place.

A rule that splits at relations, conjunctions and commas; it keeps "a person in red" whole and drops the setting
("in the park"). A text that it cannot split, in any other language say, is one phrase.
"""

from __future__ import annotations

import re

MOST = 6
_SPLIT = re.compile(
    r"\s*(?:[,;:.!?]+|\b(?:to the |on the )?(?:left|right)(?: side)? of\b|\bin front of\b|\bon top of\b|\bnext to\b"
    r"|\b(?:behind|beside|near|under|above|below|between|against|and|with|while|on|over|holding|riding)\b)\s*",
    re.IGNORECASE,
)
_SETTING = re.compile(r"\s*\b(?:in|at|through|into|inside|during|by) the\b[^,;.]*$", re.IGNORECASE)
_GENERIC = re.compile(r"^(?:a |an |the )?(?:photo|picture|image|drawing|illustration|scene)s? (?:of|showing)\s+", re.I)


def split_phrases(text: str) -> tuple[str, ...]:
    """The subjects that `text` names, in order, each once, at most MOST; the whole text where none is found."""
    whole = " ".join(text.split())
    pieces = (_SETTING.sub("", _GENERIC.sub("", piece)).strip(" '\"") for piece in _SPLIT.split(whole))
    phrases = list(dict.fromkeys(piece for piece in pieces if len(piece) > 1 and piece.lower() not in ("the", "an")))
    if not phrases:
        return (whole,) if whole else ()
    return tuple(phrases[:MOST])
