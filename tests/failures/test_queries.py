"""Where queries come from: captions, lists in three formats, and which images are right for them."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from ssa_me.errors import InputError
from ssa_me.failures import queries
from ssa_me.failures.queries import MOST_BYTES, caption_queries, listed_queries
from ssa_me.samples import Subject


@pytest.fixture
def items(gallery):
    return gallery.items(0, 10)


@pytest.fixture
def names(items):
    return {item.id: item.file_name.removesuffix(".png") for item in items}


def _right(found, names):
    return {q.text: {names[id] for id in q.targets} for q in found.queries}


def test_captions_once_with_all_images_that_they_are_true_of(items, names):
    right = _right(caption_queries(items), names)
    assert right["a red half"] == {"red", "red-blue"}  # its own caption, and an annotated subject
    assert right["red blue"] == {"red-blue"}
    assert right["a red half and a blue half"] == {"red-blue"}
    assert len(right) == 10


def test_only_images_that_may_be_named_are_looked_at_and_all_that_are_named_are_found(items, monkeypatch):
    labels = ("a red man", "a man in red", "a red bird", "a bird", "a person", "two red birds and a man")
    drawn = [
        replace(items[0], id=n, captions=(f"{a} and {b}",), subjects=(Subject(a), Subject(b)))
        for n, (a, b) in enumerate(product(labels, labels))
    ]
    texts = (*labels, "a person in red", "a red bird and a man", "a person and a person", "the the", "birds")
    truth = queries._Truth(drawn)
    found = [truth.of(text) for text in texts]
    assert all(len(truth._may_name((text,))) < len(truth._labelled) for text in labels)
    monkeypatch.setattr(queries._Truth, "_may_name", lambda self, phrases: set(self._labelled))
    assert found == [truth.of(text) for text in texts] and [] in found and any(found)


def test_what_a_query_shares_and_its_free_columns(items):
    query = next(q for q in caption_queries(items).queries if q.text == "red blue")
    assert (query.cluster, query.kind, query.extra) == (
        "red-blue",
        "subject",
        {"stripes": "2", "scene": "red-blue"},
    )


def test_no_captions_is_said(items):
    with pytest.raises(InputError, match="no captions"):
        caption_queries([replace(item, captions=()) for item in items])


def test_a_text_file(items, names):
    found = listed_queries(b"\xef\xbb\xbfsomething\tblue.png\n\na red half\nunheard of\n", "list.txt", items)
    assert _right(found, names) == {"something": {"blue"}, "a red half": {"red", "red-blue"}}
    assert found.skipped == (
        ("unheard of", "no image is named for it, and no caption or annotation is true of it"),
    )


def test_a_csv_keeps_other_columns(items, names):
    data = b"query,image,who\nwarm,red.png;green-yellow.png,Ada\ncold,nowhere.png,Bo\n,red.png,\n"
    found = listed_queries(data, "list.CSV", items)
    assert _right(found, names) == {"warm": {"red", "green-yellow"}}
    assert found.queries[0].extra["who"] == "Ada"
    assert found.skipped == (("cold", "the gallery has no image 'nowhere.png'"),)


def test_json_lines(items, names):
    data = b'{"text": "warm \\ud83d", "targets": ["red.png"], "n": 3, "deep": {"a": 1}}\n'
    found = listed_queries(data, "list.jsonl", items)
    assert _right(found, names) == {"warm ?": {"red"}}
    assert found.queries[0].extra["n"] == "3" and "deep" not in found.queries[0].extra


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("list.exe", b"red", "no list of queries"),
        ("list.csv", b"a,b\n1,2\n", "has no column"),
        ("list.jsonl", b"[1]\n", "line 1: not a JSON object"),
        ("list.jsonl", b"{\n", "line 1: not a JSON object"),
        ("list.txt", b"nothing known\n", "None of the 1 queries"),
        ("list.txt", b"", "None of the 0 queries"),
        ("list.txt", b"x" * 3000, "3,000 letters"),
        ("list.txt", b"x" * (MOST_BYTES + 1), "larger than"),
    ],
)
def test_what_is_refused(items, name, data, reason):
    with pytest.raises(InputError, match=reason):
        listed_queries(data, name, items)


def test_the_digest_hangs_on_what_is_asked(items):
    first, again = caption_queries(items), caption_queries(items, "another name")
    assert first.digest == again.digest
    assert first.digest != listed_queries(b"red\tred.png", "list.txt", items).digest
