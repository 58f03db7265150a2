"""Regions that someone drew: what they cover, and that drawing what was found changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ssa_me.checkpoint import VERSIONS
from ssa_me.composition import SubjectComposition
from ssa_me.embedder import SalientEmbedder
from ssa_me.errors import InputError
from ssa_me.salience.regions import coverage
from ssa_me.samples import Sample

BOXES = np.array([[0, 0, 10, 10], [10, 0, 20, 10], [0, 10, 10, 20], [10, 10, 20, 20], [0, 0, 0, 0]], float)


@pytest.fixture(scope="module")
def embedder(trained_checkpoint) -> SalientEmbedder:
    return SalientEmbedder.load(trained_checkpoint, "cpu")


@pytest.mark.parametrize(
    ("bbox", "shares"),
    [
        ((0, 0, 10, 10), [1, 0, 0, 0, 0]),
        ((5, 5, 10, 10), [0.25, 0.25, 0.25, 0.25, 0]),
        ((-5, -5, 40, 10), [0.5, 0.5, 0, 0, 0]),
        ((30, 30, 5, 5), [0, 0, 0, 0, 0]),
    ],
)
def test_a_token_counts_as_far_as_it_is_covered(bbox, shares):
    assert coverage(BOXES, bbox) == pytest.approx(shares)


def test_the_drawn_region_is_what_counts(embedder, picture):
    image = picture(64, 64, seed=3)
    left, right = (embedder.embed_redrawn(image, [box]) for box in ((0, 0, 24, 64), (40, 0, 24, 64)))
    assert not np.allclose(left.vectors["ssa-me"], right.vectors["ssa-me"], atol=1e-3)
    assert np.allclose(left.vectors["baseline"], right.vectors["baseline"], atol=1e-6), "it reads no regions"
    assert not np.allclose(left.subject_vectors["baseline"], right.subject_vectors["baseline"], atol=1e-3)
    for version in VERSIONS:
        assert np.linalg.norm(left.vectors[version]) == pytest.approx(1, abs=1e-5)
    assert left.salience.shape == (len(left.boxes),) and 0 <= left.salience.min() < left.salience.max() <= 1


def test_the_baseline_is_that_of_the_index(embedder, picture):
    image = picture(64, 48, seed=4)
    plain = embedder.embed([Sample(image=image)], subjects=True)
    redrawn = embedder.embed_redrawn(image, [(0, 0, 30, 30)])
    assert redrawn.vectors["baseline"] == pytest.approx(plain.vectors["baseline"][0], abs=1e-5)


def test_relations_of_drawn_regions_and_the_ground_have_vectors_as_in_the_index(embedder, picture):
    boxes = [(0, 0, 30, 30), (34, 34, 30, 30)]
    redrawn, turned = (embedder.embed_redrawn(picture(), drawn) for drawn in (boxes, boxes[::-1]))
    for version in VERSIONS:
        rows = redrawn.subject_vectors[version]  # both regions, how each stands to the other, the ground
        lengths = np.linalg.norm(rows, axis=1)
        np.testing.assert_allclose(lengths[[0, 1, 4]], 1, atol=1e-5)
        assert (lengths[[2, 3]] > 0.1).all() and (
            lengths[[2, 3]] < 1 + 1e-5
        ).all()  # as far as a relation is certain
        np.testing.assert_allclose(turned.subject_vectors[version][[1, 0, 3, 2, 4]], rows, atol=1e-5)
        assert np.abs(rows[2] - rows[3]).max() > 0.05
    composition, (first, second) = SubjectComposition(32), redrawn.subject_vectors["baseline"][:2]
    # untrained, every relation is as likely as not
    bound = composition.role(*map(torch.from_numpy, (first, second)), torch.full((3,), 0.5)).numpy()
    expected = bound / max(1, np.linalg.norm(bound))
    np.testing.assert_allclose(redrawn.subject_vectors["baseline"][2], expected, atol=1e-5)
    alone = embedder.embed_redrawn(picture(), boxes[:1])
    assert len(alone.subject_vectors["ssa-me"]) == 2


def test_no_region_at_all_is_dark_and_still_has_a_vector(embedder, picture):
    redrawn = embedder.embed_redrawn(picture(), [])
    assert not redrawn.salience.any() and np.isfinite(redrawn.vectors["ssa-me"]).all()
    assert redrawn.subject_vectors["ssa-me"].shape[0] == 0


def test_regions_that_cannot_be_are_refused(embedder, picture):
    with pytest.raises(InputError, match="outside of the image"):
        embedder.embed_redrawn(picture(), [(100, 0, 10, 10)])
    with pytest.raises(InputError, match="7 regions; an image keeps 6"):
        embedder.embed_redrawn(picture(), [(0, 0, 10, 10)] * 7)
