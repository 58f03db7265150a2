"""What is read again with an image, and how well it agrees: by hand, and on a small model."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ssa_me.embedder import SalientEmbedder
from ssa_me.rereading import Statement, agreement, reread, statements, together
from ssa_me.salience.subjects import MOST
from ssa_me.samples import Sample

TEXT = "a red bird and a blue car"


@pytest.fixture(scope="module")
def embedder(trained_checkpoint) -> SalientEmbedder:
    return SalientEmbedder.load(trained_checkpoint, "cpu")


@pytest.fixture
def reader(embedder, monkeypatch) -> SalientEmbedder:
    """The same, as if it had learned to tell what is true."""
    monkeypatch.setattr(embedder, "reads_claims", lambda version: version == "ssa-me")
    return embedder


@pytest.fixture
def images() -> list[Image.Image]:
    return [Image.new("RGB", (48, 64), colour) for colour in ("red", "blue", "white")]


def test_a_text_counts_as_much_as_its_phrases_together_by_hand():
    spoken = np.eye(3, dtype=np.float32)
    read = np.array([[[0.6, 0, 0.8], [0, 0.2, 0.9], [0.5, 0.5, 0.4]], np.eye(3)], np.float32)
    np.testing.assert_allclose(agreement(read, spoken), [(0.6 + (0.2 + 0.4) / 2) / 2, 1], atol=1e-6)
    assert agreement(read[0], spoken) == pytest.approx(0.45)
    np.testing.assert_allclose(
        agreement(read[:, :1], spoken), [0.6, 1]
    )  # a text of one phrase; an image alone


def test_what_is_indexed_counts_as_much_as_what_is_read_where_it_is_there():
    found = together(np.array([0.2, 0.6]), np.array([0.8, np.nan]))
    np.testing.assert_allclose(found, [0.5, 0.6])
    assert float(together(0.2, 0.8)) == pytest.approx(0.5) and float(together(0.2, np.nan)) == 0.2


def test_a_text_is_read_and_its_phrases_are_asked_for(embedder):
    whole, bird = Statement(TEXT, TEXT), Statement("the bird", "a red bird")
    assert statements(TEXT, embedder) == (whole, bird, Statement("the car", "a blue car"))
    assert statements("a red bird", embedder) == (Statement("a red bird", "a red bird"), bird)
    assert statements("a tall tree", embedder) == (Statement("a tall tree", "a tall tree"),)
    placed = statements("a red bird and a tree in the house", embedder)
    assert placed[1:] == (bird, Statement("a tree", "a tree"), Statement("the place", "in the house"))
    assert statements("in the house", embedder) == (
        Statement("in the house", "in the house"),
        Statement("the place", "in the house"),
    )
    many = ", ".join(f"a red bird{n}" for n in range(12))
    assert len(statements(many, embedder)) <= MOST + 1


def test_each_image_is_read_with_each_statement(reader, images):
    said = statements(TEXT, reader)
    read = reread(images, said, reader, ("baseline", "ssa-me"))
    assert read["ssa-me"].shape == (3, 3, reader.info.dimension)
    assert read["baseline"].shape == (3, 1, reader.info.dimension)
    one = reader.embed([Sample("the car", images[1])], conditioned_on=TEXT).vectors["ssa-me"][0]
    np.testing.assert_allclose(read["ssa-me"][1, 2], one, atol=1e-5)
    alone = reader.embed([Sample(image=images[1])], conditioned_on=TEXT).vectors["baseline"][0]
    np.testing.assert_allclose(read["baseline"][1, 0], alone, atol=1e-5)


def test_an_image_of_several_samples_is_looked_at_once(reader, images, monkeypatch):
    looked = []
    backbone = reader._passes.backbone
    whole = backbone.vision_pass
    monkeypatch.setattr(backbone, "vision_pass", lambda seen: looked.append(len(seen)) or whole(seen))
    reread(images, statements(TEXT, reader), reader, ("ssa-me",))
    assert looked == [3]
