"""Subject phrases and settings of real queries: what is kept whole, split or dropped, and other languages."""

from __future__ import annotations

import pytest

from ssa_me.salience.subjects import MOST, PLACE, question, setting_of, shorter, split_phrases, subject_asked

QUERIES = {
    # kept whole
    "a person in red": ("a person in red",),
    "person in red": ("person in red",),
    "a woman in a blue dress": ("a woman in a blue dress",),
    "a black-and-white cat": ("a black-and-white cat",),
    "a black and white dog": ("a black and white dog",),
    "bird": ("bird",),
    # relations
    "a red car left of a blue dog": ("a red car", "a blue dog"),
    "a house to the right of a boat": ("a house", "a boat"),
    "a cup on the left side of a plate": ("a cup", "a plate"),
    "a child in front of a yellow bus": ("a child", "a yellow bus"),
    "a child on a horse": ("a child", "a horse"),
    "a cat on top of a chair": ("a cat", "a chair"),
    "a man riding a green bicycle next to a dog": ("a man", "a green bicycle", "a dog"),
    "a cat between two dogs": ("a cat", "two dogs"),
    "A tree behind a house": ("A tree", "a house"),
    # conjunctions and commas
    "a person in red and a person in blue": ("a person in red", "a person in blue"),
    "a dog, a cat and a bird": ("a dog", "a cat", "a bird"),
    "a man in black and a dog": ("a man in black", "a dog"),
    "a woman holding an umbrella; a kite above.": ("a woman", "an umbrella", "a kite"),
    # settings
    "a red car left of a blue dog on the beach": ("a red car", "a blue dog"),
    "a person in red and a dog in the park": ("a person in red", "a dog"),
    "a teddy bear in the city at night": ("a teddy bear",),
    "a bus on the street": ("a bus",),
    "a dog on the beach next to a boat": ("a dog", "a boat"),
    "a bird on the street lamp": ("a bird", "the street lamp"),
    "children at the beach, a kite": ("children", "a kite"),
    # words that name nothing by themselves
    "a green chair with a person in orange on it": ("a green chair", "a person in orange"),
    "there is a person in orange and a green chair in the kitchen": ("a person in orange", "a green chair"),
    "there are two dogs": ("two dogs",),
    # what says only that it is a picture
    "a photo of a person in red": ("a person in red",),
    "An illustration showing a pink boat and a man": ("a pink boat", "a man"),
    # said twice
    "a car, a car and a car": ("a car",),
    "  a   red\n car ": ("a red car",),
}


@pytest.mark.parametrize(("query", "phrases"), QUERIES.items())
def test_queries(query, phrases):
    assert split_phrases(query) == phrases


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("una persona de rojo junto a un perro", ("una persona de rojo junto a un perro",)),
        ("un perro azul, una casa roja", ("un perro azul", "una casa roja")),
        ("一个穿红色衣服的人", ("一个穿红色衣服的人",)),
        ("一辆红色的汽车，一只蓝色的狗。", ("一辆红色的汽车", "一只蓝色的狗")),
        ("狗、猫", ("狗", "猫")),
        ("человек в красном", ("человек в красном",)),
        ("شخص بالأحمر", ("شخص بالأحمر",)),
        ("🐕", ("🐕",)),
    ],
)
def test_other_languages(text, phrases):
    assert split_phrases(text) == phrases


@pytest.mark.parametrize("text", ["!!!", "…", "?! .,", "¿?", "and", "the", "it", "on the beach"])
def test_a_text_that_names_nothing_is_one_phrase(text):
    assert split_phrases(text) == (text,)


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_nothing_has_no_phrase(text):
    assert split_phrases(text) == ()


def test_at_most_six_in_order():
    text = ", ".join(f"animal {i}" for i in range(10))
    assert split_phrases(text) == tuple(f"animal {i}" for i in range(MOST))


def test_words_are_not_cut_inside():
    assert split_phrases("a sandy island withered undergrowth") == ("a sandy island withered undergrowth",)


def test_a_very_long_text_is_quick_and_bounded():
    assert len(split_phrases("a red dog and " * 700)) == 1
    assert split_phrases("x" * 10_000) == ("x" * 10_000,)
    assert len(split_phrases("in the " * 1400)) >= 1
    assert setting_of("in the " * 1400) == "in the in the"
    assert setting_of("in the " * 1400 + "x. " * 1000) is None


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("a red dog in the snow", "in the snow"),
        ("A red dog  in the\nSnow.", "in the Snow"),
        ("in the snow", "in the snow"),
        ("a red dog on the beach", "on the beach"),
        ("on the beach!", "on the beach"),
        ("a teddy bear in the city at night", "in the city at night"),
        ("a man in the car in the park", "in the park"),
        ("a person in red left of a dog by the river", "by the river"),
        ("a dog, a cat and a bird at the lake", "at the lake"),
        ("a person in red", None),
        ("a dog on the left", None),
        ("a dog on the right", None),
        ("a dog on the sofa", None),
        ("a dog on the beach next to a boat", None),
        ("a dog in the snow, a cat", None),
        ("a dog in the hand of a man who is sitting on a bench", None),
        ("a cabin the man built", None),
        ("un perro en la nieve", None),
        ("", None),
    ],
)
def test_the_setting_is_where_a_text_ends(text, setting):
    assert setting_of(text) == setting


@pytest.mark.parametrize(
    ("phrase", "asked"),
    [
        ("a red dog", "the dog"),
        ("A Red  Dog", "the dog"),
        ("the blue house", "the house"),
        ("yellow sports car", "the sports car"),
        ("a person in red", "the person"),
        ("a red dog in blue", "the red dog"),
        ("a dog", None),
        ("a dog in a red basket", None),
        ("in red", None),
        ("red", None),
        ("a reddish dog", None),
        ("in the snow", "the place"),
        ("On  the beach", "the place"),
        ("a dog in the snow", None),
        ("the snow", None),
        ("", None),
    ],
)
def test_a_coloured_phrase_and_a_setting_answer_a_question(phrase, asked):
    assert question(phrase) == asked


def test_the_place_is_no_place_itself():
    """What asks for a setting is not asked for in turn."""
    assert PLACE == "the place" and setting_of(PLACE) is None and question(PLACE) is None


@pytest.mark.parametrize(
    ("phrase", "less"),
    [
        ("a red dog", ("the dog", "a dog", "dog")),
        ("An orange Umbrella", ("the umbrella", "an umbrella", "umbrella")),
        ("a person in red", ("the person", "a person", "person")),
        ("a dog", ("the dog", "dog")),
        ("the dog", ("a dog", "dog")),
        ("two dogs", ("the two dogs",)),
        ("blue jeans", ("the jeans", "jeans")),
        ("in the park", ()),
        ("the place", ()),
        ("", ()),
    ],
)
def test_a_phrase_is_called_by_less(phrase, less):
    assert shorter(phrase) == less


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("the dog", "the dog"),
        ("The cat", "The cat"),
        ("a person in red", None),  # says itself what it means
        ("the red dog", None),
        ("a dog", None),
        ("the dog and the cat", None),
        ("a photo of a dog in the park", None),  # its setting is asked for, too
        ("a dog and a cat", None),
        ("the place", None),
        ("in the snow", None),
        ("", None),
    ],
)
def test_the_one_subject_that_a_text_asks_for(text, asked):
    assert subject_asked(text) == asked
