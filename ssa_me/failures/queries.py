"""The queries that are mined for failures, each with the images that are right for it. It knows no model.

They come from the captions of a gallery's data, from a list that somebody wrote, or from binding tasks (`binding.py`).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ssa_me.errors import InputError
from ssa_me.evaluation.cache import digest
from ssa_me.failures.words import Kind, all_named, asked_words, kind_of, label_words, names_subjects_alone
from ssa_me.gallery.items import Item
from ssa_me.salience.subjects import split_phrases

MOST_QUERIES = 100_000
MOST_BYTES = 32 * 2**20
LONGEST = 2_000
SUFFIXES = (".txt", ".csv", ".jsonl")
_TEXT_KEYS = ("query", "text", "caption")
_IMAGE_KEYS = ("image", "images", "target", "targets", "file_name")
_NOT_TRUTH = ("proposed", "rejected")
_OWN_KEYS = frozenset((*_TEXT_KEYS, *_IMAGE_KEYS, "kind"))


@dataclass(frozen=True)
class FailureQuery:
    """A text with the ids of the images that are right for it, one or more.

    candidates: ids that it is ranked among, the right ones with them; none: the whole gallery. cluster: what it shares
    with others, so that they are drawn together by the bootstrap. extra: free columns.
    """

    text: str
    targets: tuple[int, ...]
    kind: Kind
    cluster: str
    candidates: tuple[int, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class QuerySet:
    """Queries to mine. skipped: (query, reason) of those that cannot be ranked."""

    name: str
    queries: tuple[FailureQuery, ...]
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def digest(self) -> str:
        """12 hexadecimal digits that no other set of queries gives."""
        lines = [
            json.dumps([q.text, q.targets, q.kind, q.cluster, q.candidates, dict(q.extra)])
            for q in self.queries
        ]
        return digest(*lines)[:12]


def labels_of(item: Item) -> tuple[str, ...]:
    """The phrases of an image's annotated subjects; those whose status is proposed or rejected are no truth."""
    return tuple(subject.phrase for subject in item.subjects if subject.status not in _NOT_TRUTH)


def caption_queries(items: Sequence[Item], name: str = "Captions") -> QuerySet:
    """Every caption of `items` once. Right are the images that own it, and where it names nothing but subjects also
    those whose annotated subjects it is true of. Raises InputError where no image has a caption."""
    owners: dict[str, list[int]] = {}
    for item in items:
        for caption in dict.fromkeys(item.captions):
            owners.setdefault(caption, []).append(item.id)
    if not owners:
        raise InputError(
            "The images of this gallery have no captions. Give a list of queries, or index a data set with captions."
        )
    known = {item.id: item for item in items}
    truth = _Truth(items)
    queries = [_query(text, sorted({*ids, *truth.of(text)}), known[ids[0]]) for text, ids in owners.items()]
    return QuerySet(name, tuple(queries))


def listed_queries(data: bytes, name: str, items: Sequence[Item]) -> QuerySet:
    """Queries of a list: `.txt` (one a line, or query, tab, image), `.csv` with a header or `.jsonl`.

    The query is the column query, text or caption; the right images are named by image, target or file_name (several
    in a list, or parted by `;`), a name's last part being enough where only one image has it. Without any, right are
    the images that own such a caption or whose annotated subjects the query is true of. Other columns are kept. A query
    without a right image is skipped, with the reason. Raises InputError where nothing is left or the file is unreadable.
    """
    if len(data) > MOST_BYTES:
        raise InputError(f"{name} is larger than {MOST_BYTES // 2**20} MB. Split it.")
    rows = list(_rows(data, name))
    if len(rows) > MOST_QUERIES:
        raise InputError(f"{name} holds {len(rows):,} queries; at most {MOST_QUERIES:,} are taken. Split it.")
    known, names = {item.id: item for item in items}, _Names(items)
    truth = _Truth(items)
    queries: list[FailureQuery] = []
    skipped: list[tuple[str, str]] = []
    for text, images, extra in rows:
        missing = [image for image in images if names.find(image) is None]
        found = [at for at in map(names.find, images) if at is not None] if images else truth.of(text)
        if missing:
            skipped.append((text, f"the gallery has no image {missing[0][:80]!r}"))
        elif not found:
            skipped.append((text, "no image is named for it, and no caption or annotation is true of it"))
        else:
            queries.append(_query(text, sorted(set(found)), known[found[0]], extra))
    if not queries:
        reason = f": {skipped[0][1]}" if skipped else ""
        raise InputError(
            f"None of the {len(rows):,} queries of {name} can be ranked in this gallery{reason}."
        )
    return QuerySet(name, tuple(queries), tuple(skipped))


