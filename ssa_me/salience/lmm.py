"""Subjects that a language model lists: what it is asked, what is made of its answers, what is remembered.

It knows no model: `ask` gives the answers. Whatever they hold, a list of phrases comes out; where a text's answer is of
no use, the rule of `subjects.split_phrases` takes its place.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image

from ssa_me.images import pixel_hash
from ssa_me.salience.prompts import DESCRIBE, LIST_OF_IMAGE, LIST_OF_TEXT, list_prompt
from ssa_me.salience.subjects import MOST, split_phrases
from ssa_me.samples import Sample

Ask = Callable[[Sequence[str], Sequence[Image.Image | None]], Sequence[str]]
"""Prompts, each with its image or None → the answers."""

LONGEST = 80  # characters of a phrase; a longer one is a sentence
_KEPT = 4096
_MARK = re.compile(r"^\s*(?:[-*•·–—]+|\(?\d{1,2}\s*[.):]|\(?[a-h]\))\s*")
_HEADER = re.compile(
    r"^\s*(?:the |here are the |main )?(?:subjects?|objects?|answer|list|phrases?)\b[^:\n;,]{0,40}:", re.I
)
_FENCE = re.compile(r"```[a-z]*", re.I)
_ARTICLES = frozenset(("a", "an", "the", "some", "one", "and", "in", "on", "of", "with"))


@dataclass(frozen=True)
class Listed:
    """The subjects of a sample, at most six, in order. source: who found them. described: the sentence in which the
    language model described an image that came without a text."""

    phrases: tuple[str, ...]
    source: Literal["lmm", "rule"]
    described: str = ""


class LmmSubjects:
    """Lists the subjects of texts, images and pairs. Remembers the latest samples by their content.

    ask: whom to ask. fingerprint: of the model that answers, so that another one's answers are never taken for its.
    """

    def __init__(self, ask: Ask, fingerprint: str, kept: int = _KEPT) -> None:
        self._ask, self._fingerprint, self._most_kept = ask, fingerprint, kept
        self._kept: OrderedDict[tuple[str, ...], Listed] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, samples: Sequence[Sample]) -> list[Listed]:
        """The subjects of each sample: of its text, about its image where there is one; of an image alone after it
        was described."""
        keys = [self._key(sample) for sample in samples]
        with self._lock:
            known = {key: self._kept[key] for key in keys if key in self._kept}
        lacking = {key: sample for key, sample in zip(keys, samples, strict=True) if key not in known}
        fresh = dict(zip(lacking, self._list(list(lacking.values())), strict=True))
        with self._lock:
            for key in keys:
                self._kept[key] = known.get(key) or fresh[key]
                self._kept.move_to_end(key)
            while len(self._kept) > self._most_kept:
                self._kept.popitem(last=False)
        return [known.get(key) or fresh[key] for key in keys]

    def _list(self, samples: Sequence[Sample]) -> list[Listed]:
        texts = [(sample.text or "").strip() for sample in samples]
        images = [sample.image for sample in samples]
        alone = [i for i, image in enumerate(images) if image is not None and not texts[i]]
        described = self._answers([DESCRIBE] * len(alone), [images[i] for i in alone])
        sentences = dict(zip(alone, (" ".join(answer.split()) for answer in described), strict=True))
        prompts = [list_prompt(text or sentences[i]) for i, text in enumerate(texts)]
        answers = self._answers(prompts, images)
        return [
            _listed(answer, text, sentences.get(i, ""))
            for i, (answer, text) in enumerate(zip(answers, texts, strict=True))
        ]

    def _answers(self, prompts: Sequence[str], images: Sequence[Image.Image | None]) -> Sequence[str]:
        return self._ask(prompts, images) if prompts else []

    def _key(self, sample: Sample) -> tuple[str, ...]:
        image = pixel_hash(sample.image) if sample.image is not None else ""
        return (image, (sample.text or "").strip(), DESCRIBE, LIST_OF_IMAGE, LIST_OF_TEXT, self._fingerprint)


def _listed(answer: str, text: str, described: str) -> Listed:
    phrases = parse(answer)
    if text:
        phrases = tuple(phrase for phrase in phrases if _speaks_of(phrase, text))
    if phrases:
        return Listed(phrases, "lmm", described)
    return Listed(split_phrases(text or described), "rule", described)


def parse(answer: str) -> tuple[str, ...]:
    """The phrases of an answer, each once, in order, at most six: separated by semicolons, else on lines of their own
    (numbered, with bullets, or plain), else by commas; or a JSON list. Articles stay. Never raises."""
    text = _FENCE.sub("", answer).strip()
    pieces = _json_list(text)
    if pieces is None:
        text = _HEADER.sub("", text, count=1).strip()
        lines = [line for line in text.splitlines() if line.strip()]
        if ";" in text or "；" in text:
            pieces = re.split(r"[;；\n]", text)
        elif len(lines) > 1:
            pieces = lines
        else:
            pieces = re.split(r"[,，、]\s*", text)
    distinct: dict[str, str] = {}
    for phrase in filter(None, map(_cleaned, pieces)):
        distinct.setdefault(phrase.casefold(), phrase)
    return tuple(distinct.values())[:MOST]


def _json_list(text: str) -> list[str] | None:
    """The strings of a JSON list, or of the first list in a JSON object; None where there is none."""
    start, end = text.find("["), text.rfind("]")
    if start < 0 or end < start:
        return None
    try:
        found: Any = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        return None
    values = [next(iter(v.values()), None) if isinstance(v, dict) else v for v in found]
    return [value for value in values if isinstance(value, str)] or None


def _cleaned(piece: str) -> str:
    phrase = _MARK.sub("", " ".join(piece.split())).strip(" \t\"'`“”‘’*_.。,;:()[]{}")
    worded = any(char.isalpha() for char in phrase)
    return phrase if worded and len(phrase) <= LONGEST else ""


def _speaks_of(phrase: str, text: str) -> bool:
    """Whether a word of the phrase stands in the text: what shares none was made up by the model."""
    words = {word for word in re.findall(r"\w+", phrase.casefold()) if word not in _ARTICLES}
    return any(word in text.casefold() for word in words)
