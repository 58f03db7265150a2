"""Twins: what each changes and what it leaves alone, for plans of every number of subjects, relation and `pairs`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from ssa_me.scenes import PAIRS, Plan, plan_scene, render, satisfies, twin_plan
from ssa_me.scenes.twins import TWINS, elsewhere, placed_otherwise, twin_plans
from ssa_me.scenes.vocabulary import allowed, fits, possible


def plans(count: int = 60) -> Iterator[Plan]:
    for pairs in PAIRS:
        yield from (plan_scene(seed, pairs) for seed in range(count))


def test_three_twins_each_another_than_the_scene_and_the_same_again():
    for plan in plans():
        twins = twin_plans(plan)
        assert len(twins) == TWINS == len({*twins, plan}) - 1
        assert twins == (twin_plan(plan), placed_otherwise(plan), elsewhere(plan)) == twin_plans(plan)
        assert all((twin.seed, twin.pairs) == (plan.seed, plan.pairs) for twin in twins)


def test_placed_otherwise_keeps_subjects_and_setting():
    for plan in plans():
        twin = placed_otherwise(plan)
        if len(plan.subjects) > 1:
            assert sorted(twin.subjects) == sorted(plan.subjects) and twin.setting == plan.setting
            (first, _), (second, _) = twin.subjects[:2]
            assert possible(twin.relation, first, second)
            swapped, turned = twin.subjects != plan.subjects, twin.relation != plan.relation
            assert swapped != turned, "either the places change or the relation"
            assert twin.subjects[2:] == plan.subjects[2:]


def test_what_can_exchange_its_places_does():
    plan = Plan(3, (("dog", "red"), ("cat", "blue"), ("tree", "green")), "park", "left of")
    swapped = (("cat", "blue"), ("dog", "red"), ("tree", "green"))
    assert placed_otherwise(plan) == replace(plan, subjects=swapped)
    chairs = Plan(3, (("man", "red"), ("chair", "blue")), "park", "in front of")
    assert placed_otherwise(chairs) == replace(chairs, subjects=chairs.subjects[::-1])


@pytest.mark.parametrize("relation", ["on", "in front of"])
def test_what_cannot_stands_in_another_relation(relation):
    seen = set()
    for seed in range(30):
        plan = Plan(seed, (("dog", "red"), ("house", "blue")), "park", relation)
        twin = placed_otherwise(plan)
        assert twin.subjects == plan.subjects
        seen.add(twin.relation)
    assert seen == {"left of", "right of", "on", "in front of"} - {relation}


def test_a_single_subject_takes_another_colour_that_its_pairs_allow():
    for pairs in PAIRS:
        for plan in (plan_scene(seed, pairs) for seed in range(150)):
            if len(plan.subjects) == 1:
                [(kind, colour)], [(same, other)] = plan.subjects, placed_otherwise(plan).subjects
                assert same == kind and other != colour
                assert pairs == "held-out" or allowed(kind, other, pairs)


def test_elsewhere_changes_the_setting_alone_and_fits_everyone():
    for plan in plans():
        twin = elsewhere(plan)
        assert twin.setting != plan.setting and replace(twin, setting=plan.setting) == plan
        assert all(fits(kind, twin.setting) for kind, _ in twin.subjects)


def test_no_house_in_the_kitchen_and_no_kitchen_twice():
    outdoors = [elsewhere(Plan(seed, (("house", "red"),), "park")).setting for seed in range(100)]
    assert "kitchen" not in outdoors and len(set(outdoors)) == 6
    assert len({elsewhere(Plan(seed, (("dog", "red"),), "kitchen")).setting for seed in range(100)}) == 7


def test_the_fullest_caption_is_true_of_no_twin():
    for seed in range(16):
        scene = render(plan_scene(seed), 64)
        for plan in twin_plans(scene.plan):
            twin = render(plan, 64)
            assert not satisfies(twin, scene.queries[0]), (scene.captions[0], plan)
            assert satisfies(twin, twin.queries[0])
