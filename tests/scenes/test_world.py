"""Scenes: the same from the same seed, exact masks, true captions, twins, held-out pairs."""

from __future__ import annotations

import hashlib
import pickle

import numpy as np
import pytest

from ssa_me.errors import InputError
from ssa_me.scenes import (
    COLOURS,
    HELD_OUT,
    KINDS,
    RELATIONS,
    SETTINGS,
    Plan,
    Scene,
    make_scene,
    plan_scene,
    render,
    satisfies,
    twin,
    twin_plan,
)
from ssa_me.scenes.vocabulary import COLOUR_NAMES, Pairs, fits, possible


def digest(scene: Scene) -> str:
    return hashlib.sha256(np.asarray(scene.image).tobytes()).hexdigest()


def test_the_same_seed_gives_the_same_scene_and_another_seed_another() -> None:
    first, again, other = make_scene(7, 128), make_scene(7, 128), make_scene(8, 128)
    assert digest(first) == digest(again)
    assert first.captions == again.captions
    assert all((a.mask == b.mask).all() for a, b in zip(first.subjects, again.subjects, strict=True))
    assert digest(first) != digest(other)


def test_a_scene_shows_and_says_the_same_at_every_size() -> None:
    small, large = make_scene(11, 112), make_scene(11, 224)
    assert small.image.size == (112, 112) and large.image.size == (224, 224)
    assert small.captions == large.captions and small.facts == large.facts
    for a, b in zip(small.subjects, large.subjects, strict=True):
        assert np.abs(np.array(a.bbox) * 2 - np.array(b.bbox)).max() <= 6


def test_the_world_has_the_promised_variety() -> None:
    assert len(KINDS) >= 10 and len(COLOURS) >= 10 and len(SETTINGS) >= 8 and len(RELATIONS) >= 4
    plans = [plan_scene(seed) for seed in range(600)]
    counts = [len(plan.subjects) for plan in plans]
    assert counts.count(2) > 0.5 * len(plans) and {1, 2, 3} == set(counts)
    assert {kind for plan in plans for kind, _ in plan.subjects} == set(KINDS)
    assert {colour for plan in plans for _, colour in plan.subjects} == set(COLOURS)
    assert {plan.setting for plan in plans} == set(SETTINGS)
    assert {plan.relation for plan in plans} == {*RELATIONS, None}
    for plan in plans:
        assert all(fits(kind, plan.setting) for kind, _ in plan.subjects)
        assert (
            len({kind for kind, _ in plan.subjects})
            == len({c for _, c in plan.subjects})
            == len(plan.subjects)
        )
        if plan.relation:
            assert possible(plan.relation, plan.subjects[0][0], plan.subjects[1][0])


def test_masks_are_disjoint_and_their_boxes_tight() -> None:
    for seed in range(60):
        scene = make_scene(seed, 112)
        masks = np.stack([subject.mask for subject in scene.subjects])
        assert masks.dtype == bool and masks.shape[1:] == (112, 112)
        assert masks.sum(axis=0).max() == 1
        for subject in scene.subjects:
            x, y, w, h = (int(number) for number in subject.bbox)
            inside = subject.mask[y : y + h, x : x + w]
            assert inside.sum() == subject.mask.sum() >= 100
            assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()


@pytest.mark.parametrize("colour", COLOUR_NAMES)
def test_the_pixels_of_a_mask_have_the_colour(colour: str) -> None:
    """Most pixels of a ball's mask are nearer to tones of its colour than to any other; hardly any just outside are."""
    scene = render(Plan(5, (("ball", colour),), "street"), 160)
    pixels = np.asarray(scene.image, dtype=float)
    names = list(COLOURS)

    def share(mask: np.ndarray) -> float:
        chosen = pixels[mask][:, None, :] - np.array(list(COLOURS.values()), dtype=float)[None]
        return float((np.linalg.norm(chosen, axis=2).argmin(axis=1) == names.index(colour)).mean())

    assert share(scene.subjects[0].mask) > 0.5
    changed = render(Plan(5, (("ball", "red" if colour != "red" else "blue"),), "street"), 160)
    difference = np.abs(pixels - np.asarray(changed.image, dtype=float)).max(axis=2) > 8
    mask = scene.subjects[0].mask
    assert difference[mask].mean() > 0.85
    assert (difference & ~mask).sum() < 0.06 * mask.sum()


