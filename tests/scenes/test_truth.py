"""The table of truth is `holds`, pair by pair, on facts that real scenes and none have, and on parts of them."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from ssa_me.scenes import COLOURS, KINDS, RELATIONS, SETTINGS, Facts, Mention, Query, make_scene
from ssa_me.scenes.queries import holds
from ssa_me.scenes.truth import parts_of, truth
from ssa_me.scenes.vocabulary import INVERSE, PERSON, PERSONS

FACTS = Facts(
    (("man", "red"), ("dog", "blue"), ("car", "green")),
    frozenset({(0, "left of", 1), (1, "right of", 0), (2, "left of", 0), (1, "on", 2)}),
    "beach",
)
WAYS = (*RELATIONS, "behind")
# few words, so that scenes and queries meet often
SOME_KINDS, SOME_COLOURS, SOME_SETTINGS = ("man", "woman", "dog", "car"), ("red", "blue"), ("beach", "park")


def one_of(rng: np.random.Generator, names):
    return names[int(rng.integers(len(names)))]


def random_facts(rng: np.random.Generator) -> Facts:
    count = int(rng.integers(1, 4))
    subjects = tuple((one_of(rng, SOME_KINDS), one_of(rng, SOME_COLOURS)) for _ in range(count))
    relations = {(i, way, j) for i, j in permutations(range(count), 2) for way in WAYS if rng.random() < 0.4}
    return Facts(subjects, frozenset(relations), one_of(rng, SOME_SETTINGS))


def random_query(rng: np.random.Generator) -> Query:
    count = int(rng.integers(1, 4))
    kinds = (*SOME_KINDS, PERSON)
    mentions = tuple(Mention(one_of(rng, kinds), one_of(rng, SOME_COLOURS)) for _ in range(count))
    relation = one_of(rng, WAYS) if count > 1 and rng.random() < 0.6 else None
    return Query(mentions, relation, one_of(rng, (None, *SOME_SETTINGS)))


def assert_equals_holds(queries: list[Query], facts: list[Facts]) -> np.ndarray:
    table = truth(queries, facts)
    assert table.shape == (len(queries), len(facts)) and table.dtype == bool
    for q, query in enumerate(queries):
        for f, fact in enumerate(facts):
            assert table[q, f] == holds(query, fact), (query, fact)
    return table


def test_by_hand():
    person, dog, car = Mention("person", "red"), Mention("dog", "blue"), Mention("car", "green")
    other = Facts((("woman", "red"), ("dog", "blue")), frozenset({(0, "right of", 1)}), "park")
    queries = [
        Query((person,)),
        Query((Mention("man", "red"),)),
        Query((person, dog), "left of"),
        Query((dog, car), "on", "beach"),
        Query((dog, person)),
        Query((person,), None, "park"),
        Query((Mention("dog", "green"),)),
    ]
    table = truth(queries, [FACTS, other])
    assert table.tolist() == [
        [True, True],
        [True, False],
        [True, False],
        [True, False],
        [True, True],
        [False, True],
        [False, False],
    ]


def test_it_equals_holds_on_random_queries_and_facts():
    rng = np.random.default_rng(0)
    table = assert_equals_holds(
        [random_query(rng) for _ in range(40)], [random_facts(rng) for _ in range(40)]
    )
    assert 100 < table.sum() < table.size - 100, "both answers must come often for this to mean anything"


def test_it_equals_holds_on_parts_of_facts():
    rng = np.random.default_rng(1)
    parts = []
    for _ in range(15):
        facts = random_facts(rng)
        numbers = range(len(facts.subjects))
        parts += [parts_of(facts, part) for size in (1, 2) for part in permutations(numbers, size)]
    table = assert_equals_holds([random_query(rng) for _ in range(20)], parts)
    assert 50 < table.sum() < table.size - 50


def test_it_equals_holds_on_scenes():
    """Every caption is true of its own scene; of others it is what `holds` says."""
    scenes = [make_scene(seed, 64) for seed in range(12)]
    queries = [query for scene in scenes for query in scene.queries]
    table = assert_equals_holds(queries, [scene.facts for scene in scenes])
    owner = np.repeat(np.arange(len(scenes)), [len(scene.queries) for scene in scenes])
    assert table[np.arange(len(queries)), owner].all() and not table.all()


def test_every_word_is_known():
    """All kinds, colours, settings and relations, and the relations' inverses."""
    queries = [Query((Mention(kind, "red"),)) for kind in (*KINDS, PERSON)]
    facts = [Facts(((kind, "red"),), frozenset(), "park") for kind in KINDS]
    table = truth(queries, facts)
    assert np.array_equal(table[:-1], np.eye(len(KINDS), dtype=bool))
    assert table[-1].tolist() == [kind in PERSONS for kind in KINDS]
    colours = list(COLOURS)
    queries = [Query((Mention("dog", colour),)) for colour in colours]
    facts = [Facts((("dog", colour),), frozenset(), "park") for colour in colours]
    assert np.array_equal(truth(queries, facts), np.eye(len(colours), dtype=bool))
    queries = [Query((Mention("dog", "red"),), None, setting) for setting in SETTINGS]
    facts = [Facts((("dog", "red"),), frozenset(), setting) for setting in SETTINGS]
    assert np.array_equal(truth(queries, facts), np.eye(len(SETTINGS), dtype=bool))
    ways = list(dict.fromkeys((*RELATIONS, *INVERSE.values())))
    both = (("dog", "red"), ("cat", "blue"))
    queries = [Query((Mention("dog", "red"), Mention("cat", "blue")), way) for way in ways]
    facts = [Facts(both, frozenset({(0, way, 1)}), "park") for way in ways]
    assert np.array_equal(truth(queries, facts), np.eye(len(ways), dtype=bool))


@pytest.mark.parametrize(("queries", "facts"), [(0, 2), (2, 0), (0, 0)])
def test_nothing_to_ask_or_to_ask_of(queries, facts):
    table = truth([Query((Mention("dog", "red"),))] * queries, [FACTS] * facts)
    assert table.shape == (queries, facts)


def test_parts_are_numbered_anew_in_the_given_order():
    assert parts_of(FACTS, [0, 1, 2]) == FACTS
    assert parts_of(FACTS, [2]) == Facts((("car", "green"),), frozenset(), "beach")
    assert parts_of(FACTS, [2, 1]) == Facts(
        (("car", "green"), ("dog", "blue")), frozenset({(1, "on", 0)}), "beach"
    )
    assert parts_of(FACTS, [1, 0]).relations == frozenset({(1, "left of", 0), (0, "right of", 1)})
    assert parts_of(FACTS, []) == Facts((), frozenset(), "beach")
