"""Words, colours, kinds and names of queries."""

import pytest

from ssa_me.failures.words import all_named, colours_of, is_named, kind_of, names_subjects_alone, words_of


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("a person in red", "subject"),
        ("a red car and a blue dog", "colour"),
        ("a red car left of a blue dog", "relation"),
        ("a black cat on a red chair", "relation"),
        ("a red car on the beach", "background"),
        ("a snowy landscape with a red car", "background"),
        ("two children in the park", "background"),
        ("children laugh", "caption"),
        ("赤い服の人", "caption"),
        ("a red ball left of a blue dog in the park", "relation"),
    ],
)
def test_kinds(text, kind):
    assert kind_of(text) == kind


def test_words_and_colours():
    assert words_of("A man in red, and a RED dog on the beach's edge") == (
        "man",
        "red",
        "dog",
        "beach's",
        "edge",
    )
    assert colours_of("a gray cat, a grey dog and a red one") == ("grey", "red")


def test_a_person_may_be_a_man_but_not_the_other_way_round():
    assert is_named("a person in red", "a man in red")
    assert is_named("a person in red", "a person in red")
    assert not is_named("a man in red", "a person in red")
    assert not is_named("a person in red", "a red house")
    assert not is_named("", "a man in red")
    assert is_named("the dog", "a brown dog")


def test_each_phrase_needs_a_subject_of_its_own():
    assert all_named(["a red ball", "a red toy ball"], ["a red toy ball", "a red ball"])
    assert not all_named(["a red ball", "a red ball"], ["a red ball", "a blue dog"])
    assert not all_named([], ["a red ball"])


def test_subjects_alone_prove_no_relation_and_no_setting():
    assert names_subjects_alone("a red car and a blue dog")
    assert not names_subjects_alone("a red car in the park")
    assert not names_subjects_alone("a red car left of a blue dog")