def test_what_stands_in_front_takes_its_pixels_from_the_mask_behind() -> None:
    subjects = (("dog", "red"), ("house", "blue"))
    scene = render(Plan(3, subjects, "park", "in front of"), 160)
    dog, house = scene.subjects
    x, y, w, h = (int(n) for n in dog.bbox)
    hx, hy, hw, hh = (int(n) for n in house.bbox)
    assert hx < x + w / 2 < hx + hw and y > hy and y + h > hy + hh
    middle = np.zeros_like(dog.mask)
    middle[y : y + h, x : x + w] = True
    assert not (house.mask & dog.mask).any()
    assert (dog.mask & middle)[:, hx : hx + hw].sum() > 0.4 * dog.mask.sum()


@pytest.mark.parametrize(("relation", "sign"), [("left of", -1), ("right of", 1)])
def test_left_and_right_are_left_and_right(relation: str, sign: int) -> None:
    for seed in range(12):
        scene = render(Plan(seed, (("car", "red"), ("dog", "blue")), "beach", relation), 112)
        car, dog = (s.bbox[0] + s.bbox[2] / 2 for s in scene.subjects)
        assert (car - dog) * sign > 15


def test_on_means_above_and_in_contact() -> None:
    for seed in range(12):
        scene = render(Plan(seed, (("cat", "red"), ("car", "blue")), "beach", "on"), 160)
        cat, car = (s.bbox for s in scene.subjects)
        assert cat[1] < car[1] and abs(cat[1] + cat[3] - car[1]) < 16
        assert car[0] < cat[0] + cat[2] / 2 < car[0] + car[2]


def test_every_caption_is_true_of_its_scene_and_none_of_its_twin() -> None:
    for seed in range(80):
        scene = make_scene(seed, 64)
        other = twin(scene)
        assert 3 <= len(scene.captions) <= 5 and len(set(scene.captions)) == len(scene.captions)
        assert len(scene.queries) == len(scene.captions)
        for query, caption in zip(scene.queries, scene.captions, strict=True):
            assert satisfies(scene, query), caption
            assert not satisfies(other, query), (caption, other.captions)
            assert all(mention.colour in caption and mention.kind in caption for mention in query.subjects)
        assert not any(satisfies(scene, query) for query in other.queries)


def test_a_twin_has_the_same_words_in_the_same_setting() -> None:
    for seed in range(300):
        plan = plan_scene(seed)
        other = twin_plan(plan)
        assert other.setting == plan.setting
        assert {kind for kind, _ in plan.subjects} <= {kind for kind, _ in other.subjects}
        assert {colour for _, colour in plan.subjects} <= {colour for _, colour in other.subjects}
        assert not set(plan.subjects) & set(other.subjects)


def test_held_out_pairs_are_a_tenth_and_never_seen() -> None:
    assert len(HELD_OUT) * 10 == len(KINDS) * len(COLOURS)
    for seed in range(400):
        seen, held_out = plan_scene(seed, "seen"), plan_scene(seed, "held-out")
        assert not HELD_OUT & {*seen.subjects, *twin_plan(seen).subjects}
        assert set(held_out.subjects) <= HELD_OUT
    assert any(HELD_OUT & set(plan_scene(seed).subjects) for seed in range(100))


def test_a_person_is_a_man_a_woman_or_a_child_and_clothed_in_the_colour() -> None:
    phrases = {s.phrase for seed in range(100) for s in make_scene(seed, 64).subjects}
    assert any(text.startswith("a person in ") for text in phrases)
    assert any(text.startswith("a woman in ") for text in phrases)
    assert "an orange" in {text[:9] for text in phrases}


def test_a_scene_travels_between_processes() -> None:
    scene = make_scene(21, 64)
    assert digest(pickle.loads(pickle.dumps(scene))) == digest(scene)


@pytest.mark.parametrize(
    ("seed", "size", "pairs", "message"),
    [(-1, 128, "all", "seed"), (1, 20, "all", "at least 64"), (1, 128, "some", "Unknown pairs")],
)
def test_bad_input_is_named(seed: int, size: int, pairs: Pairs, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_scene(seed, size, pairs)
