"""Lists of subjects out of whatever a language model answers: parsed, checked against the text, remembered."""

from __future__ import annotations

import random
import string

import pytest

from ssa_me.salience.lmm import Listed, LmmSubjects, parse
from ssa_me.salience.prompts import DESCRIBE, LIST_OF_IMAGE, list_prompt, listed
from ssa_me.samples import Sample


class Model:
    """Answers from a table of prompt → answer, and remembers what it was asked."""

    def __init__(self, table: dict[str, str], default: str = "") -> None:
        self.table, self.default = table, default
        self.asked: list[tuple[str, bool]] = []

    def __call__(self, prompts, images):
        self.asked += [(prompt, image is not None) for prompt, image in zip(prompts, images, strict=True)]
        return [self.table.get(prompt, self.default) for prompt in prompts]


@pytest.mark.parametrize(
    ("answer", "phrases"),
    [
        ("a person in red; a blue house", ("a person in red", "a blue house")),
        ("a person in red; a blue house.", ("a person in red", "a blue house")),
        ("a black, furry dog; a cat", ("a black, furry dog", "a cat")),
        ("a dog, a cat, the sky", ("a dog", "a cat", "the sky")),
        ("1. a dog\n2. a cat\n3) a red car", ("a dog", "a cat", "a red car")),
        ("- a dog\n- a cat", ("a dog", "a cat")),
        ("* **a dog**\n• a cat", ("a dog", "a cat")),
        ("a dog\na cat", ("a dog", "a cat")),
        ('["a dog", "a cat"]', ("a dog", "a cat")),
        ('```json\n["a dog", "a cat"]\n```', ("a dog", "a cat")),
        ('{"subjects": ["a dog", "a cat"]}', ("a dog", "a cat")),
        ('[{"phrase": "a dog"}, {"phrase": "a cat"}]', ("a dog", "a cat")),
        ("Subjects: a dog; a cat", ("a dog", "a cat")),
        ("The subjects of the image are: a dog; a cat", ("a dog", "a cat")),
        ("Here are the subjects:\n1. a dog\n2. a cat", ("a dog", "a cat")),
        ("a dog; A dog; a cat;; a dog", ("a dog", "a cat")),
        ("a; b; c; d; e; f; g; h", ("a", "b", "c", "d", "e", "f")),
        ("1. 2 dogs; 2. 3 cats", ("2 dogs", "3 cats")),
        ("un perro rojo; una casa", ("un perro rojo", "una casa")),
        ("一只红色的狗；一座房子", ("一只红色的狗", "一座房子")),
        ("", ()),
        (" ; ,, .", ()),
        ("[1, 2]", ()),
        ("word " * 60, ()),
    ],
)
def test_answers_are_parsed(answer, phrases):
    assert parse(answer) == phrases


def test_what_was_written_as_a_list_is_read_as_one():
    phrases = ("a person in red", "a blue house", "a dog")
    assert parse(listed(phrases)) == phrases


def test_no_answer_ever_raises():
    noise = random.Random(0)
    letters = string.printable + '[]{}";；、一二🙂\x00\ud800'
    for _ in range(2000):
        answer = "".join(noise.choices(letters, k=noise.randrange(60)))
        assert len(parse(answer)) <= 6
    assert parse("[" * 100_000 + "]" * 100_000) == ()


def test_a_text_is_asked_for_its_subjects():
    text = "a person in red beside a blue house"
    model = Model({list_prompt(text): "a person in red; a blue house"})
    assert LmmSubjects(model, "f")([Sample(text)]) == [Listed(("a person in red", "a blue house"), "lmm")]
    assert model.asked == [(list_prompt(text), False)]


def test_a_pair_is_asked_with_its_image(picture):
    model = Model({}, "a red bird; a house")
    (found,) = LmmSubjects(model, "f")([Sample("a red bird on a house", picture())])
    assert found == Listed(("a red bird", "a house"), "lmm")
    assert model.asked == [(list_prompt("a red bird on a house"), True)]


def test_an_image_alone_is_described_first(picture):
    sentence = "A red bird sits on a house."
    model = Model({DESCRIBE: f" {sentence}\n", list_prompt(sentence): "a red bird; a house"})
    assert LmmSubjects(model, "f")([Sample(image=picture())]) == [
        Listed(("a red bird", "a house"), "lmm", sentence)
    ]
    assert model.asked == [(DESCRIBE, True), (list_prompt(sentence), True)]


def test_an_image_that_is_not_described_is_asked_for_its_subjects_at_once(picture):
    model = Model({LIST_OF_IMAGE: "a bird"})
    assert LmmSubjects(model, "f")([Sample(image=picture())]) == [Listed(("a bird",), "lmm")]


@pytest.mark.parametrize("answer", ["", "???", "a green elephant; seven bottles"])
def test_a_useless_answer_gives_way_to_the_rule(answer):
    found = LmmSubjects(Model({}, answer), "f")([Sample("a red bird next to a house")])
    assert found == [Listed(("a red bird", "a house"), "rule")]


def test_what_the_text_does_not_speak_of_is_dropped():
    (found,) = LmmSubjects(Model({}, "the bird; an elephant"), "f")([Sample("a red bird")])
    assert found == Listed(("the bird",), "lmm")


def test_a_batch_asks_in_two_rounds_and_keeps_its_order(picture):
    model = Model({DESCRIBE: "a cat"}, "a dog; a cat; a bird")
    samples = [Sample("a dog"), Sample(image=picture()), Sample("a cat")]
    found = LmmSubjects(model, "f")(samples)
    assert [listed.phrases for listed in found] == [("a dog",), ("a dog", "a cat", "a bird"), ("a cat",)]
    assert len(model.asked) == 4


def test_what_is_known_is_not_asked_again(picture):
    model = Model({DESCRIBE: "a cat"}, "a cat")
    subjects = LmmSubjects(model, "f", kept=2)
    first = subjects([Sample("a cat"), Sample(image=picture(seed=1)), Sample("a cat")])
    asked = len(model.asked)
    assert asked == 3
    assert subjects([Sample("a cat"), Sample(image=picture(seed=1)), Sample(" a cat ")]) == first
    assert len(model.asked) == asked
    subjects([Sample(image=picture(seed=2))])  # the oldest goes: the text was used before the image
    subjects([Sample(image=picture(seed=2))])
    assert len(model.asked) == asked + 2
    assert len(subjects._kept) == 2
