"""Where an image stands, before and after, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ssa_me.gallery.index import VectorIndex
from ssa_me.gallery.standing import standing
from ssa_me.late_interaction import mix

QUERY = np.array([1, 0], np.float32)
NONE = np.zeros((0, 2), np.float32)


def at(*cosines: float) -> np.ndarray:
    return np.array([[c, (1 - c * c) ** 0.5] for c in cosines], np.float32)


IMAGES = VectorIndex(at(0.9, 0.5, 0.5, 0.1), [(1, 0, 1), (2, 1, 1), (3, 2, 1), (4, 3, 1)])
SUBJECTS = VectorIndex(at(0.1, 0.2, 0.95, 0.6), [(1, 0, 1), (2, 1, 2), (3, 3, 0), (4, 3, 1)])


def test_an_image_rises_and_falls():
    found = standing(QUERY, 4, at(0.7)[0], NONE, IMAGES)
    assert (found.before.rank, found.after.rank, found.count) == (4, 2, 4)
    assert found.after.score == pytest.approx(0.7)
    assert standing(QUERY, 1, at(0.0)[0], NONE, IMAGES).after.rank == 4


def test_what_is_unchanged_stays_and_ties_go_by_id():
    assert [standing(QUERY, n, IMAGES.of(n)[0], NONE, IMAGES).after.rank for n in (1, 2, 3, 4)] == [
        1,
        2,
        3,
        4,
    ]
    tied = standing(QUERY, 4, IMAGES.of(1)[0], NONE, IMAGES)
    assert tied.after.rank == 2, "equal to the first, whose id is lower"


def test_subjects_count_as_in_the_ranking():
    # image 1: mix(.9, .1) = .26; image 2: mix(.5, .95) = .86; image 3 has none: .5; image 4: mix(.1, .6) = .5
    found = standing(QUERY, 1, IMAGES.of(1)[0], at(0.3, 0.99), IMAGES, SUBJECTS)
    assert found.before.score == pytest.approx(mix(0.9, 0.1), abs=1e-6) and found.before.rank == 4
    assert found.after.score == pytest.approx(mix(0.9, 0.99), abs=1e-6) and found.after.rank == 1
    assert standing(QUERY, 2, at(0.0)[0], NONE, IMAGES, SUBJECTS).after.score == 0.0


def test_each_thing_that_is_stated_takes_its_nearest_subject():
    """Stated: what is straight ahead, and what is at .6 of it; the second of an image's subjects may answer to that."""
    stated = at(1.0, 0.6)
    # cosines with the statements: .1, .856 | .2, .904 and .95, .820 | none | .6, 1
    best = {1: (0.1 + 0.856) / 2, 2: (0.95 + 0.904) / 2, 4: (0.6 + 1) / 2}
    scores = {1: mix(0.9, best[1]), 2: mix(0.5, best[2]), 3: 0.5, 4: mix(0.1, best[4])}
    order = sorted(scores, key=lambda image: -scores[image])
    for image, score in scores.items():
        held = SUBJECTS.of(image)
        found = standing(QUERY, image, IMAGES.of(image)[0], held, IMAGES, SUBJECTS, stated)
        assert found.before.score == pytest.approx(score, abs=1e-3)
        assert found.before == found.after and found.before.rank == order.index(image) + 1
    # subjects at 1 and .6 answer both
    found = standing(QUERY, 3, IMAGES.of(3)[0], at(1.0, 0.6), IMAGES, SUBJECTS, stated)
    assert found.after.score == pytest.approx(mix(0.5, 1.0), abs=1e-6) and found.after.rank == 1


def test_as_json():
    assert standing(QUERY, 1, at(0.9)[0], NONE, IMAGES).to_json()["before"]["rank"] == 1


def test_an_image_without_a_vector_is_no_standing():
    with pytest.raises(KeyError):
        standing(QUERY, 9, at(0.9)[0], NONE, IMAGES)