def cluster_of(item: Item) -> str:
    """What queries about an image share: the scene that its data names, else the image."""
    return str(item.extra.get("scene", item.id))


def _query(
    text: str, targets: Sequence[int], first: Item, extra: Mapping[str, str] | None = None
) -> FailureQuery:
    free = {key: _cell(value) for key, value in first.extra.items() if _is_plain(value)}
    return FailureQuery(text, tuple(targets), kind_of(text), cluster_of(first), (), free | dict(extra or {}))


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)


def _cell(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)[:200]


class _Truth:
    """Which images a text is true of, as far as captions and annotated subjects tell."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._captions: dict[str, list[int]] = {}
        self._labelled: dict[tuple[str, ...], list[int]] = {}
        self._by_word: dict[str, set[tuple[str, ...]]] = {}
        for item in items:
            for caption in dict.fromkeys(item.captions):
                self._captions.setdefault(caption.casefold(), []).append(item.id)
            if labels := tuple(sorted(labels_of(item))):
                self._labelled.setdefault(labels, []).append(item.id)
        for labels in self._labelled:
            for word in label_words(labels):
                self._by_word.setdefault(word, set()).add(labels)

    def of(self, text: str) -> list[int]:
        """Ids, ascending."""
        found = set(self._captions.get(text.casefold(), ()))
        if names_subjects_alone(text):
            phrases = split_phrases(text)
            found |= {
                at
                for labels in self._may_name(phrases)
                if all_named(phrases, labels)
                for at in self._labelled[labels]
            }
        return sorted(found)

    def _may_name(self, phrases: Sequence[str]) -> set[tuple[str, ...]]:
        """The labels of images that have all words of the phrases: few of many, so that each can be looked at."""
        of_word = [self._by_word.get(word, set()) for word in asked_words(phrases)]
        return set.intersection(*sorted(of_word, key=len)) if of_word else set()


class _Names:
    """Images by file name, or by its last part where only one has it."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._whole = {item.file_name: item.id for item in items}
        self._last: dict[str, int | None] = {}
        for item in items:
            last = item.file_name.rpartition("/")[2]
            self._last[last] = None if last in self._last else item.id

    def find(self, name: str) -> int | None:
        return self._whole.get(name, self._last.get(name))


def _rows(data: bytes, name: str) -> Iterator[tuple[str, tuple[str, ...], dict[str, str]]]:
    """(query, images, other columns) of each row that holds a query."""
    text = data.decode("utf-8-sig", errors="replace")
    suffix = f".{name.rpartition('.')[2].lower()}"
    if suffix not in SUFFIXES:
        raise InputError(
            f"{name} is no list of queries. Give a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file."
        )
    readers = {".txt": _lines, ".csv": _csv, ".jsonl": _jsonl}
    for row in readers[suffix](text, name):
        query = next((_whole(row[key]) for key in _TEXT_KEYS if row.get(key)), "")
        if not query:
            continue
        if len(query) > LONGEST:
            raise InputError(f"{name} holds a query of {len(query):,} letters. The longest is {LONGEST:,}.")
        images = next((row[key] for key in _IMAGE_KEYS if row.get(key)), "")
        parts = images if isinstance(images, list) else str(images).split(";")
        wanted = tuple(str(part).strip() for part in parts if str(part).strip())
        yield (
            query,
            wanted,
            {str(k)[:60]: _cell(v) for k, v in row.items() if k not in _OWN_KEYS and k and _is_plain(v)},
        )


def _lines(text: str, name: str) -> Iterator[Mapping[str, Any]]:
    for line in text.splitlines():
        query, _, image = line.partition("\t")
        yield {"query": query.strip(), "image": image.strip()}


def _csv(text: str, name: str) -> Iterator[Mapping[str, Any]]:
    try:
        rows = csv.DictReader(io.StringIO(text, newline=""))
        if not {*(rows.fieldnames or ())} & {*_TEXT_KEYS}:
            raise InputError(
                f"{name} has no column {', '.join(_TEXT_KEYS[:-1])} or {_TEXT_KEYS[-1]}. Add a header."
            )
        yield from rows
    except csv.Error as error:
        raise InputError(f"{name} is not valid CSV: {error}.") from error


def _jsonl(text: str, name: str) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{name}, line {number}: not a JSON object. Correct it, or remove it."
            ) from error
        if not isinstance(row, dict):
            raise InputError(f"{name}, line {number}: not a JSON object. Correct it, or remove it.")
        yield row


def _whole(value: Any) -> str:
    """A text without what is no character at all."""
    return str(value).encode("utf-8", "replace").decode("utf-8").strip()
