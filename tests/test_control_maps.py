"""The maps that salience is held against: shapes, what they depend on, and that they leave the embedder as it was."""

import numpy as np
import pytest

from ssa_me.embedder import SalientEmbedder
from ssa_me.errors import InputError
from ssa_me.samples import Sample


@pytest.fixture(scope="module")
def embedder(trained_checkpoint):
    return SalientEmbedder.load(trained_checkpoint, "cpu")


def test_maps_are_of_their_own_image_and_phrase(embedder, picture):
    images = [picture(64, 64, 1), picture(96, 48, 2)]
    both = embedder.control_maps(images, ["a red square", "a green circle"])
    for image, phrase, found in zip(images, ["a red square", "a green circle"], both, strict=True):
        (alone,) = embedder.control_maps([image], [phrase])
        boxes = embedder.maps([image], [phrase])[0].boxes
        assert found.attention.shape == (len(boxes),)
        assert found.attention == pytest.approx(alone.attention, abs=1e-5)
        assert 0 < found.attention.sum() <= 1
        for version in ("baseline", "ssa-me"):
            assert found.gradient[version].shape == (len(boxes),)
            assert found.gradient[version].min() >= 0
            assert found.gradient[version] == pytest.approx(alone.gradient[version], abs=1e-5)
    other = embedder.control_maps(images[:1], ["a green circle"])[0]
    assert np.abs(other.gradient["ssa-me"] - both[0].gradient["ssa-me"]).max() > 1e-5
    assert np.abs(other.gradient["ssa-me"] - other.gradient["baseline"]).max() > 1e-5


def test_the_gradient_is_that_of_the_cosine(embedder, picture, monkeypatch):
    """To first order, scaling one token by 1 + h changes the cosine by h times gradient × input at that token."""
    image, phrase, step = picture(64, 64, 3), "a red square", 1e-2
    passes = embedder._passes
    spoken = embedder.embed([Sample(phrase)]).vectors["baseline"][0]
    vision = passes.backbone.vision_pass
    (found,) = embedder.control_maps([image], [phrase])
    token = int(found.gradient["baseline"].argmax())

    def cosine(scale: float) -> float:
        def scaled(images):
            visual = vision(images)
            tokens = visual.tokens.clone()
            tokens[:, token] *= scale
            return visual.with_tokens(tokens, visual.deep)

        with monkeypatch.context() as patch:
            patch.setattr(passes.backbone, "vision_pass", scaled)
            return float(embedder.embed([Sample(image=image)]).vectors["baseline"][0] @ spoken)

    slope = (cosine(1 + step) - cosine(1 - step)) / (2 * step)
    assert abs(slope) == pytest.approx(found.gradient["baseline"][token], rel=0.05)


def test_the_embedder_is_as_it_was(embedder, picture):
    sample = Sample(image=picture(64, 64, 4))
    before = embedder.embed([sample]).vectors
    embedder.control_maps([sample.image], ["a red square"])
    after = embedder.embed([sample]).vectors
    for version, vectors in before.items():
        assert np.array_equal(vectors, after[version])
    assert not any(p.grad is not None for p in embedder._passes.parts.parameters())
    with pytest.raises(InputError, match="give one phrase an image"):
        embedder.control_maps([sample.image], [])
