"""What SSA-ME's losses speak of, by hand: subjects and grounds, the texts about them, and which are true of which."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ssa_me.scenes import Facts, Mention, Query
from ssa_me.training.batches import Batch
from ssa_me.training.claims import Claims, PhraseClaims
from ssa_me.training.data import Draw, Prepared
from ssa_me.training.named import Named, Questions
from ssa_me.training.things import Sought, Things, true_by_name

DOG, CAT = ("dog", "red"), ("cat", "blue")


def item(
    texts: dict[str, tuple[int, ...]], coverage: list[list[float]], facts: Facts | None = None, **extra: str
) -> Prepared:
    """One image of three tokens; texts and which subjects they name, all of them subjects of a scene with its `facts`."""
    kinds = facts.subjects if facts else (DOG, CAT)[: len(coverage)]
    named = tuple(Mention(*kind) for kind in kinds)
    meanings = tuple(Query(tuple(named[k] for k in about)) for about in texts.values())
    return Prepared(
        np.zeros((3, 4), np.float16),
        (1, 1, 3),
        (32, 32),
        tuple(texts),
        tuple(mention.phrase for mention in named),
        np.array(coverage, np.float16).reshape(-1, 3),
        about=tuple(texts.values()) if facts else (),
        meanings=meanings if facts else (),
        facts=facts,
        **extra,
    )


def batch_of(*items: Prepared, group: int = 1) -> Batch:
    """A step of these images, each with the first of its texts."""
    named, rng = Named.of(items, torch.device("cpu")), np.random.default_rng(0)
    draw = Draw(0, tuple(range(len(items))), tuple(one.texts[0] for one in items), (0,) * len(items))
    claims = Claims.of(draw.texts, group, 0.0, rng)
    return Batch(
        0,
        draw,
        items,
        named,
        Questions.of(named, 0, rng),
        group,
        claims,
        PhraseClaims.of(named, group, 0, rng),
    )


def scenes() -> Batch:
    """A red dog and a blue cat in the snow; a red dog in the park; the first one's caption names both, the other's one."""
    snow, park = Facts((DOG, CAT), frozenset(), "snow"), Facts((DOG,), frozenset(), "park")
    first = item(
        {"a red dog and a blue cat": (0, 1)}, [[0.9, 0, 0], [0, 0.8, 0]], snow, setting="in the snow"
    )
    second = item({"a red dog": (0,)}, [[0, 0, 0.7]], park, setting="in the park")
    return batch_of(first, second, group=2)


def table(*rows: str) -> list[list[bool]]:
    return [[sign == "x" for sign in row] for row in rows]


def test_things_of_scenes_by_hand():
    things = Things.of(scenes())
    assert things.image.tolist() == [0, 0, 0, 1, 1]  # dog, cat, snow; dog, park
    # after two captions: a red dog 2, a blue cat 3, in the snow 4, in the park 5; caption 1 is about the other dog alone
    assert things.rows.tolist() == [2, 3, 4, 2, 5, 1] and things.own.tolist() == [0, 1, 2, 3, 4, 3]
    # in the snow is true of all that is there, so that a subject of the same image is no wrong answer
    true = table("x..x.", ".x...", "xxx..", "x..x.", "...xx", "x..x.")
    assert things.true.tolist() == true


def test_a_caption_that_names_no_subject_speaks_of_no_ground():
    snow = Facts((DOG,), frozenset(), "snow")
    things = Things.of(batch_of(item({"a picture": ()}, [[0.9, 0, 0]], snow, setting="in the snow")))
    assert things.rows.tolist() == [1, 2] and things.own.tolist() == [0, 1]


def test_phrases_that_are_true_of_each_thing_by_hand():
    things = Things.of(scenes())
    # columns: a red dog, a blue cat, in the snow, in the park
    assert things.of_phrases(2).tolist() == table("x.x.", ".xx.", "..x.", "x..x", "...x")


def test_rivals_are_wrong_things_of_the_family():
    things = Things.of(scenes())
    apart = things.rivals(1)
    assert apart.tolist() == table(".xx..", "x.x..", ".....", "....x", ".....", "....x")
    together = things.rivals(2)
    assert together.tolist() == (~things.true).tolist()


def test_things_of_photographs_are_known_by_their_words():
    """Nothing is known but phrases: equal ones are true of each other's regions, and captions speak of none."""
    first = item({"two animals": ()}, [[0.9, 0, 0], [0, 0.8, 0]])
    second = item({"an animal": ()}, [[0, 0, 0.7]])
    things = Things.of(batch_of(first, second))
    assert things.rows.tolist() == [2, 3, 2] and things.own.tolist() == [0, 1, 2]
    assert things.true.tolist() == table("x.x", ".x.", "x.x")
    assert things.of_phrases(2).tolist() == table("x.", ".x", "x.")


def test_a_batch_without_named_regions_has_no_things():
    things = Things.of(batch_of(item({"something": ()}, [])))
    assert len(things.image) == len(things.rows) == len(things.own) == 0
    assert things.of_phrases(1).shape == (0, 0)


def test_what_goes_by_a_shorter_name_is_there_too():
    """Looked for as `the dog`: the red dog of one image is there, and there is none where only a cat is."""
    dog = item({"a red dog": (0,)}, [[0.9, 0, 0]], Facts((DOG,), frozenset(), "snow"))
    cat = item({"a blue cat": (0,)}, [[0, 0.9, 0]], Facts((CAT,), frozenset(), "snow"))
    batch = batch_of(dog, cat)
    called = ["the dog", "a blue cat"]
    seen = set()
    for seed in range(20):
        sought = Sought.of(batch, seed, 1.0, called)
        seen |= set(zip(sought.rows, sought.wrong, sought.present, strict=True))
    assert seen == {(0, 0, True), (0, 1, False), (1, 0, False), (1, 1, True)}


def test_what_a_name_may_mean():
    """Of scenes exactly: the man is no woman. Of photographs as captions call people."""
    kinds = (("man", "red"), ("woman", "red"), ("dog", "blue"))
    coverage = [[0.9, 0, 0], [0, 0.9, 0], [0, 0, 0.9]]
    text = {"something": (0,)}
    facts = Facts(kinds, frozenset(), "snow")
    called = [
        "the man",
        "the person",
        "a person in red",
        "a dog",
        "dog",
        "a man in red",
        "the cat",
        "in the snow",
    ]
    scene = batch_of(item(text, coverage, facts, setting="in the snow"))
    men, persons, reds = "x...", "xx..", "xx.."
    expected = table(men, persons, reds, "..x.", "..x.", "x...", "....", "...x")
    assert true_by_name(scene, called).tolist() == expected
    photograph = batch_of(replace(item(text, coverage, facts), facts=None))
    assert true_by_name(photograph, called).tolist() == table(
        "xx.", "xx.", "xx.", "..x", "..x", "xx.", "...", "..."
    )
    assert true_by_name(scene, []).shape == (0, 4)
