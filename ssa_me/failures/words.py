"""What a query's words say: its colours, what has to be bound to find it, and whether an annotation is what it names.

Rules for English; a text in another language is a `caption` without colours. It knows no model and no image.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, get_args

from ssa_me.salience.subjects import split_phrases

Kind = Literal["colour", "subject", "relation", "background", "caption"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""What a query asks to be bound: each of several subjects to its colour; a single subject to its colour; subjects to
each other; subjects to a setting; or nothing that the words show."""

COLOURS = frozenset(
    [
        "red",
        "orange",
        "yellow",
        "green",
        "blue",
        "purple",
        "pink",
        "brown",
        "black",
        "white",
        "grey",
        "gray",
        "gold",
        "silver",
        "tan",
        "beige",
    ]
)
PERSON = "person"
_PERSONS = frozenset(["man", "woman", "boy", "girl", "child", "lady"])
_ARTICLES = frozenset(["a", "an", "the", "some", "one"])
_STOP = _ARTICLES | frozenset(
    [
        "of",
        "in",
        "on",
        "at",
        "to",
        "and",
        "or",
        "with",
        "for",
        "from",
        "by",
        "into",
        "is",
        "are",
        "be",
        "there",
        "it",
        "its",
        "his",
        "her",
        "their",
        "they",
        "them",
        "this",
        "that",
        "these",
        "those",
        "as",
        "while",
        "two",
    ]
)
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_PLACE = (
    r"(?:\w+ ){0,2}(?:beach|park|street|road|snow|desert|forest|kitchen|landscape|city|field|lawn|room|sea|lake|river|water"
    r"|mountain|grass|sand|sidewalk|court|stage|pool)\b"
)
_RELATION = re.compile(
    r"\b(?:(?:left|right) of|in front of|behind|beside|near|next to|on top of|under|underneath|above|below|between"
    rf"|on an? (?!{_PLACE})\w+|riding|holding)\b",
    re.IGNORECASE,
)
_BACKGROUND = re.compile(
    rf"\b(?:(?:in|on|inside) the\b|(?:in|on|at|into|through) (?:the|an?) {_PLACE})"
    rf"|^(?:an?|the) {_PLACE}(?: at night)? with\b",
    re.IGNORECASE,
)


def words_of(text: str) -> tuple[str, ...]:
    """The words of `text` in lower case, each once, without function words."""
    return tuple(
        dict.fromkeys(word for word in _WORD.findall(text.lower()) if word not in _STOP and len(word) > 1)
    )


def colours_of(text: str) -> tuple[str, ...]:
    """The colours that `text` names, each once; grey is one however it is spelt."""
    named = (word for word in words_of(text) if word in COLOURS)
    return tuple(dict.fromkeys("grey" if word == "gray" else word for word in named))


def length_of(text: str) -> int:
    """How many words `text` has."""
    return len(text.split())


def kind_of(text: str) -> Kind:
    """What `text` asks to be bound, the hardest of it: a relation, then a setting, then several coloured subjects."""
    if _RELATION.search(text):
        return "relation"
    if _BACKGROUND.search(text):
        return "background"
    phrases = split_phrases(text)
    coloured = sum(bool(colours_of(phrase)) for phrase in phrases)
    if len(phrases) == 1 and coloured:
        return "subject"
    return "colour" if coloured > 1 else "caption"


def names_subjects_alone(text: str) -> bool:
    """Whether `text` says nothing but which subjects there are, so that annotated subjects can prove it true."""
    return bool(text.strip()) and not _RELATION.search(text) and not _BACKGROUND.search(text)


def is_named(phrase: str, label: str) -> bool:
    """Whether what is annotated as `label` may be called `phrase`: it has all words of the phrase. "A person in red" may
    be a man in red, but not the other way round."""
    asked, known = _plain(phrase), _plain(label)
    if PERSON in asked and PERSON not in known:
        known = frozenset(PERSON if word in _PERSONS else word for word in known)
    return bool(asked) and asked <= known


def asked_words(phrases: Sequence[str]) -> frozenset[str]:
    """The words that labels must have for `phrases` to be named by them, as `label_words` gives them."""
    return frozenset(word for phrase in phrases for word in _plain(phrase))


def label_words(labels: Sequence[str]) -> frozenset[str]:
    """The words by which what is annotated as `labels` may be called."""
    known = frozenset(word for label in labels for word in _plain(label))
    return known | {PERSON} if known & _PERSONS else known


def all_named(phrases: Sequence[str], labels: Sequence[str]) -> bool:
    """Whether each of `phrases`, one at least, may be a different one of `labels`."""
    return bool(phrases) and _matched(list(phrases), list(labels))


def _matched(phrases: list[str], labels: list[str]) -> bool:
    if not phrases:
        return True
    first, *rest = phrases
    return any(
        is_named(first, label) and _matched(rest, labels[:at] + labels[at + 1 :])
        for at, label in enumerate(labels)
    )


@lru_cache(maxsize=65_536)
def _plain(text: str) -> frozenset[str]:
    return frozenset(word for word in _WORD.findall(text.lower()) if word not in _ARTICLES)
