"""Which images a kind asks for, by hand."""

from __future__ import annotations

from pathlib import Path

from ssa_me.evaluation.names import Name, names
from ssa_me.samples import Record, Subject


def image(name: str, *subjects: Subject) -> Record:
    return Record(Path(name), name, (), subjects)


def test_all_wordings_of_a_kind_ask_for_all_images_that_show_one():
    records = [
        image("0", Subject("a red dog"), Subject("a blue dog"), Subject("a person in red")),
        image("1", Subject("dog"), Subject("in the snow"), Subject("a cat", status="rejected")),
        image("2", Subject("a person in blue"), Subject("a fish", status="proposed")),
    ]
    dogs, persons = (0, 1), (0, 2)
    assert names(records) == [
        *(Name(text, "dog", dogs) for text in ("dog", "the dog", "a dog")),
        *(Name(text, "person", persons) for text in ("person", "the person", "a person")),
        Name("in the snow", "in the snow", (1,)),
    ]


def test_a_man_is_asked_for_as_a_person_too():
    records = [
        image("0", Subject("a man in red")),
        image("1", Subject("Woman")),
        image("2", Subject("a dog")),
    ]
    found = {name.text: name.images for name in names(records)}
    assert found == {
        "man": (0,), "the man": (0,), "a man": (0,), "woman": (1,), "the woman": (1,),
        "person": (0, 1), "the person": (0, 1), "a person": (0, 1), "dog": (2,), "the dog": (2,),
    }  # fmt: skip


def test_what_every_image_shows_tells_none_apart():
    assert names([image("0", Subject("a red dog")), image("1", Subject("a blue dog"))]) == []
    assert names([image("0")]) == []
