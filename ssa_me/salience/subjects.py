"""Subject phrases of a text, by English function words. It knows no model: what an LMM lists takes its place.

A rule that splits at relations, conjunctions and commas; it keeps "a person in red" and "a black and white dog" whole
and drops the setting ("in the park", "on the beach"). A text that it cannot split, in any other language say, is one
phrase.
"""

from __future__ import annotations

import re

MOST = 6
PLACE = "the place"
"""What asks for a setting."""
_COLOURS = "red|orange|yellow|green|blue|purple|pink|brown|black|white|gr[ae]y|gold|silver|tan|beige"
_GROUND = "beach|street|road|sidewalk|pavement|grass|lawn|field|ground|floor|sand|snow|shore|left|right"
_WORDS = "behind|beside|near|under|above|below|between|against|with|while|on|over|holding|riding"
_NOT_AFTER_A_COLOUR = "".join(
    rf"(?<!\b{colour} )" for colour in _COLOURS.replace("gr[ae]y", "gray|grey").split("|")
)
_SPLIT = re.compile(
    rf"\s*(?:[,;:.!?，。、；：！？]+|(?<!-)\b(?:(?:to the |on the )?(?:left|right)(?: side)? of|in front of|on top of|next to"
    rf"|on the (?:{_GROUND})(?=\W*$|[,;:.!?]| (?:and|at|in|next|to|{_WORDS})\b)"
    rf"|{_WORDS}|and(?! (?:{_COLOURS})\b)|{_NOT_AFTER_A_COLOUR}and)\b(?!-))\s*",
    re.IGNORECASE,
)
_SETTING = re.compile(r"\s*\b(?:in|at|through|into|inside|during|by) the\b[^,;.]*$", re.IGNORECASE)
_WHERE = re.compile(
    rf"(?:.*\b|^)(?P<place>(?:in|at|inside|by) the(?: [\w'-]+){{1,4}}|on the (?:{_GROUND.removesuffix('|left|right')}))$",
    re.IGNORECASE,
)
_GENERIC = re.compile(
    r"^(?:there (?:is|are) )?(?:(?:a |an |the )?(?:photo|picture|image|drawing|illustration|scene)s? (?:of|showing)\s+)?",
    re.I,
)
_COLOURED = re.compile(
    rf"^(?:an? |the )?(?:(?P<worn>.+) in (?:{_COLOURS})|(?:{_COLOURS}) (?P<coloured>.+))$", re.IGNORECASE
)
_ARTICLE = re.compile(r"^(?:an?|the) ", re.IGNORECASE)
_NO_SUBJECT = frozenset(("the", "an", "it", "them", "him", "her", "this", "that", "these", "those"))


def split_phrases(text: str) -> tuple[str, ...]:
    """The subjects that `text` names, in order, each once, at most MOST; the whole text where none is found."""
    whole = " ".join(text.split())
    pieces = (_SETTING.sub("", _GENERIC.sub("", piece)).strip(" '\"") for piece in _SPLIT.split(whole))
    phrases = list(dict.fromkeys(piece for piece in pieces if _names_something(piece)))
    if not phrases:
        return (whole,) if whole else ()
    return tuple(phrases[:MOST])


def setting_of(text: str) -> str | None:
    """Where what a text names is, in its words, `in the park` or `on the beach`; None where it does not say."""
    whole = " ".join(text.split()).rstrip(" .!?")
    found = _WHERE.match(whole)
    return found["place"] if found else None


def question(phrase: str) -> str | None:
    """What asks for the rest of a coloured phrase: `the dog` for `a red dog`, `the person` for `a person in red`; `the
    place` for a setting, `in the park`; None for any other phrase without a colour at either end."""
    words = " ".join(phrase.lower().split())
    if setting_of(words) == words:
        return PLACE
    found = _COLOURED.match(words)
    return f"the {found['worn'] or found['coloured']}" if found else None


def subject_asked(text: str) -> str | None:
    """The one subject that a text asks for without saying all of it, `the dog`; None where it names several, or a setting,
    or says itself what it means, as `a red dog` does."""
    named = split_phrases(text)
    if len(named) != 1 or setting_of(text) or PLACE in named or question(named[0]):
        return None
    return named[0] if named[0].lower().startswith("the ") else None


def shorter(phrase: str) -> tuple[str, ...]:
    """What else asks for a phrase's subject, as one who searches says it: `the dog`, `a dog` and `dog` for `a red dog`, and
    for `a dog` the others of them; none for a setting."""
    words = " ".join(phrase.lower().split())
    asked = question(words)
    kind = _ARTICLE.sub("", asked or words)
    if PLACE in (asked, words) or not kind:
        return ()
    one = ["an " + kind if kind[0] in "aeiou" else "a " + kind] if _ARTICLE.match(words) else []
    return tuple(text for text in (f"the {kind}", *one, kind) if text != words)


def _names_something(piece: str) -> bool:
    """Letters or a symbol, more than an article, a pronoun or a lone Latin letter; one sign of another script may be a
    word."""
    worded = any(char.isalnum() for char in piece)
    return worded and (len(piece) > 1 or not piece.isascii()) and piece.lower() not in _NO_SUBJECT
